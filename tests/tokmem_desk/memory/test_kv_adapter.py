"""A KV adapter is a low-rank change of the key and value projections, applied to what was kept of the query."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
import torch

from tests.tiny_models import WINDOW
from tokmem_desk.memory import kv_adapter as kv_adapter_module
from tokmem_desk.memory.input_rows import initial_rows
from tokmem_desk.memory.kv_adapter import KVAdapter, initial_kv_adapter, kv_adapter_size
from tokmem_desk.memory.kv_positions import initial_keys_values
from tokmem_desk.memory.steering import Steering, join_memories

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone

MESSAGE = "Paid 12.50 for lunch on 3 May with the blue card"


def drawn(backbone: Backbone, rank: int = 3, seed: int = 1) -> KVAdapter:
    """A KV adapter that changes much."""
    generator = torch.Generator().manual_seed(seed)
    tensors = initial_kv_adapter(backbone.key_shapes, rank, seed).tensors()
    return KVAdapter.of([torch.randn(t.shape, generator=generator) * t.shape[1] ** -0.5 for t in tensors])


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_a_fresh_kv_adapter_changes_nothing(tiny_backbone: Callable[..., Backbone], family: str) -> None:
    backbone = tiny_backbone(family)
    state = backbone.prefill([backbone.format.query(MESSAGE)]).states[0]
    seen = initial_kv_adapter(backbone.key_shapes, 4, 0).apply(backbone, state)
    for mine, theirs in zip((*seen.keys, *seen.values), (*state.keys, *state.values), strict=True):
        assert torch.equal(mine, theirs)


def test_it_is_what_changed_projections_give(tiny_backbone: Callable[..., Backbone]) -> None:
    """In the first layer, whose input no KV adapter can have changed: (I + A B) on top of the projections."""
    backbone = tiny_backbone("llama")
    kv_adapter = drawn(backbone)
    ids = torch.tensor([backbone.format.query(MESSAGE)])
    state = backbone.prefill([ids[0].tolist()]).states[0]
    seen = kv_adapter.apply(backbone, state)
    changed = copy.deepcopy(backbone.model)
    attention = changed.model.layers[0].self_attn
    with torch.no_grad():
        for projection, entry, leave in (
            (attention.k_proj, kv_adapter.keys_in[0][0], kv_adapter.keys_out[0][0]),
            (attention.v_proj, kv_adapter.values_in[0][0], kv_adapter.values_out[0][0]),
        ):
            projection.weight += (entry @ leave).T @ projection.weight
        cache = changed(input_ids=ids, use_cache=True).past_key_values
    torch.testing.assert_close(seen.keys[0][0], cache.layers[0].keys[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(seen.values[0][0], cache.layers[0].values[0], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(seen.keys[0][0], state.keys[0][0], atol=1e-2)


def test_a_sliding_layer_is_seen_at_its_own_places(tiny_backbone: Callable[..., Backbone]) -> None:
    """Of a query past the window the last keys remain; they are turned back from where they stood."""
    backbone = tiny_backbone("gemma3")
    kv_adapter = drawn(backbone)
    state = backbone.prefill([backbone.format.query(MESSAGE * 3)]).states[0]
    assert state.length > 2 * WINDOW
    seen = kv_adapter.apply(backbone, state)
    for g, group in enumerate(backbone.layout.groups):
        kept = state.keys[g].shape[-2]
        assert kept == (state.length if group.window is None else WINDOW - 1)
        for layer in range(len(group.layers)):
            for token in (0, kept - 1):
                place = torch.tensor([state.length - kept + token])
                key = state.keys[g][layer : layer + 1, :, token : token + 1]
                free = backbone.rotate(key, place, g, back=True)
                edited = free.flatten() + free.flatten() @ kv_adapter.keys_in[g][layer] @ kv_adapter.keys_out[g][layer]
                expected = backbone.rotate(edited.view_as(free), place, g)
                torch.testing.assert_close(seen.keys[g][layer, :, token], expected[0, :, 0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_a_long_query_is_edited_in_parts_alike(
    tiny_backbone: Callable[..., Backbone], family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = tiny_backbone(family)
    adapter = drawn(backbone)
    state = backbone.prefill([backbone.format.query(MESSAGE * 3)]).states[0]
    with torch.no_grad():
        whole = adapter.apply(backbone, state)
        for tokens in (1, 7, WINDOW - 1):
            monkeypatch.setattr(kv_adapter_module, "_TOKENS_AT_ONCE", tokens)
            parts = adapter.apply(backbone, state)
            for ours, theirs in zip(parts.keys + parts.values, whole.keys + whole.values, strict=True):
                torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_numbers_give_the_kv_adapter_back(tiny_backbone: Callable[..., Backbone]) -> None:
    backbone = tiny_backbone("gemma3")
    kv_adapter = drawn(backbone, rank=5)
    numbers = kv_adapter.numbers()
    assert numbers.numel() == kv_adapter_size(backbone.key_shapes, 5)
    again = KVAdapter.rebuild(numbers, backbone.key_shapes)
    assert again.rank == 5
    assert all(torch.equal(a, b) for a, b in zip(again.tensors(), kv_adapter.tensors(), strict=True))
    for wrong in (numbers[:-1], numbers[:0]):
        with pytest.raises(ValueError, match="no KV adapter"):
            KVAdapter.rebuild(wrong, backbone.key_shapes)


def test_only_its_own_query_is_seen_through_it(tiny_backbone: Callable[..., Backbone]) -> None:
    """In a batch, a query with a KV adapter beside one without: each is as it is alone."""
    backbone = tiny_backbone("llama")
    free = initial_keys_values(backbone, 3, backbone.format.encode_text(MESSAGE))
    with_adapter = Steering.of(initial_rows(backbone, 1), free.keys, free.values, drawn(backbone))
    without = Steering.of(with_adapter.rows, free.keys, free.values)
    states = backbone.prefill([backbone.format.query(MESSAGE), backbone.format.query("hello")]).states
    answers = []
    for blocks in ([with_adapter, without], [without, without], [without, with_adapter]):
        batch = join_memories(backbone, states, blocks)
        inputs = backbone.embed_rows(with_adapter.rows)[None].expand(2, -1, -1)
        with torch.no_grad():
            answers.append(backbone.extend(batch, inputs)[:, -1])
    assert torch.equal(answers[0][1], answers[1][1]) and torch.equal(answers[1][0], answers[2][0])
    assert not torch.allclose(answers[0][0], answers[1][0], atol=1e-3)
    assert not torch.allclose(answers[2][1], answers[1][1], atol=1e-3)
