"""A tiny Llama as ``plain_model`` writes one, made of the library alone: our own engine does not run where vLLM is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from tokmem_desk.backbone.fingerprint import Fingerprint
from tokmem_desk.backbone.query_state import QueryState
from tokmem_desk.memory.file import memory_to_bytes
from tokmem_desk.memory.kv_adapter import KVAdapter, initial_kv_adapter
from tokmem_desk.memory.memory import Memory
from tokmem_desk.memory.steering import Steering
from tokmem_vllm.model_facts import ANGLES, FACTS, FACTS_VERSION, ModelFacts

LAYERS, HEADS, SIZE, HIDDEN, PLACES = 2, 2, 32, 64, 512
SHAPE = (LAYERS, HEADS, SIZE, SIZE)
PRINT = Fingerprint("tiny", "", "llama", HIDDEN, 300, True, "c", "t", "l", "e", "w", "none", "float32")


def described() -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """What ``plain_model.facts_of`` gives of such a model."""
    turned = torch.arange(PLACES)[:, None] / 10_000 ** (torch.arange(0, SIZE, 2) / SIZE)
    table = torch.cat([turned, turned], dim=-1)
    rotation = {"part": "front", "pairing": "halves", "table": "halves", "backwards": False}
    facts = {
        "format": "tokmem-vllm-model",
        "version": FACTS_VERSION,
        "fingerprint": PRINT.as_dict(),
        "hidden_size": HIDDEN,
        "embedding_scale": 1.0,
        "longest_row": 10.0,
        "groups": [{"layers": list(range(LAYERS)), "shape": list(SHAPE), "rotation": rotation}],
    }
    return facts, {"cos.0": table.cos().contiguous(), "sin.0": table.sin().contiguous()}


def save(folder: Path) -> Any:
    """The folder that vLLM serves; returns the library's model of it."""
    from transformers import AutoModelForCausalLM

    from tests.tiny_models import save_tiny_model

    save_tiny_model(folder, "llama", head_dim=SIZE)
    facts, angles = described()
    (folder / FACTS).write_text(json.dumps(facts), encoding="utf-8")
    save_file(angles, folder / ANGLES)
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def facts() -> ModelFacts:
    return ModelFacts(*described())


def memory(seed: int, *, rank: int = 4, span: int = 7) -> Memory:
    """A memory that changes much."""
    noise = torch.Generator().manual_seed(seed)

    def some(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=noise)

    start = initial_kv_adapter((SHAPE,), rank, seed)
    adapter = KVAdapter.of([tensor + 0.3 * some(*tensor.shape) for tensor in start.tensors()])
    keys, values = some(LAYERS, HEADS, span, SIZE), some(LAYERS, HEADS, span, SIZE)
    steering = Steering.of(0.3 * some(1, HIDDEN), (keys,), (values,), adapter if rank else None)
    return Memory(f"memory {seed}", steering, torch.ones(HIDDEN), False)


def file_of(one: Memory) -> bytes:
    return memory_to_bytes(one, PRINT)


@torch.no_grad()
def expected(model: Any, ids: list[int], one: Memory, count: int) -> list[int]:
    """Greedy answer by the library: the message's cache edited and extended by hand, then the memory's row."""
    from transformers import DynamicCache

    ours, cache = facts(), DynamicCache()
    model(input_ids=torch.tensor([ids]), past_key_values=cache)
    keys = torch.cat([layer.keys for layer in cache.layers])
    values = torch.cat([layer.values for layer in cache.layers])
    backbone = ours.as_backbone()
    state = one.steering.edit_query(backbone, QueryState((keys,), (values,), len(ids)))
    own = one.steering.keys_values(backbone, len(ids))
    assert own is not None
    for place, layer in enumerate(cache.layers):
        layer.keys = torch.cat([state.keys[0][place], own.keys[0][place]], dim=-2)[None]
        layer.values = torch.cat([state.values[0][place], own.values[0][place]], dim=-2)[None]
    given: dict[str, Any] = {"inputs_embeds": one.steering.rows[None]}
    answer: list[int] = []
    while len(answer) < count:
        answer.append(int(model(**given, past_key_values=cache).logits[0, -1].argmax()))
        given = {"input_ids": torch.tensor([[answer[-1]]])}
    return answer
