"""A GGUF file gives the logits of the safetensors it was made from, at length too, or is refused in words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.tiny_gguf import write_tiny_gguf
from tokmem_desk.errors import IncompatibleError
from tokmem_desk.models.gguf_file import open_gguf
from tokmem_desk.models.store import ModelStore
from tokmem_desk.system.device import DeviceChoice

CPU = DeviceChoice("cpu", "bfloat16", "test")
LENGTH = 200
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500_000.0,
    "factor": 32.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
HEAD = 16


def llama3_factors() -> np.ndarray[Any, np.dtype[np.float32]]:
    """What llama.cpp's converter writes for ``LLAMA3``."""
    lengths = 2 * np.pi * 500_000.0 ** (np.arange(0, HEAD, 2) / HEAD)
    smooth = (64 / lengths - 1) / 3
    between = 1 / ((1 - smooth) / 32 + smooth)
    return np.where(lengths < 16, 1, np.where(lengths > 64, 32, between)).astype(np.float32)


def read_anew(path: Path) -> Any:
    """The model of a GGUF file in float32."""
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING

    found = open_gguf(path)
    kind = MODEL_FOR_CAUSAL_LM_MAPPING[type(found.config)]
    return kind.from_pretrained(None, config=found.config, state_dict=dict(found.tensors), dtype=torch.float32)


def difference(one: Any, two: Any, length: int = LENGTH) -> float:
    """Relative norm between the logits of two models on the same random tokens."""
    ids = torch.randint(4, 390, (1, length), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        first, second = (model(input_ids=ids, use_cache=False).logits.float() for model in (one, two))
    return float((first - second).norm() / second.norm())


def original(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


CASES: dict[str, tuple[str, dict[str, Any], str, dict[str, Any], dict[str, Any]]] = {
    "plain": ("llama", {}, "llama", {"rope.dimension_count": HEAD, "rope.freq_base": 10_000.0}, {}),
    "llama 3.2": (
        "llama",
        {"rope_parameters": LLAMA3},
        "llama",
        {"rope.dimension_count": HEAD, "rope.freq_base": 500_000.0},
        {"rope_freqs.weight": llama3_factors()},
    ),
    "linear": (
        "llama",
        {"rope_parameters": {"rope_type": "linear", "rope_theta": 10_000.0, "factor": 4.0}},
        "llama",
        {
            "rope.dimension_count": HEAD,
            "rope.freq_base": 10_000.0,
            "rope.scaling.type": "linear",
            "rope.scaling.factor": 4.0,
        },
        {},
    ),
    "yarn": (
        "qwen3",
        {
            "rope_parameters": {
                "rope_type": "yarn",
                "rope_theta": 10_000.0,
                "factor": 4.0,
                "original_max_position_embeddings": 128,
            }
        },
        "qwen3",
        {
            "attention.key_length": HEAD,
            "rope.freq_base": 10_000.0,
            "rope.scaling.type": "yarn",
            "rope.scaling.factor": 4.0,
            "rope.scaling.original_context_length": 128,
        },
        {},
    ),
    "gemma 3 4b": (
        "gemma3",
        {
            # As readers of these files have it: every sixth layer looks at everything.
            "num_hidden_layers": 6,
            "layer_types": ["sliding_attention"] * 5 + ["full_attention"],
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
                "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
            },
            "query_pre_attn_scalar": 256,
        },
        "gemma3",
        {
            "attention.key_length": HEAD,
            "attention.value_length": HEAD,
            "attention.sliding_window": 16,
            "rope.freq_base": 1e6,
            "rope.freq_base_swa": 10_000.0,
            "rope.scaling.type": "linear",
            "rope.scaling.factor": 8.0,
        },
        {},
    ),
    "phi 4 mini": (
        "phi3",
        {
            "rope_parameters": {
                "rope_type": "longrope",
                "rope_theta": 10_000.0,
                "short_factor": [1.0, 1.1, 1.2, 1.3, 1.4, 1.5],
                "long_factor": [1.0, 2.0, 4.0, 8.0, 16.0, 32.0],
                "original_max_position_embeddings": 128,
                "partial_rotary_factor": 0.75,
            },
            "original_max_position_embeddings": 128,
            "tie_word_embeddings": True,
        },
        "phi3",
        {
            "rope.dimension_count": 12,
            "rope.freq_base": 10_000.0,
            "rope.scaling.original_context_length": 128,
        },
        {
            "rope_factors_long.weight": np.array([1, 2, 4, 8, 16, 32], np.float32),
            "rope_factors_short.weight": np.array([1, 1.1, 1.2, 1.3, 1.4, 1.5], np.float32),
        },
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_logits_are_those_of_the_original_at_any_length(
    tiny_folder: Callable[..., Path], tmp_path: Path, case: str
) -> None:
    family, changes, architecture, header, extra = CASES[case]
    folder = tiny_folder(family, **changes)
    write_tiny_gguf(tmp_path / "tiny.gguf", folder, architecture, header, extra=extra)
    ours, theirs = read_anew(tmp_path / "tiny.gguf"), original(folder)
    assert difference(ours, theirs) < 1e-4
    assert difference(ours, theirs, 20) < 1e-4


def test_factors_that_follow_no_rule_are_taken_as_they_are(tiny_folder: Callable[..., Path], tmp_path: Path) -> None:
    factors = np.linspace(1, 9, HEAD // 2, dtype=np.float32)
    folder = tiny_folder("llama")
    header = {"rope.dimension_count": HEAD, "rope.freq_base": 10_000.0}
    write_tiny_gguf(tmp_path / "tiny.gguf", folder, "llama", header, extra={"rope_freqs.weight": factors})
    model = read_anew(tmp_path / "tiny.gguf")
    theirs = original(folder)
    expected = theirs.model.rotary_emb.inv_freq / torch.from_numpy(factors)
    for length in (20, LENGTH):
        difference(model, theirs, length)  # the frequencies in force may depend on the length of a message
        assert torch.allclose(model.model.rotary_emb.inv_freq, expected)
    assert model.model.rotary_emb.attention_scaling == 1.0


def test_what_was_converted_keeps_the_rotation(tiny_folder: Callable[..., Path], tmp_path: Path) -> None:
    """The converted folder answers as the original does, within what 4 bit cost, beyond the first length too."""
    from transformers import AutoModelForCausalLM

    family, changes, architecture, header, extra = CASES["llama 3.2"]
    folder = tiny_folder(family, **changes)
    path = tmp_path / "tiny.gguf"
    write_tiny_gguf(path, folder, architecture, header, extra=extra)
    store = ModelStore(tmp_path / "models")
    converted = AutoModelForCausalLM.from_pretrained(store.ensure(str(path), CPU, lambda *_: None))
    assert {key: converted.config.rope_parameters[key] for key in LLAMA3} == LLAMA3
    from_folder = AutoModelForCausalLM.from_pretrained(store.ensure(str(folder), CPU, lambda *_: None))
    for module in (*converted.modules(), *from_folder.modules()):
        if type(module).__name__ == "Linear4bit":
            module.train()  # the packed kernel is another rounding
    assert difference(converted, from_folder) < 1e-3
    assert not list((store.folder / ".work").iterdir())


# --- refusals --------------------------------------------------------------------------------------


def refused(store_folder: Path, path: Path) -> str:
    with pytest.raises(IncompatibleError) as caught:
        ModelStore(store_folder / "models").ensure(str(path), CPU, lambda *_: None)
    assert not [one for one in (store_folder / "models").iterdir() if not one.name.startswith(".")]
    return str(caught.value)


def test_a_missing_tensor_is_named(tiny_model_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    write_tiny_gguf(path, tiny_model_folder, "llama", {"rope.dimension_count": HEAD}, without="blk.1.ffn_up.weight")
    assert "it lacks 'model.layers.1.mlp.up_proj.weight', which its header promises" in refused(tmp_path, path)


def test_a_tensor_that_nobody_reads_is_named(tiny_model_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    extra = {"blk.0.attn_q.bias": np.ones(64, np.float32)}
    write_tiny_gguf(path, tiny_model_folder, "llama", {"rope.dimension_count": HEAD}, extra=extra)
    assert "it holds 'blk.0.attn_q.bias', which its family has no place for" in refused(tmp_path, path)


def test_a_header_that_lies_about_sizes_is_refused(tiny_folder: Callable[..., Path], tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    write_tiny_gguf(path, tiny_folder("qwen3"), "qwen3", {"attention.key_length": 2 * HEAD})
    assert "its header makes model.layers.0.self_attn" in refused(tmp_path, path)


@pytest.mark.parametrize(
    ("header", "extra", "words"),
    [
        ({"rope.scaling.type": "spiral"}, {}, "stretched in a way called 'spiral'"),
        ({"rope.scaling.type": "linear", "rope.scaling.factor": -1.0}, {}, "it stretches positions by -1.0"),
        (
            {"rope.scaling.type": "yarn", "rope.scaling.factor": 4.0, "rope.scaling.yarn_log_multiplier": 0.1},
            {},
            "YaRN with yarn_log_multiplier",
        ),
        ({}, {"rope_factors_long.weight": np.ones(8, np.float32)}, "long or short factors without the other"),
        ({}, {"rope_freqs.weight": np.zeros(8, np.float32)}, "numbers that are no factors"),
    ],
)
def test_a_rotation_that_cannot_be_told_is_refused(
    tiny_model_folder: Path, tmp_path: Path, header: dict[str, Any], extra: dict[str, Any], words: str
) -> None:
    path = tmp_path / "tiny.gguf"
    write_tiny_gguf(path, tiny_model_folder, "llama", {"rope.dimension_count": HEAD, **header}, extra=extra)
    text = refused(tmp_path, path)
    assert words in text
    assert "safetensors files" in text


@pytest.mark.parametrize(
    ("general", "where"),
    [
        ({"general.base_model.0.repo_url": "https://huggingface.co/Some/Model"}, "https://huggingface.co/Some/Model"),
        ({}, "the file calls its model 'tiny'"),
    ],
)
def test_an_architecture_that_cannot_be_read_is_named_with_what_to_do(
    tmp_path: Path, general: dict[str, str], where: str
) -> None:
    import gguf

    path = tmp_path / "new.gguf"
    writer = gguf.GGUFWriter(path, "rwkv7")
    writer.add_name("tiny")
    for key, value in general.items():
        writer.add_string(key, value)
    writer.add_tensor("token_embd.weight", np.ones((4, 8), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    text = refused(tmp_path, path)
    assert "of the architecture 'rwkv7'" in text
    assert where in text
    assert "the publisher's safetensors" in text
    assert "download" not in text


def test_one_part_of_several_is_refused(tmp_path: Path) -> None:
    import gguf

    path = tmp_path / "part.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_uint16("split.count", 3)
    writer.add_tensor("token_embd.weight", np.ones((4, 8), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert "one of 3 parts of a GGUF file. Join them first" in refused(tmp_path, path)
