"""Cutting, joining and extending caches gives what the plain model computes over the whole sequence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.tiny_models import FAMILIES, WINDOW
from tests.tokmem_desk.reference import TOLERANCE, full_hidden, random_ids
from tokmem_desk.backbone.backbone import Backbone
from tokmem_desk.backbone.query_state import LayerKeysValues, QueryState

Load = Callable[..., Backbone]

LENGTHS = (3, 9, WINDOW - 1, WINDOW, WINDOW + 1, 2 * WINDOW + 5)
"""Below, at and above the sliding window, which keeps the last ``WINDOW - 1`` keys."""


def embed(backbone: Backbone, ids: list[list[int]]) -> tuple[Tensor, Tensor]:
    """[b x s x d] right-padded embeddings and [b x s] what is present."""
    longest = max(map(len, ids))
    padded = torch.tensor([row + [0] * (longest - len(row)) for row in ids])
    present = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in ids])
    return backbone.embed_ids(padded), present


def tail_of(state: QueryState, count: int) -> LayerKeysValues:
    """The last ``count`` positions of a state, in the form in which a memory brings its keys and values."""
    return LayerKeysValues(
        tuple(k[..., k.shape[-2] - count :, :] for k in state.keys),
        tuple(v[..., v.shape[-2] - count :, :] for v in state.values),
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_extending_a_joined_batch_equals_one_plain_pass(tiny_backbone: Load, family: str) -> None:
    backbone = tiny_backbone(family)
    queries = [random_ids(backbone, length, seed=length) for length in LENGTHS]
    responses = [random_ids(backbone, 4 + 3 * i, seed=100 + i) for i in range(len(queries))]
    states = backbone.prefill(queries).states

    inputs, present = embed(backbone, responses)
    with torch.no_grad():
        hidden = backbone.extend(backbone.layout.join(states, [None] * len(states)), inputs, present)

    for query, response, ours in zip(queries, responses, hidden, strict=True):
        expected = full_hidden(backbone, query + response)[len(query) :]
        torch.testing.assert_close(ours[: len(response)], expected, **TOLERANCE)


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_behind_a_query_stand_where_text_would(tiny_backbone: Load, family: str) -> None:
    """Keys and values taken from a real sequence, put behind its beginning, give back the sequence."""
    backbone = tiny_backbone(family)
    parts = [
        (random_ids(backbone, length, seed=length), random_ids(backbone, count, seed=50 + length))
        for length, count in zip(LENGTHS, (5, 0, 7, 1, WINDOW - 1, 4), strict=True)
    ]
    response = random_ids(backbone, 6, seed=7)
    states = backbone.prefill([query for query, _ in parts]).states
    whole = backbone.prefill([query + memory for query, memory in parts]).states
    rows = [tail_of(state, len(memory)) if memory else None for state, (_, memory) in zip(whole, parts, strict=True)]

    inputs, _ = embed(backbone, [response] * len(parts))
    with torch.no_grad():
        hidden = backbone.extend(backbone.layout.join(states, rows), inputs)

    for (query, memory), ours in zip(parts, hidden, strict=True):
        expected = full_hidden(backbone, query + memory + response)[-len(response) :]
        torch.testing.assert_close(ours, expected, **TOLERANCE)


@pytest.mark.parametrize("family", FAMILIES)
def test_token_by_token_equals_at_once(tiny_backbone: Load, family: str) -> None:
    """Decoding crosses the sliding window step by step; padding of unequal responses stays without effect."""
    backbone = tiny_backbone(family)
    queries = [random_ids(backbone, length, seed=length) for length in (5, WINDOW - 2, 2 * WINDOW)]
    response = random_ids(backbone, WINDOW + 4, seed=3)
    batch = backbone.layout.join(backbone.prefill(queries).states, [None] * len(queries))
    tokens = [torch.full((len(queries), 1), token) for token in response]
    with torch.no_grad():
        steps = [backbone.extend(batch, backbone.embed_ids(token))[:, 0] for token in tokens]
    assert batch.lengths.tolist() == [len(query) + len(response) for query in queries]
    for row, query in enumerate(queries):
        expected = full_hidden(backbone, query + response)[len(query) :]
        torch.testing.assert_close(torch.stack([step[row] for step in steps]), expected, **TOLERANCE)


@pytest.mark.parametrize("family", FAMILIES)
def test_other_rows_of_a_batch_leave_no_trace(tiny_backbone: Load, family: str) -> None:
    backbone = tiny_backbone(family)
    mine = random_ids(backbone, 20, seed=1)
    inputs = backbone.embed_ids(torch.tensor([random_ids(backbone, 6, seed=2)] * 2))
    results = []
    for seed in (10, 11):
        states = backbone.prefill([mine]).states + backbone.prefill([random_ids(backbone, 33, seed)]).states
        with torch.no_grad():
            results.append(backbone.extend(backbone.layout.join(states, [None, None]), inputs)[0])
    assert torch.equal(*results)


def test_states_are_cut_to_the_window(tiny_backbone: Load) -> None:
    backbone = tiny_backbone("gemma3")
    for length in LENGTHS:
        state = backbone.prefill([random_ids(backbone, length, seed=length)]).states[0]
        held = {group.window: keys.shape[-2] for group, keys in zip(backbone.layout.groups, state.keys, strict=True)}
        assert held == {WINDOW: min(length, WINDOW - 1), None: length}
        assert state.length == length
        assert state.bytes == sum(2 * keys.numel() * 4 for keys in state.keys)


@pytest.mark.parametrize("family", FAMILIES)
def test_gradient_reaches_the_rows_and_nothing_else(tiny_backbone: Load, family: str) -> None:
    """The gradient through joined rows equals that through the same rows inside one plain sequence."""
    backbone = tiny_backbone(family)
    query, response = random_ids(backbone, 2 * WINDOW, seed=1), random_ids(backbone, 5, seed=2)
    state = backbone.prefill([query]).states[0]
    rows = tail_of(backbone.prefill([query + random_ids(backbone, 3, seed=3)]).states[0], 3)
    trained = replace(
        rows,
        keys=tuple(k.clone().requires_grad_() for k in rows.keys),
        values=tuple(v.clone().requires_grad_() for v in rows.values),
    )
    inputs, _ = embed(backbone, [response])
    backbone.extend(backbone.layout.join([state], [trained]), inputs).square().sum().backward()
    for tensor in (*trained.keys, *trained.values):
        assert tensor.grad is not None
        assert tensor.grad.abs().max() > 0
    assert all(not tensor.requires_grad for tensor in (*state.keys, *state.values))
    assert all(parameter.grad is None for parameter in backbone.model.parameters())
