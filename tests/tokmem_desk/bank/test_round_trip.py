"""A bank comes back bit for bit from a zip, a protected file and a folder, and is refused for every reason there is."""

from __future__ import annotations

import hashlib
import io
import json
import os
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.banks import bank, bank_bytes, files_of, memory_file, procedures, unpacked, write, zipped
from tokmem_desk.bank.container import LIMITS
from tokmem_desk.bank.encryption import ProtectedReader, ProtectedWriter
from tokmem_desk.bank.reader import open_bank
from tokmem_desk.bank.writer import ExportProcedure, write_bank
from tokmem_desk.errors import BadInputError, IncompatibleError, NotFoundError, UsageError
from tokmem_desk.memory.file_bytes import take_apart
from tokmem_desk.memory.safetensors_header import read_header

ROOT = Path(__file__).parents[3]


def same(one: bytes, other: bytes) -> bool:
    """Whether two memory files hold the same tensors, bit for bit, and say the same but for the name."""
    first, second = take_apart(one, "x"), take_apart(other, "y")
    tensors = [{n: (b.dtype, b.shape, bytes(b.data)) for n, b in parts.blocks.items()} for parts in (first, second)]
    facts = [(parts.tied, parts.settings, parts.fingerprint, parts.digest) for parts in (first, second)]
    return tensors[0] == tensors[1] and facts[0] == facts[1]


@pytest.mark.parametrize("passphrase", [None, "korrekt Pferd ü"])
@pytest.mark.parametrize("count", [1, 3, 60])
def test_round_trip_is_bit_identical(tmp_path: Path, count: int, passphrase: str | None) -> None:
    made = bank(count, with_pairs=count == 3)
    file = write(tmp_path / "a.tokmem", made, passphrase)
    with open_bank(file, lambda name: passphrase or "") as opened:
        assert opened.source.protected is (passphrase is not None)
        assert opened.manifest.names == [one.name for one in made.procedures]
        for given, found in zip(made.procedures, opened.manifest.procedures, strict=True):
            assert same(opened.memory(found), given.load())
            assert (found.uuid, found.description, found.pattern) == (given.uuid, given.description, given.pattern)
            assert (found.threshold, found.version, found.pair_count) == (given.threshold, given.version, 3)
            assert (found.output_schema, found.reads_conversation) == (given.output_schema, given.reads_conversation)
            assert found.group == given.group
        assert list(opened.probes) == list(made.probes) and opened.anchors() == made.anchors
        assert opened.manifest.router.calibration["sharpness"] == 9.5
        if count == 3:
            assert opened.pairs == {one.uuid: one.pairs for one in made.procedures}
            assert list(opened.corrections) == list(made.corrections)
        else:
            assert opened.pairs is None and opened.corrections == ()


def test_a_plain_folder_is_a_bank_too(tmp_path: Path) -> None:
    folder = unpacked(tmp_path / "a", bank_bytes())
    (folder / ".DS_Store").write_bytes(b"the file browser's own")
    with open_bank(folder) as opened:
        assert [same(opened.memory(one), given.load()) for one, given in
                zip(opened.manifest.procedures, procedures(), strict=True)] == [True] * 3  # fmt: skip
    (folder / "bank.safetensors").rename(tmp_path / "elsewhere")
    (folder / "bank.safetensors").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BadInputError, match="not a plain file"), open_bank(folder):
        pass


def test_nothing_personal_goes_along_unasked(tmp_path: Path) -> None:
    folder_model = replace_fingerprint("/home/ann/models/secret-place")
    one = procedures(1)[0]
    made = bank(1, procedures=[replace(one, load=lambda: folder_model)])
    files = files_of(bank_bytes(made))
    everything = b"".join(files.values())
    for word in (b"/home", b"ann", b"private", b"another_name", b"do 0", b"done 0 0"):
        assert word not in everything, word
    assert json.loads(files["manifest.json"])["backbone"]["model_id"] == "secret-place"
    assert json.loads(files["manifest.json"])["procedures"][0]["scores"] == {
        "rouge_l": 0.75, "exact_match": 0.5, "base": {"rouge_l": 0.1, "exact_match": 0.0},
    }  # fmt: skip
    card = files["README.md"].decode()
    assert card.startswith('---\nlicense: "CC0-1.0"\nbase_model: "secret-place"\nbase_model_relation: "adapter"')


def replace_fingerprint(model_id: str) -> bytes:
    return memory_file(0, fingerprint={**take_apart(memory_file(0), "x").fingerprint, "model_id": model_id})


def test_the_tensor_file_is_plain_safetensors_with_a_modelspec() -> None:
    from safetensors.numpy import load

    data = files_of(bank_bytes())["bank.safetensors"]
    tensors = load(data)
    assert tensors["address"].shape == (3, 8) and tensors["steering"].shape == (6, 8)
    assert tensors["keys.0"].shape == ((2 + 4) * 2 * 2, 4) and tensors["router.count"].tolist() == [5, 6, 7]
    header = read_header(data, len(data))
    assert header.metadata["format"] == "tokmem-bank" and header.metadata["modelspec.license"] == "CC0-1.0"
    digest = hashlib.sha256(data[header.start :]).hexdigest()
    assert header.metadata["modelspec.hash_sha256"] == f"0x{digest}"


def test_the_manifest_keeps_its_schema() -> None:
    schema = json.loads((ROOT / "docs" / "schemas" / "bank-manifest.schema.json").read_text("utf-8"))
    for with_pairs in (False, True):
        jsonschema.validate(json.loads(files_of(bank_bytes(bank(with_pairs=with_pairs)))["manifest.json"]), schema)


# Refusals


def rewritten(change: Callable[[dict[str, Any]], object], **files: bytes) -> bytes:
    """A bank whose manifest was changed, with right checksums of changed files."""
    found = files_of(bank_bytes(bank(with_pairs=True)))
    manifest = json.loads(found["manifest.json"])
    for name, data in files.items():
        key = name.replace("__", ".")
        found[key] = data
        manifest["files"][key] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    change(manifest)
    found["manifest.json"] = json.dumps(manifest).encode()
    return zipped(found)


def refused(tmp_path: Path, data: bytes, said: str | None, error: type[Exception] = BadInputError) -> None:
    file = tmp_path / "bad.tokmem"
    file.write_bytes(data)
    with pytest.raises(error, match=said), open_bank(file, lambda name: "x"):
        pass


def first(manifest: dict[str, Any]) -> dict[str, Any]:
    return manifest["procedures"][0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m.update(format="other"), "is no file of procedures"),
        (lambda m: m.update(version="1.x"), "version in its manifest"),
        (lambda m: m.update(version="99999999.0.0"), "version in its manifest"),
        (lambda m: m.update(procedures=[]), "is not a list of procedures"),
        (lambda m: m.update(uuid="z" * 32), "hexadecimal"),
        (lambda m: m["backbone"].update(vocabulary_size=7), "digest in its manifest does not belong"),
        (lambda m: m["backbone"].update(tied=1), "neither true nor false"),
        (lambda m: first(m).update(name="../x"), "is not allowed"),
        (lambda m: first(m).update(name="none"), "reserved word"),
        (lambda m: first(m).update(name="proc1"), "names a name twice"),
        (lambda m: first(m).update(uuid=m["procedures"][1]["uuid"]), "names a uuid twice"),
        (lambda m: first(m).update(row=1), "row in its manifest is 1, not 0"),
        (lambda m: first(m).update(pattern="("), "regular expression"),
        (lambda m: first(m).update(threshold=1.5), "not a probability"),
        (lambda m: first(m).update(output_schema="{"), "output_schema in its manifest cannot be used"),
        (lambda m: first(m).pop("reads_conversation"), "neither true nor false"),
        (lambda m: first(m).update(group="x" * 41), "cannot name a group"),
        (lambda m: first(m).update(group=" two  spaces"), "cannot name a group"),
        (lambda m: first(m).update(group="bell\x07"), "cannot name a group"),
        (lambda m: first(m).update(group=None), "is not a text"),
        (lambda m: first(m).update(answer_form={"parts": [{"kind": "spell"}]}), "is no form of answers"),
        (lambda m: first(m).update(answer_form=["free"]), "answer_form"),
        (lambda m: first(m)["answer_form"]["parts"].extend([{"kind": "free"}] * 20_000), "is too large"),
        (lambda m: first(m).update(pair_count=-1), "whole number"),
        (lambda m: first(m).update(pair_count=True), "whole number"),
        (lambda m: first(m).update(description="x\x00"), "no text has"),
        (lambda m: first(m)["rows"].update(count=2), "rows in its manifest does not follow"),
        (lambda m: m["procedures"][2]["rows"].update(count=9), "has shape"),
        (lambda m: m["procedures"][2]["positions"].update(count=9), "has shape"),
        (lambda m: m["procedures"][2]["sketch"].update(count=9), "has shape"),
        (lambda m: m["procedures"][2]["sketch"].update(offset=9), "sketch in its manifest does not follow"),
        (lambda m: first(m)["lens"].update(offset=9), "lens in its manifest does not follow"),
        (lambda m: first(m)["lens"].update(count=9), "lens in its manifest does not"),
        (lambda m: m["procedures"][2]["lens"].update(count=9), "lens in its manifest does not fit the layer groups"),
        (lambda m: m["router"].update(dimensions=7), "'router.mean' has shape"),
        (lambda m: m["layer_groups"].clear(), "layer_groups"),
        (lambda m: m["layer_groups"][0].update(heads=0), "out of range"),
        (lambda m: m["files"].pop("probes.jsonl"), "does not list probes"),
        (lambda m: m["files"].pop("README.md"), "does not list"),
        (lambda m: m["files"].update({"../x": {}}), "not a plain name"),
        (lambda m: m["files"].update({"more.txt": {"bytes": 1, "sha256": "0" * 64}}), "more.txt is missing"),
        (lambda m: m["files"]["probes.jsonl"].update(sha256="0" * 64), "checksum"),
        (lambda m: m["files"]["bank.safetensors"].update(sha256="0" * 64), "checksum"),
        (lambda m: m["files"]["bank.safetensors"].update(bytes=5), "bytes, not 5"),
    ],
)  # fmt: skip
def test_a_manifest_that_does_not_hold(tmp_path: Path, change: Callable[..., object], said: str) -> None:
    refused(tmp_path, rewritten(change), said)


def test_a_newer_format_is_incompatible(tmp_path: Path) -> None:
    refused(tmp_path, rewritten(lambda m: m.update(version="3.0.0")), "Update tokmem-desk", IncompatibleError)
    file = tmp_path / "minor.tokmem"
    file.write_bytes(rewritten(lambda m: m.update(version="2.9.0", news="?"), news__txt=b"what 2.9 added"))
    with open_bank(file) as opened:
        assert opened.manifest.version == "2.9.0"


def test_a_bank_need_not_say_groups_and_forms(tmp_path: Path) -> None:
    file = tmp_path / "bare.tokmem"
    file.write_bytes(
        rewritten(lambda m: [one.pop(name) for one in m["procedures"] for name in ("group", "answer_form")])
    )
    with open_bank(file) as opened:
        assert [one.group for one in opened.manifest.procedures] == ["", "", ""]
        assert [one.answer_form for one in opened.manifest.procedures] == [{}, {}, {}]


def test_a_bank_may_say_which_of_its_pairs_were_learned(tmp_path: Path) -> None:
    made = bank(3, with_pairs=True)
    known = [replace(one, learned=places) for one, places in zip(made.procedures, ((0, 2), (), None), strict=True)]
    file = write(tmp_path / "a.tokmem", replace(made, procedures=known))
    with open_bank(file) as opened:
        assert [one.learned for one in opened.manifest.procedures] == [(0, 2), (), None]
        assert "learned" not in json.loads(files_of(file.read_bytes())["manifest.json"])["procedures"][2]


@pytest.mark.parametrize("places", [7, "0", [0, 0], [2, 1], [-1], [True], [1.0], [None], [2**60]])
def test_places_of_learned_pairs_that_make_no_sense_are_refused(tmp_path: Path, places: Any) -> None:
    file = tmp_path / "odd.tokmem"
    file.write_bytes(rewritten(lambda m: first(m).update(learned=places)))
    with pytest.raises(BadInputError, match=r"procedures\[0\]\.learned"), open_bank(file):
        pass


def tensors_with(change: Callable[[bytearray, Any], object]) -> bytes:
    data = bytearray(files_of(bank_bytes())["bank.safetensors"])
    change(data, read_header(bytes(data), len(data)))
    return bytes(data)


def poke(tensor: str, value: bytes) -> Callable[[bytearray, Any], object]:
    def change(data: bytearray, header: Any) -> None:
        at = header.start + header.tensors[tensor].begin
        data[at : at + len(value)] = value

    return change


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        (tensors_with(poke("steering", struct.pack("<f", float("nan")))), "'steering' holds values"),
        (tensors_with(poke("keys.1", struct.pack("<f", float("-inf")))), "'keys.1' holds values"),
        (tensors_with(poke("router.anchors", struct.pack("<f", float("nan")))), "'router.anchors' holds values"),
        (tensors_with(poke("router.count", struct.pack("<i", -4))), "'router.count' holds values"),
        (b"", "too short"),
        (b"\xff" * 64, "no header"),
        ((10).to_bytes(8, "little") + b"{}", "ends inside"),
        ((2).to_bytes(8, "little") + b"[]", "not an object"),
        ((2).to_bytes(8, "little") + b"{}", "another format"),
    ],
    # Not the bytes: they differ from run to run, and a test's name must not.
    ids=["nan", "infinite", "anchors", "count", "empty", "no header", "cut", "a list", "another format"],
)
def test_tensors_that_cannot_be_right(tmp_path: Path, tensors: bytes, said: str) -> None:
    refused(tmp_path, rewritten(lambda m: None, bank__safetensors=tensors), said)


def test_half_precision_is_read(tmp_path: Path) -> None:
    import numpy as np

    data = files_of(bank_bytes(bank(1)))["bank.safetensors"]
    header = read_header(data, len(data))
    wide = {
        n: np.frombuffer(data[header.start + t.begin : header.start + t.end], "<u4") for n, t in header.tensors.items()
    }
    fields = {}
    body = b""
    for name, layout in header.tensors.items():
        keep = layout.dtype == "I32" or name == "router.anchors"
        piece = wide[name].tobytes() if keep else (wide[name] >> 16).astype("<u2").tobytes()
        dtype = layout.dtype if keep else "BF16"
        fields[name] = {"dtype": dtype, "shape": layout.shape, "data_offsets": [len(body), len(body) + len(piece)]}
        body += piece
    head = json.dumps({"__metadata__": header.metadata, **fields}).encode()
    half = len(head).to_bytes(8, "little") + head + body
    found = files_of(bank_bytes(bank(1)))
    manifest = json.loads(found["manifest.json"])
    manifest["files"]["bank.safetensors"] = {"bytes": len(half), "sha256": hashlib.sha256(half).hexdigest()}
    file = tmp_path / "half.tokmem"
    file.write_bytes(zipped({**found, "bank.safetensors": half, "manifest.json": json.dumps(manifest).encode()}))
    with open_bank(file) as opened:
        parts = take_apart(opened.memory(opened.manifest.procedures[0]), "x")
        assert parts.blocks["steering"].dtype == "BF16" and parts.blocks["keys.0"].shape == (2, 2, 2, 4)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"probes__jsonl": b""}, "0 probes"),
        ({"probes__jsonl": b"{}\n"}, "line 1: procedure"),
        ({"probes__jsonl": b"[1]\n"}, "not an object"),
        ({"probes__jsonl": b'{"procedure": NaN}\n'}, "cannot be read"),
        ({"probes__jsonl": b"[" * 100_000}, "cannot be read"),
        ({"pairs__jsonl": b'{"procedure": "x", "part": "train", "input": "a", "response": "b"}\n'}, "line 1"),
        ({"pairs__jsonl": b'{"part": "train", "input": "\\ud800", "response": "b"}\n'}, "cannot be read"),
        ({"corrections__jsonl": b'{"text": "a", "wrong": "none", "right": "nobody"}\n'}, "line 1: route"),
    ],
)
def test_lines_that_cannot_be_right(tmp_path: Path, files: dict[str, bytes], said: str) -> None:
    refused(tmp_path, rewritten(lambda m: None, **files), said)


def test_a_bank_that_a_file_browser_packed_again(tmp_path: Path) -> None:
    found = files_of(bank_bytes())
    file = tmp_path / "again.tokmem"
    rubbish = [("__MACOSX/._mine", b"x"), ("__MACOSX/mine/._manifest.json", b"x"), ("mine/.DS_Store", b"x")]
    for packed in (
        [("mine/", b""), *((f"mine/{name}", data) for name, data in found.items()), *rubbish],
        [*((f"my bank/{name}", data) for name, data in found.items())],
        [*found.items(), (".DS_Store", b"x"), ("._README.md", b"x")],
        [*((f"mine/{name}", data) for name, data in found.items()), ("mine/Thumbs.db", b"x"), ("desktop.ini", b"x")],
    ):
        file.write_bytes(zipped(packed))
        with open_bank(file) as opened:
            assert opened.manifest.procedures
    # What one was packed with by hand is compressed as a whole, and cannot be read in places.
    refused(tmp_path, zipped({f"mine/{name}": data for name, data in found.items()}, zipfile.ZIP_DEFLATED), "Unpack it")
    for rubbish in ({}, {"__MACOSX/._mine.tokmem": b"x"}):
        refused(tmp_path, zipped({"mine.tokmem": bank_bytes(), **rubbish}), "Unpack it and give mine.tokmem")
    refused(tmp_path, zipped({f"a/b/{name}": data for name, data in found.items()}), "plain files only")
    refused(tmp_path, zipped({f"../{name}": data for name, data in found.items()} | {"x": b""}), "plain files only")


def test_archives_that_play_tricks(tmp_path: Path) -> None:
    found = files_of(bank_bytes())
    pairs = list(found.items())
    for name in ("../evil", "/etc/evil", "a/b", "C:\\evil", "..", "x\x00y", "folder/", ".hidden", "ü"):
        refused(tmp_path, zipped([*pairs, (name, b"x")]), "plain files only|does not list|damaged")
    refused(tmp_path, zipped([*pairs, pairs[0]]), "twice")
    refused(tmp_path, zipped(found, zipfile.ZIP_DEFLATED), "must be stored as it is")
    refused(tmp_path, zipped(found, zipfile.ZIP_BZIP2), "unknown way")
    refused(tmp_path, zipped([*pairs, *((f"f{i}", b"") for i in range(80))]), "holds 8. files")
    for missing in ("manifest.json", "bank.safetensors", "probes.jsonl"):
        refused(tmp_path, zipped({n: d for n, d in found.items() if n != missing}), "missing")
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in found.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (0o120777 << 16) if name == "README.md" else 0o600 << 16
            archive.writestr(info, data)
    refused(tmp_path, target.getvalue(), "is a link")
    refused(tmp_path, b"", "no file of procedures|damaged")
    refused(tmp_path, b"PK\x05\x06" + b"\x00" * 18, "missing|damaged")


def test_bombs_go_off_nowhere(tmp_path: Path) -> None:
    found = files_of(bank_bytes())
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", b" " * 50_000_000)
        archive.writestr("bank.safetensors", b"", zipfile.ZIP_STORED)
    refused(tmp_path, bomb.getvalue(), "swell")
    lying = bytearray(zipped({**found, "README.md": b"A" * 100}))
    # Sizes in the central directory that the file does not have.
    at = lying.rindex(b"README.md") - 46
    struct.pack_into("<I", lying, at + 24, 2**31)
    refused(tmp_path, bytes(lying), "swell|damaged|bytes")
    big = json.loads(found["manifest.json"])
    big["files"]["README.md"] = {"bytes": LIMITS["README.md"] + 1, "sha256": "0" * 64}
    refused(tmp_path, zipped({**found, "manifest.json": json.dumps(big).encode()}), "bytes, not")


def test_truncation_anywhere_is_refused(tmp_path: Path) -> None:
    for passphrase in (None, "x"):
        data = bank_bytes(passphrase=passphrase)
        for length in range(0, len(data), max(1, len(data) // (40 if passphrase is None else 8))):
            refused(tmp_path, data[:length], None)


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="There is no file"), open_bank(tmp_path / "gone.tokmem"):
        pass
    with pytest.raises(BadInputError, match="a folder without"), open_bank(tmp_path):
        pass
    if hasattr(os, "mkfifo"):
        folder = unpacked(tmp_path / "a", bank_bytes())
        (folder / "README.md").unlink()
        os.mkfifo(folder / "README.md")
        with pytest.raises(BadInputError, match="not a plain file"), open_bank(folder):
            pass


# The passphrase


def test_the_passphrase_is_needed_and_must_be_right(tmp_path: Path) -> None:
    file = write(tmp_path / "a.tokmem", passphrase="right")
    with pytest.raises(BadInputError, match="protected by a passphrase"), open_bank(file):
        pass
    with pytest.raises(BadInputError, match="does not open a.tokmem"), open_bank(file, lambda name: "Right"):
        pass
    assert b"proc0" not in file.read_bytes() and b"steering" not in file.read_bytes()
    with pytest.raises(UsageError, match="empty passphrase"):
        bank_bytes(passphrase="")


def test_a_protected_stream_is_read_anywhere_and_notices_any_change() -> None:
    plain = os.urandom(700_000)
    target = io.BytesIO()
    with ProtectedWriter(target, "x") as writer:
        for at in range(0, len(plain), 99_999):
            writer.write(plain[at : at + 99_999])
    data = target.getvalue()
    reader = ProtectedReader(io.BytesIO(data), "x", "f")
    assert reader.read() == plain and reader.read() == b""
    for at, size in ((0, 10), (262_140, 10), (699_990, 100), (500_000, 1)):
        reader.seek(at)
        assert reader.read(size) == plain[at : at + size]
    chunk = 262_144 + 16
    start = data.index(b"\n", 20) + 1
    swapped = (
        data[:start] + data[start + chunk : start + 2 * chunk] + data[start : start + chunk] + data[start + 2 * chunk :]
    )
    for bad in (
        data[:-1],
        data[: start + chunk],
        data + b"x" * 40,
        swapped,
        data.replace(b'"n": 2,', b'"n": 4,'),
    ):
        with pytest.raises(BadInputError):
            ProtectedReader(io.BytesIO(bad), "x", "f")
    middle = bytearray(data)
    middle[start + chunk + 7] ^= 1
    reader = ProtectedReader(io.BytesIO(bytes(middle)), "x", "f")
    with pytest.raises(BadInputError, match="damaged"):
        reader.read()


def test_a_bank_is_strong_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert b'"kdf": "scrypt", "n": 65536, "r": 8,' in bank_bytes(passphrase="right")


GREEDY = {
    "version": 1, "cipher": "AES-256-GCM", "kdf": "scrypt", "n": 2**30, "r": 8, "p": 1,
    "salt": "AAAAAAAAAAAAAAAAAAAAAA==", "nonce": "AAAAAAAAAA==", "chunk": 262144,
}  # fmt: skip


@pytest.mark.parametrize(
    "header",
    [
        b"{}",
        b"[]",
        b'{"version": 1}',
        b"[" * 3000,
        json.dumps(GREEDY).encode(),
        json.dumps(GREEDY | {"n": 1e400}).encode(),
    ],
)
def test_a_protected_header_cannot_ask_for_everything(header: bytes) -> None:
    with pytest.raises(BadInputError):
        ProtectedReader(io.BytesIO(b"TOKMEM-PROTECTED\n" + header + b"\n" + bytes(100)), "x", "f")


# What cannot be exported


def test_memories_that_do_not_belong_together() -> None:
    parts = take_apart(memory_file(), "x")
    other = memory_file(1, fingerprint={**parts.fingerprint, "digest": "0" * 64})
    stale = memory_file(1, digest="cd" * 32)
    unmeasured = memory_file(1, blocks={n: b for n, b in parts.blocks.items() if n != "router.mean"})
    for data, error, said in (
        (other, IncompatibleError, "another model"),
        (stale, IncompatibleError, "another version"),
        (unmeasured, BadInputError, "no tensor 'router.mean'"),
        (b"junk", BadInputError, "not a memory file"),
    ):
        with pytest.raises(error, match=said):
            write_bank(
                io.BytesIO(), bank(2, procedures=[procedures(1)[0], ExportProcedure("0" * 32, "b", lambda d=data: d)])
            )
    more = memory_file(1, blocks={**parts.blocks, "router.news": parts.blocks["address"]})
    with pytest.raises(IncompatibleError, match="no file of procedures can carry"):
        write_bank(io.BytesIO(), bank(1, procedures=[ExportProcedure("0" * 32, "b", lambda: more)]))
    with pytest.raises(UsageError, match="nothing to export"):
        write_bank(io.BytesIO(), bank(1, procedures=[]))


def test_no_torch_is_needed() -> None:
    code = "import sys, tokmem_desk.bank.reader, tokmem_desk.bank.writer; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "False"
