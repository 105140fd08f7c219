"""A fingerprint differs wherever a memory would mean something else, and only there."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.conftest import load_tiny
from tests.tiny_models import SPECIAL
from tokmem_desk.backbone.backbone import Backbone

Load = Callable[..., Backbone]


@pytest.fixture
def copied(tiny_model_folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_model_folder, tmp_path / "model")


def change_config(folder: Path) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["rope_parameters"]["rope_theta"] = 20_000.0
    path.write_text(json.dumps(config))


def change_template(folder: Path) -> None:
    path = folder / "chat_template.jinja"
    path.write_text("{{ '<|im_start|>system\\nBe brief.<|im_end|>\\n' }}" + path.read_text())


def change_tokenizer(folder: Path) -> None:
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    tokenizer["model"]["merges"] = tokenizer["model"]["merges"][:-1]
    path.write_text(json.dumps(tokenizer))


def change_weight(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "model.safetensors"
        tensors = load_file(path)
        tensors[name].view(-1)[-1] += 0.01
        save_file(tensors, path, {"format": "pt"})

    return change


CHANGES = {
    "config": change_config,
    "template": change_template,
    "tokenizer": change_tokenizer,
    "embedding": change_weight("model.embed_tokens.weight"),
    "attention": change_weight("model.layers.1.self_attn.q_proj.weight"),
    "norm": change_weight("model.norm.weight"),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_every_change_shows(tiny_backbone: Load, copied: Path, kind: str) -> None:
    CHANGES[kind](copied)
    changed = load_tiny(copied, "tiny-llama").fingerprint
    original = tiny_backbone().fingerprint
    assert changed.digest != original.digest
    differing = {k for k, v in original.as_dict().items() if changed.as_dict()[k] != v}
    expected = {
        "config": {"config_sha256"},
        "template": {"layout_sha256"},
        "tokenizer": {"tokenizer_sha256"},
        "embedding": {"embedding_sha256", "weights_sha256"},
        "attention": {"weights_sha256"},
        "norm": {"weights_sha256"},
    }[kind]
    assert differing == {"digest", *expected}


def test_loading_again_gives_the_same(tiny_backbone: Load, copied: Path) -> None:
    again = load_tiny(copied, "another name").fingerprint
    assert again.digest == tiny_backbone().fingerprint.digest
    assert again != tiny_backbone().fingerprint


def test_revision_name_and_dtype_are_only_recorded(tiny_backbone: Load) -> None:
    original = tiny_backbone().fingerprint
    soft = dataclasses.replace(original, model_id="x", revision="y", compute_dtype="float16")
    assert soft.digest == original.digest
    for field in dataclasses.fields(original):
        if field.name not in ("model_id", "revision", "compute_dtype"):
            assert dataclasses.replace(original, **{field.name: "other"}).digest != original.digest


def test_families_and_layouts_differ(tiny_backbone: Load) -> None:
    digests = {
        tiny_backbone(family, template).fingerprint.digest
        for family in ("llama", "qwen2", "qwen3", "gemma3")
        for template in (True, False)
    }
    assert len(digests) == 8
    assert tiny_backbone().fingerprint.as_dict()["digest"] == tiny_backbone().fingerprint.digest


def test_running_the_model_changes_nothing(tiny_backbone: Load) -> None:
    from tokmem_desk.backbone.fingerprint import identify_weights, take_fingerprint

    backbone = tiny_backbone("gemma3")
    backbone.prefill([backbone.format.query(SPECIAL[0] * 5)])
    with torch.no_grad():
        again = take_fingerprint(
            backbone.model,
            backbone.tokenizer,
            identify_weights(backbone.model),
            model_id=backbone.model_id,
            layout_sha256=backbone.format.digest(),
            compute_dtype=backbone.device.compute_dtype,
        )
    assert again == backbone.fingerprint
