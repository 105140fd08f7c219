"""Tiny GGUF files, written as llama.cpp's converter writes them: its names, its order of heads, its norms."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def write_tiny_gguf(
    path: Path,
    folder: Path,
    architecture: str,
    header: Mapping[str, Any] | None = None,
    *,
    extra: Mapping[str, NDArray[np.float32]] | None = None,
    without: str = "",
    general: Mapping[str, str] | None = None,
) -> None:
    """Write the model of a folder as a GGUF file.

    Args:
        header: further keys below the architecture's name.
        extra: further tensors.
        without: a tensor to leave out.
        general: further keys as they are.
    """
    import gguf
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder)
    config = model.config
    tokenizer = AutoTokenizer.from_pretrained(folder)
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name("tiny")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    for key, value in (general or {}).items():
        writer.add_string(key, value)
    for key, number in (header or {}).items():
        name = f"{architecture}.{key}"
        if isinstance(number, str):
            writer.add_string(name, number)
        elif isinstance(number, int):
            writer.add_uint32(name, number)
        else:
            writer.add_float32(name, number)
    _add_tokenizer(writer, tokenizer, folder)
    names = gguf.get_tensor_name_map(
        next(kind for kind, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture), config.num_hidden_layers
    )
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        base, _, end = name.rpartition(".")
        stored = f"{names.get_name(base)}.{end}"
        if stored == without:
            continue
        numbers = tensor.float().numpy()
        if architecture == "llama" and base.endswith(("q_proj", "k_proj")):
            heads = config.num_attention_heads if base.endswith("q_proj") else config.num_key_value_heads
            numbers = _interleaved(numbers, heads)
        if architecture == "gemma3" and "norm" in name:
            numbers = numbers + 1
        writer.add_tensor(stored, np.ascontiguousarray(numbers))
    for name, numbers in (extra or {}).items():
        writer.add_tensor(name, numbers)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_tokenizer(writer: Any, tokenizer: Any, folder: Path) -> None:
    words = [""] * len(tokenizer)
    for word, number in tokenizer.get_vocab().items():
        words[number] = word
    merges = json.loads((folder / "tokenizer.json").read_text())["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(words)
    writer.add_token_types([3 if number < 4 else 1 for number in range(len(words))])
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(3)
    writer.add_chat_template(tokenizer.chat_template)


def _interleaved(weight: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Rows as llama.cpp rotates them: the two halves of a head by turns."""
    half = weight.shape[0] // heads // 2
    return weight.reshape(heads, 2, half, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)
