"""Of a model that also reads images, the text part alone is converted, and answers as it does by itself."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tokmem_desk.backbone.backbone import load_backbone
from tokmem_desk.models.store import ModelStore
from tokmem_desk.system.device import DeviceChoice

CPU = DeviceChoice("cpu", "bfloat16", "test")

LAYOUTS: dict[str, tuple[str, str, dict[str, str]]] = {
    # Family of the text part, of the whole, and how names begin there.
    "llava, SmolVLM": ("llama", "smolvlm", {r"^model\.": "model.text_model."}),
    "Mistral 3, Gemma 3 as published": ("llama", "llava", {r"^": "language_model."}),
    "LFM2-VL": ("lfm2", "lfm2_vl", {r"^model\.": "model.language_model."}),
    "Qwen2.5-VL, names as published": ("qwen2", "qwen2_5_vl", {}),
    "Qwen3-VL": ("qwen3", "qwen3_vl", {r"^model\.": "model.language_model."}),
}


def wrap(text: Path, whole: Path, family: str, names: dict[str, str]) -> None:
    """Save a text model as the text part of one that reads images."""
    shutil.copytree(text, whole)
    tensors = load_file(text / "model.safetensors")
    for old, new in names.items():
        tensors = {re.sub(old, new, name): tensor for name, tensor in tensors.items()}
    tensors["model.vision_tower.encoder.layers.0.self_attn.q_proj.weight"] = torch.ones(1000, 100)
    tensors["model.visual.patch_embed.proj.weight"] = torch.ones(8, 8)
    tensors["multi_modal_projector.linear_1.weight"] = torch.ones(8, 8)
    save_file(tensors, whole / "model.safetensors", {"format": "pt"})
    fields: dict[str, Any] = json.loads((text / "config.json").read_text())
    fields.pop("architectures")
    if family in ("qwen2_5_vl", "qwen3_vl"):
        fields["model_type"] = f"{family}_text"
        fields["rope_parameters"] |= {"mrope_section": [2, 3, 3]}
    name = "".join(part.capitalize() for part in family.split("_"))
    whole_fields = {
        "model_type": family,
        "architectures": [f"{name}ForConditionalGeneration"],
        "text_config": fields,
        "vision_config": {},
        "tie_word_embeddings": fields["tie_word_embeddings"],
        "eos_token_id": 2,
    }
    (whole / "config.json").write_text(json.dumps(whole_fields))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_text_part_answers_as_it_does_alone(tiny_folder: Callable[..., Path], tmp_path: Path, layout: str) -> None:
    text_family, family, names = LAYOUTS[layout]
    alone = tiny_folder(text_family)
    wrap(alone, tmp_path / "whole", family, names)
    store = ModelStore(tmp_path / "models")
    folders = [store.ensure(str(source), CPU, lambda *_: None) for source in (tmp_path / "whole", alone)]
    kept = load_file(folders[0] / "model.safetensors")
    assert not [name for name in kept if "vision" in name or "visual" in name or "projector" in name]
    assert kept.keys() == load_file(folders[1] / "model.safetensors").keys()
    assert json.loads((folders[0] / "config.json").read_text())["model_type"] == text_family
    one, two = (load_backbone(folder, CPU, "tiny") for folder in folders)
    ids = torch.tensor([one.format.query("What is the weather today?")])
    with torch.no_grad():
        assert torch.equal(one.model(input_ids=ids).logits, two.model(input_ids=ids).logits)
