"""Read a bank: python read_bank.py FILE.tokmem. Needs safetensors and the standard library, nothing else."""

import hashlib
import json
import struct
import sys
import zipfile

import safetensors


def rows_of(tensor, offset, count):
    row = len(tensor["data"]) // max(1, tensor["shape"][0])
    raw = bytes(tensor["data"][offset * row : (offset + count) * row])
    if tensor["dtype"] == "BF16":  # the upper half of F32
        raw = b"".join(b"\0\0" + raw[i : i + 2] for i in range(0, len(raw), 2))
    code = "i" if tensor["dtype"] == "I32" else "f"
    return [count, *tensor["shape"][1:]], struct.unpack(f"<{len(raw) // 4}{code}", raw)


def read_bank(path):
    with zipfile.ZipFile(path) as archive:
        manifest, data = json.loads(archive.read("manifest.json")), archive.read("bank.safetensors")
    assert manifest["format"] == "tokmem-bank" and manifest["version"].split(".")[0] in ("1", "2"), "another format"
    if hashlib.sha256(data).hexdigest() != manifest["files"]["bank.safetensors"]["sha256"]:
        raise ValueError("the bank is damaged")
    tensors, memories = dict(safetensors.deserialize(data)), {}
    for one in manifest["procedures"]:
        spans = {"steering": one["rows"], "router.sketch": one["sketch"], "reader": one["reader"]}
        spans["lens"] = one.get("lens", {"count": 0})  # format 1 has none
        spans |= {name: {"offset": one["row"], "count": 1} for name in ("address", "router.mean", "router.count")}
        for g, group in enumerate(manifest["layer_groups"]):
            places = {key: value * group["layers"] * group["heads"] for key, value in one["positions"].items()}
            spans |= {f"keys.{g}": places, f"values.{g}": places}
        memories[one["name"]] = {n: rows_of(tensors[n], **span) for n, span in spans.items() if span["count"]}
    return manifest, memories


if __name__ == "__main__":
    print({name: list(tensors) for name, tensors in read_bank(sys.argv[1])[1].items()})
