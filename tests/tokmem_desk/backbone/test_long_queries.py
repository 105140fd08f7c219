"""Long queries are read in parts: the same numbers, in bounded memory, and whoever has had enough can stop."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch

from tests.tiny_models import FAMILIES, RECURRENT, WINDOW
from tests.tokmem_desk.reference import full_hidden
from tokmem_desk.backbone import prefill as prefill_module
from tokmem_desk.backbone.backbone import Backbone
from tokmem_desk.backbone.prefill import Prefilled
from tokmem_desk.backbone.token_space import TokenSpace

Load = Callable[..., Backbone]
TOLERANCE = {"rtol": 1e-3, "atol": 2e-4}

PARTS = (1, 7, WINDOW - 1, WINDOW, WINDOW + 1, 50)
"""Tokens of a part: borders within the layout's head and tail, at and beside the window, and none that divides all."""

MESSAGE = "Paid 12.50 for lunch on 3 May with the blue card. What is the weather today? Thanks, see you on Monday!"


def space(backbone: Backbone) -> TokenSpace:
    """A token space over two layers."""
    generator = torch.Generator().manual_seed(1)
    size = 2 * backbone.hidden_size
    return TokenSpace((1, 2), torch.zeros(size), torch.ones(size), torch.randn(size, 8, generator=generator), "any")


def in_parts(
    backbone: Backbone, queries: list[list[int]], tokens: int, monkeypatch: pytest.MonkeyPatch, **options: Any
) -> Prefilled:
    """Queries read in parts of so many tokens."""
    monkeypatch.setattr(prefill_module, "_PART_TOKENS", tokens)
    return backbone.prefill(queries, **options)


def same(ours: Prefilled, theirs: Prefilled) -> None:
    """All that is given is the same, but for rounding."""
    torch.testing.assert_close(ours.last_hidden, theirs.last_hidden, **TOLERANCE)
    if theirs.pooled is not None:
        torch.testing.assert_close(ours.pooled, theirs.pooled, **TOLERANCE)
    for mine, other in zip(ours.tokens, theirs.tokens, strict=True):
        torch.testing.assert_close(mine, other, **TOLERANCE)
    for state, expected in zip(ours.states, theirs.states, strict=True):
        assert (state.length, state.ids) == (expected.length, expected.ids)
        assert state.running.keys() == expected.running.keys()
        pairs = [*zip(state.keys, expected.keys, strict=True), *zip(state.values, expected.values, strict=True)]
        pairs += [(state.running[slot], expected.running[slot]) for slot in state.running]
        for mine, other in pairs:
            torch.testing.assert_close(mine, other, **TOLERANCE)


@pytest.mark.parametrize("keep_states", [True, False])
@pytest.mark.parametrize("family", [*FAMILIES, *RECURRENT])
def test_parts_give_what_one_pass_gives(
    tiny_backbone: Load, family: str, keep_states: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = tiny_backbone(family)
    query = backbone.format.query(MESSAGE)
    assert len(query) > 2 * WINDOW + 2
    # Other queries run beside it: several of one length, and one of another.
    queries = [query, backbone.format.query("thanks"), [*query[:-1], 7], query[: len(query) // 2]]
    options: dict[str, Any] = {"keep_states": keep_states, "feature_layers": (1, 2), "token_layers": (1, 2)}
    whole = in_parts(backbone, queries, 10_000, monkeypatch, **options)
    torch.testing.assert_close(whole.last_hidden[0], full_hidden(backbone, query)[-1], **TOLERANCE)
    for tokens in PARTS:
        same(in_parts(backbone, queries, tokens, monkeypatch, **options), whole)
        same(in_parts(backbone, [query], tokens, monkeypatch, **options), whole.row(0))


@pytest.mark.parametrize("family", ["llama", "gemma3", "lfm2", "mamba"])
def test_going_on_from_a_state_in_parts_gives_what_one_pass_gives(
    tiny_backbone: Load, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = tiny_backbone(family)
    query = backbone.format.query(MESSAGE)
    whole = in_parts(backbone, [query], 10_000, monkeypatch)
    for first, tokens in itertools.product((3, WINDOW, len(query) - 1), PARTS):
        monkeypatch.setattr(prefill_module, "_PART_TOKENS", tokens)
        state = backbone.prefill([query[:first]]).states[0]
        same(backbone.extend_state(state, query[first:]), whole)


def test_tokens_in_their_space_are_those_that_were_projected_afterwards(
    tiny_backbone: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = tiny_backbone("llama")
    query, of = backbone.format.query(MESSAGE), space(backbone)
    [raw] = backbone.prefill([query], token_layers=of.layers).tokens
    for tokens in PARTS:
        [projected] = in_parts(backbone, [query], tokens, monkeypatch, token_space=of).tokens
        torch.testing.assert_close(projected, of.project(raw), **TOLERANCE)
    assert len(raw) == len(backbone.format.places(MESSAGE))


def test_hidden_states_of_one_part_are_all_there_ever_are(tiny_backbone: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a pass computes beside keys and values is gone when the next one begins, however long the query is."""
    backbone = tiny_backbone("gemma3")
    run_ids, alive, widths = backbone.run_ids, list[weakref.ref[Any]](), list[int]()

    def watched(ids: Any, *given: Any, **options: Any) -> Any:
        assert all(tensor() is None for tensor in alive), "hidden states of an earlier pass are still in memory"
        widths.append(ids.shape[1])
        output = run_ids(ids, *given, **options)
        alive[:] = [weakref.ref(tensor) for tensor in (output.last_hidden_state, *output.hidden_states)]
        return output

    monkeypatch.setattr(backbone, "run_ids", watched)
    query = backbone.format.query(MESSAGE)
    done = in_parts(backbone, [query], 10, monkeypatch, feature_layers=(1, 2), token_space=space(backbone))
    assert max(widths) == 10 and len(widths) >= len(query) // 10
    assert all(tensor() is None for tensor in alive)
    assert done.states[0].length == len(query)


def test_each_pass_tells_how_much_is_read(tiny_backbone: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = tiny_backbone("llama")
    monkeypatch.setattr(prefill_module, "_PART_TOKENS", 10)
    queries = [backbone.format.query("thanks"), backbone.format.query(MESSAGE)]
    told = list(backbone.prefill_steps(queries, feature_layers=(1,)))
    assert told == sorted(set(told)) and told[-1] == sum(map(len, queries)) and len(told) > 4
    state = backbone.prefill([queries[1][:5]]).states[0]
    assert list(backbone.extend_state_steps(state, queries[1][5:28])) == [10, 20, 23]


def test_others_may_run_between_two_parts(tiny_backbone: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = tiny_backbone("gemma3")
    queries = [backbone.format.query(MESSAGE), backbone.format.query(MESSAGE[::-1])]
    alone = [backbone.prefill([query], feature_layers=(1,)) for query in queries]
    monkeypatch.setattr(prefill_module, "_PART_TOKENS", 11)
    readings = [backbone.prefill_steps([query], feature_layers=(1,)) for query in queries]
    done: dict[int, Prefilled] = {}
    while len(done) < 2:
        for place, reading in enumerate(readings):
            try:
                next(reading)
            except StopIteration as ended:
                done.setdefault(place, ended.value)
    for place, expected in enumerate(alone):
        same(done[place], expected)


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_what_is_kept_of_a_long_query_was_never_there_twice(
    tiny_backbone: Load, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each part is written to its place in the state itself."""
    backbone = tiny_backbone(family)
    cut, places = backbone.layout.cut, list[int]()

    def watched(cache: Any, *given: Any, **options: Any) -> Any:
        group = next(group for group in backbone.layout.groups if group.window is None)
        places.append(cache.layers[group.layers[0]].keys.untyped_storage().data_ptr())
        return cut(cache, *given, **options)

    monkeypatch.setattr(backbone.layout, "cut", watched)
    query = backbone.format.query(MESSAGE)
    whole = backbone.prefill([query])
    done = in_parts(backbone, [query], 10, monkeypatch)
    longer = backbone.extend_state(done.states[0], query[:30])
    full = next(g for g, group in enumerate(backbone.layout.groups) if group.window is None)
    for place, state in zip(places[-2:], (done.states[0], longer.states[0]), strict=True):
        keys = state.keys[full]
        assert keys.untyped_storage().data_ptr() == place
        assert keys.untyped_storage().nbytes() == keys.numel() * keys.element_size()
    same(done, whole)


def test_cutting_a_cache_can_empty_it(tiny_backbone: Load) -> None:
    backbone = tiny_backbone("gemma3")
    ids = torch.tensor([backbone.format.query(MESSAGE)])
    with torch.no_grad():
        caches = [backbone.layout.new_cache() for _ in range(2)]
        for cache in caches:
            backbone.run_ids(ids, cache)
    kept = backbone.layout.cut(caches[0], [ids.shape[1]])[0]
    moved = backbone.layout.cut(caches[1], [ids.shape[1]], release=True)[0]
    assert all(torch.equal(a, b) for a, b in zip(kept.keys + kept.values, moved.keys + moved.values, strict=True))
    assert all(layer.keys.numel() + layer.values.numel() == 0 for layer in caches[1].layers)
    assert all(layer.keys.numel() and layer.values.numel() for layer in caches[0].layers)


@pytest.mark.parametrize("family", [*FAMILIES, "phi3", "lfm2", "qwen3_moe"])
def test_tokens_alone_are_those_of_the_whole_pass(tiny_backbone: Callable[..., Backbone], family: str) -> None:
    """Without the layers above them and without what stands behind the message."""
    backbone = tiny_backbone(family)
    queries = [backbone.format.query(text) for text in ("Paid 12.50 for lunch on 3 May.", "Thanks", "x " * 40)]
    for layers in ((0, 1), (1,), (backbone.layer_count,)):
        whole = backbone.prefill(queries, keep_states=False, token_layers=layers).tokens
        alone = backbone.prefill(queries, keep_states=False, token_layers=layers, tokens_alone=True).tokens
        for mine, own in zip(alone, whole, strict=True):
            assert mine.shape == own.shape
            assert torch.allclose(mine, own, atol=1e-4)


def test_a_pass_stops_at_the_deepest_layer_that_is_read(
    tiny_backbone: Callable[..., Backbone], monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = tiny_backbone("gemma3")
    assert backbone.layer_count == 4
    assert backbone.least_depth((0, 2)) == 3 and backbone.least_depth((3,)) is None
    ran: list[int] = []
    hooks = [
        layer.register_forward_pre_hook(lambda *_, number=number: ran.append(number))
        for number, layer in enumerate(backbone.decoder.layers)
    ]
    try:
        backbone.prefill([backbone.format.query("hello")], keep_states=False, token_layers=(1,), tokens_alone=True)
    finally:
        for hook in hooks:
            hook.remove()
    assert 1 in ran and 2 not in ran and backbone.decoder.config.num_hidden_layers == 4


def test_a_decoder_that_gives_other_states_then_runs_whole(
    tiny_backbone: Callable[..., Backbone], monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = tiny_backbone("gemma3")
    monkeypatch.setattr(backbone, "_stops_at", {})
    run = backbone.decoder_call.run

    def otherwise(decoder: Any, **options: Any) -> Any:
        output = run(decoder, **options)
        if options.get("depth"):
            output.hidden_states = tuple(2 * states for states in output.hidden_states)
        return output

    monkeypatch.setattr(backbone.decoder_call, "run", otherwise)
    assert backbone.least_depth((1,)) is None


def test_nothing_else_comes_of_tokens_alone(tiny_backbone: Callable[..., Backbone]) -> None:
    backbone = tiny_backbone("llama")
    query = [backbone.format.query("hello")]
    for options in ({}, {"keep_states": False}, {"keep_states": False, "token_layers": (1,), "feature_layers": (1,)}):
        with pytest.raises(ValueError, match="nothing but tokens"):
            backbone.prefill(query, tokens_alone=True, **options)
