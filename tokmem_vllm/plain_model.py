"""Write a backbone as a folder that vLLM serves: plain weights, and beside them what memories need to know of it.

A model here is kept in 4 bit; vLLM on a processor reads no such weights. So they are written as the numbers that they
stand for, in the dtype in which the backbone computes: both engines then multiply with the same numbers.

    python -m tokmem_vllm.plain_model MODEL_FOLDER FOLDER
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file

from tokmem_desk.backbone.backbone import load_backbone
from tokmem_desk.errors import NotFoundError, TokmemError, UnsupportedModelError
from tokmem_desk.models.record import model_family, read_record
from tokmem_desk.system.device import choose_device
from tokmem_vllm.model_facts import ANGLES, FACTS, FACTS_VERSION

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone

_COPIED = ("tokenizer.json", "tokenizer_config.json", "generation_config.json", "chat_template.jinja")
_LONGEST_TABLE = 32_768
"""Positions whose angles are written; a message with its memory and answer is far shorter."""


def write_plain_model(backbone: Backbone, source: Path, folder: Path) -> None:
    """Write weights, tokenizer and facts.

    Args:
        source: the folder that ``backbone`` was loaded from.
        folder: made where it is missing.

    Raises:
        UnsupportedModelError: memories of this model need more than full attention and keys that turn.
    """
    facts, angles = facts_of(backbone)
    folder.mkdir(parents=True, exist_ok=True)
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    config.pop("quantization_config", None)
    config["dtype"] = str(backbone.dtype).removeprefix("torch.")
    weights = _plain_weights(backbone)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    save_file(angles, folder / ANGLES)
    for name in _COPIED:
        if (source / name).exists():
            shutil.copyfile(source / name, folder / name)
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    (folder / FACTS).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def load_prepared(folder: Path) -> Backbone:
    """A prepared model, on the processor.

    Raises:
        TokmemError: it is none, or there is not enough memory.
    """
    record = read_record(folder)
    if record is None:
        raise NotFoundError(f"There is no prepared model in {folder}.", next_step="See 'tokmem-desk model list'.")
    return load_backbone(folder, choose_device("cpu", model_family(folder)), record.id, record.licence)


def facts_of(backbone: Backbone) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """What ``model_facts`` reads: plain values, and the cosines and sines of each table of angles.

    Raises:
        UnsupportedModelError: see ``write_plain_model``.
    """
    groups = backbone.layout.groups
    fault = ""
    if backbone.layout.recurrent or backbone.layout.running or not backbone.rotates_keys:
        fault = "its cache cannot be cut"
    elif any(group.window is not None for group in groups):
        fault = "some of its layers see the last tokens only"
    elif any(group.rotation is None or group.rotation.kind.norm for group in groups):
        fault = "its keys do not turn as a table of angles says"
    elif backbone.decoder_call.own_embeddings:
        fault = "its layers read more of a token than its embedding"
    if fault:
        raise UnsupportedModelError(
            f"Memories of {backbone.model_id!r} cannot act in vLLM: {fault}.",
            next_step="Serve it with tokmem-desk's own engine: tokmem-desk serve",
        )
    places = torch.arange(min(backbone.context_length, _LONGEST_TABLE), device=backbone.torch_device)
    angles: dict[str, torch.Tensor] = {}
    described = []
    for number, (group, shape) in enumerate(zip(groups, backbone.key_shapes, strict=True)):
        assert group.rotation is not None
        cos, sin = group.rotation.call.angles(group.rotation.decoder, places)
        angles |= {f"cos.{number}": cos.cpu().contiguous(), f"sin.{number}": sin.cpu().contiguous()}
        kind = group.rotation.kind
        described.append(
            {
                "layers": list(group.layers),
                "shape": list(shape),
                "rotation": {
                    "part": kind.part,
                    "pairing": kind.pairing,
                    "table": kind.table,
                    "backwards": kind.backwards,
                },
            }
        )
    facts = {
        "format": "tokmem-vllm-model",
        "version": FACTS_VERSION,
        "fingerprint": backbone.fingerprint.as_dict(),
        "hidden_size": backbone.hidden_size,
        "embedding_scale": backbone.embedding_scale,
        "longest_row": backbone.longest_row,
        "groups": described,
    }
    return facts, angles


def _plain_weights(backbone: Backbone) -> dict[str, torch.Tensor]:
    """The model's tensors by name, 4-bit ones as what they stand for; a tied matrix once."""
    dense = backbone.forms.plain_weights()
    found: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for path, module in backbone.model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            tensor = dense[module] if name == "weight" and module in dense else parameter.detach()
            if tensor.data_ptr() in seen:
                continue
            seen.add(tensor.data_ptr())
            found[f"{path}.{name}" if path else name] = tensor.to(backbone.dtype).cpu().contiguous()
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Write a prepared model, as it lies in the program's cache, for vLLM."""
    parser = argparse.ArgumentParser(prog="python -m tokmem_vllm.plain_model", description=__doc__.split("\n")[0])
    parser.add_argument("model", type=Path, metavar="MODEL_FOLDER", help="of the program's own cache")
    parser.add_argument("out", type=Path, metavar="FOLDER", help="what vLLM is to serve")
    given = parser.parse_args(arguments)
    try:
        write_plain_model(load_prepared(given.model), given.model, given.out)
    except TokmemError as error:
        sys.stderr.write(f"{error.title}: {error}\n{error.next_step}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
