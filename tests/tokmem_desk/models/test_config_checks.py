"""A configuration that says something else than the tensors is refused by the name of the field."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_models import FAMILIES, RECURRENT
from tokmem_desk.backbone.backbone import load_backbone
from tokmem_desk.errors import IncompatibleError
from tokmem_desk.models.config_checks import check_config
from tokmem_desk.models.store import ModelStore
from tokmem_desk.system.device import DeviceChoice

CPU = DeviceChoice("cpu", "bfloat16", "test")

LIES: tuple[tuple[str, str, Any], ...] = (
    ("llama", "hidden_size", 128),
    ("llama", "hidden_size", 0),
    ("llama", "hidden_size", "64"),
    ("llama", "num_attention_heads", 8),
    ("llama", "num_attention_heads", 2),
    ("llama", "num_attention_heads", -4),
    ("llama", "num_key_value_heads", 4),
    ("llama", "num_key_value_heads", 1),
    ("llama", "num_key_value_heads", 3),
    ("llama", "head_dim", 32),
    ("llama", "head_dim", 15),
    ("qwen3", "head_dim", 8),
    ("llama", "intermediate_size", 64),
    ("llama", "intermediate_size", None),
    ("llama", "num_hidden_layers", 1),
    ("llama", "num_hidden_layers", 3),
    ("llama", "num_hidden_layers", 10**9),
    ("llama", "vocab_size", 500),
    ("llama", "vocab_size", 300),
    ("llama", "vocab_size", 2.5),
    ("llama", "max_position_embeddings", 0),
    ("llama", "max_position_embeddings", "many"),
    ("llama", "rms_norm_eps", -1.0),
    ("llama", "tie_word_embeddings", False),
    ("llama", "tie_word_embeddings", "yes"),
    ("llama", "rope_theta", -1.0),
    ("llama", "rope_theta", float("inf")),
    ("llama", "rope_parameters", {"rope_type": "default", "rope_theta": 0}),
    ("llama", "rope_parameters", {"rope_type": "linear", "rope_theta": 1e4, "factor": float("nan")}),
    ("llama", "rope_scaling", {"rope_type": "longrope", "short_factor": [1.0] * 5, "long_factor": [1.0] * 8}),
    ("llama", "rope_scaling", {"rope_type": "longrope", "short_factor": [1.0] * 8, "long_factor": [-1.0] * 8}),
    ("gemma3", "layer_types", ["sliding_attention"]),
    ("gemma3", "layer_types", 7),
)


def said_in(folder: Path, field: str, value: Any) -> None:
    file = folder / "config.json"
    fields = json.loads(file.read_text())
    fields[field] = value
    if value is None:
        del fields[field]
    file.write_text(json.dumps(fields))


@pytest.mark.parametrize(("family", "field", "value"), LIES)
def test_a_lie_is_refused_by_name_before_and_after_conversion(
    tiny_folder: Callable[..., Path], tmp_path: Path, family: str, field: str, value: Any
) -> None:
    source = shutil.copytree(tiny_folder(family), tmp_path / "source")
    said_in(source, field, value)
    with pytest.raises(IncompatibleError, match=_name_of(field, value)):
        ModelStore(tmp_path / "models").ensure(str(source), CPU, lambda *_: None)
    with pytest.raises(IncompatibleError, match=_name_of(field, value)):
        load_backbone(source, CPU, "tiny")


def _name_of(field: str, value: Any) -> str:
    """Of a group the member that is wrong is named; a missing field has a default, which does not fit."""
    if isinstance(value, dict):
        return rf"{field}\.(rope_theta|factor|short_factor|long_factor) in config.json"
    return f"{field} is missing in config.json" if value is None else f"{field} in config.json"


@pytest.mark.parametrize("family", [*FAMILIES, *RECURRENT])
def test_what_is_true_passes_before_and_after_conversion(
    tiny_folder: Callable[..., Path], tmp_path: Path, family: str
) -> None:
    check_config(tiny_folder(family), family)
    folder = ModelStore(tmp_path / "models").ensure(str(tiny_folder(family)), CPU, lambda *_: None)
    check_config(folder, family)


def test_a_tensor_that_is_missing_is_refused(tiny_model_folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    source = shutil.copytree(tiny_model_folder, tmp_path / "source")
    tensors = load_file(source / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, source / "model.safetensors", {"format": "pt"})
    for use in (
        lambda: load_backbone(source, CPU, "tiny"),
        lambda: ModelStore(tmp_path / "models").ensure(str(source), CPU, lambda *_: None),
    ):
        with pytest.raises(IncompatibleError, match=r"layers\.1\.mlp\.up_proj\.weight"):
            use()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b"7"])
def test_a_configuration_that_is_none_is_refused(tiny_model_folder: Path, tmp_path: Path, content: bytes) -> None:
    source = shutil.copytree(tiny_model_folder, tmp_path / "source")
    (source / "config.json").write_bytes(content)
    with pytest.raises(IncompatibleError, match=r"config\.json is damaged"):
        check_config(source, "tiny")
