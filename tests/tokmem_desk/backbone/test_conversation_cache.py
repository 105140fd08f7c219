"""A conversation's keys and values are kept between turns: same logits, bounded, and each profile's alone."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import pytest
import torch

from tests.tiny_models import FAMILIES, WINDOW
from tests.tokmem_desk.generation.test_recall import collect, token_bank
from tests.tokmem_desk.reference import TOLERANCE, random_ids
from tokmem_desk.backbone.chat_format import Turn
from tokmem_desk.backbone.conversation_cache import CUT_BLOCKS, ConversationCache, OwnedCache, fit_conversation
from tokmem_desk.backbone.prefill import Prefilled, finish
from tokmem_desk.generation import decoding
from tokmem_desk.generation.recall import Bank, answer_batch, recall

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone

Load = Callable[..., "Backbone"]

QUESTIONS = ("What is the weather today?", "And on Monday?", "Paid 12.50 for lunch with the blue card", "Thanks", "Bye")


def counted(backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Token counts of the prefill passes from now on."""
    passes: list[int] = []
    prefill, extend_state = backbone.prefill_steps, backbone.extend_state_steps

    def counted_prefill(queries, **more):
        passes.extend(len(query) for query in queries)
        return prefill(queries, **more)

    def counted_extend_state(state, ids):
        passes.append(len(ids))
        return extend_state(state, ids)

    monkeypatch.setattr(backbone, "prefill_steps", counted_prefill)
    monkeypatch.setattr(backbone, "extend_state_steps", counted_extend_state)
    return passes


def run(cache: OwnedCache, ids: Sequence[int]) -> Prefilled:
    """A query run to its end."""
    steps = cache.run_steps(ids)
    assert steps is not None, "the profile was forgotten"
    return finish(steps)


@pytest.mark.parametrize("family", FAMILIES)
def test_reuse_gives_the_logits_of_a_fresh_pass(
    tiny_backbone: Load, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Turn after turn, longer than the sliding window, with generated answers between."""
    backbone = tiny_backbone(family)
    cache = ConversationCache(backbone, 64).of("me")
    passes = counted(backbone, monkeypatch)
    turns: list[Turn] = []
    for place, question in enumerate(QUESTIONS):
        turns.append(Turn("user", question))
        ids = backbone.format.conversation(turns)
        reused, fresh = run(cache, ids), backbone.prefill([ids])
        assert passes[-2] < len(ids) or place == 0
        torch.testing.assert_close(backbone.logits(reused.last_hidden), backbone.logits(fresh.last_hidden), **TOLERANCE)
        for ours, theirs in zip(reused.states[0].keys, fresh.states[0].keys, strict=True):
            torch.testing.assert_close(ours, theirs, **TOLERANCE)
        # As generation does: token by token behind the query, then kept.
        batch = backbone.layout.join(reused.states, [None])
        answer = backbone.format.encode_text("blue fox " * (1 + place))
        for token in answer:
            decoding.step(backbone, batch, token)
        cache.keep_answer([*ids, *answer], batch)
        turns.append(Turn("assistant", "blue fox " * (1 + place)))
    assert len(ids) > 2 * WINDOW


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_a_chat_answers_the_same_with_and_without(
    tiny_backbone: Load, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = tiny_backbone(family)
    bank = token_bank(backbone, ["one"], None, "x")
    cache = ConversationCache(backbone, 64)
    said: list[Turn] = []
    passes = counted(backbone, monkeypatch)
    fresh_tokens = reused_tokens = 0
    for question in QUESTIONS:
        options = {"route": "none", "conversation": said, "max_tokens": 6}
        del passes[:]
        fresh = collect(recall(backbone, bank, question, **options))[2]
        fresh_tokens += sum(passes)
        del passes[:]
        reused = collect(recall(backbone, bank, question, cache=cache.of("me"), **options))[2]
        reused_tokens += sum(passes)
        assert reused.response == fresh.response and reused.context_tokens == fresh.context_tokens
        said = [*said, Turn("user", question), Turn("assistant", reused.response)]
    assert reused_tokens < fresh_tokens


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_an_edited_message_is_another_conversation(tiny_backbone: Load, family: str) -> None:
    backbone = tiny_backbone(family)
    cache = ConversationCache(backbone, 64).of("me")
    ids = random_ids(backbone, 3 * WINDOW, seed=1)
    run(cache, ids)
    for place in (0, WINDOW - 3, 2 * WINDOW, len(ids) - 1):
        other = [*ids[:place], (ids[place] + 1) % 300, *ids[place + 1 :]]
        for changed in (other, other[: place + 1], ids[:place] or ids[:1], ids):
            reused = run(cache, changed)
            torch.testing.assert_close(reused.last_hidden, backbone.prefill([changed]).last_hidden, **TOLERANCE)


def test_nothing_of_one_profile_is_reached_from_another(tiny_backbone: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = tiny_backbone("llama")
    cache = ConversationCache(backbone, 64)
    ids = random_ids(backbone, 40, seed=1)
    run(cache.of("me"), ids)
    passes = counted(backbone, monkeypatch)
    run(cache.of("you"), [*ids, 5])
    assert passes == [41], "all of it was run, although another profile had run the same"
    run(cache.of("me"), [*ids, 6])
    assert passes == [41, 1]
    cache.forget_others("you")
    run(cache.of("me"), [*ids, 7])
    run(cache.of("you"), [*ids, 7])
    assert passes[2:] == [41, 1]


def test_a_profile_that_was_forgotten_is_not_remembered_by_what_was_under_way(tiny_backbone: Load) -> None:
    backbone = tiny_backbone("llama")
    cache = ConversationCache(backbone, 64)
    ids = random_ids(backbone, 20, seed=1)
    mine = cache.of("me")
    done = run(mine, ids)
    assert cache.bytes > 0
    cache.forget("me")
    assert cache.bytes == 0
    mine.keep_answer(ids, backbone.layout.join(done.states, [None]))
    assert mine.run_steps(ids) is None and cache.bytes == 0
    run(cache.of("me"), ids)
    assert cache.bytes > 0


def test_memory_is_bounded_and_the_oldest_goes_first(tiny_backbone: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = tiny_backbone("llama")
    one = ConversationCache(backbone, 64)
    run(one.of("me"), random_ids(backbone, 30, seed=0))
    cache = ConversationCache(backbone, 2.5 * one.bytes / 2**20)
    conversations = [random_ids(backbone, 30, seed=seed) for seed in range(3)]
    mine = cache.of("me")
    for ids in conversations:
        run(mine, ids)
        assert cache.bytes <= 2.5 * one.bytes
    passes = counted(backbone, monkeypatch)
    for ids in (conversations[2], conversations[1], conversations[0]):
        run(mine, [*ids, 7])
    assert passes[:2] == [1, 1] and passes[2] == 31
    nothing = ConversationCache(backbone, 0)
    run(nothing.of("me"), conversations[0])
    assert nothing.bytes == 0


def test_a_long_conversation_keeps_its_beginning_for_a_while(tiny_backbone: Load) -> None:
    """Cutting by blocks: most turns of a conversation that is too long begin where the turn before began."""
    backbone = tiny_backbone("llama")
    turns = [Turn("user", "hello there")]
    cuts = []
    for place in range(120):
        ids, cut = fit_conversation(backbone, turns, room=20)
        assert len(ids) + 20 <= backbone.context_length
        assert len(ids) > backbone.context_length * (1 - 3 / CUT_BLOCKS) or cut == 0
        cuts.append(cut)
        turns += [Turn("assistant", f"word {place}"), Turn("user", f"and {place}?")]
    changes = sum(a != b for a, b in itertools.pairwise(cuts))
    cutting = sum(cut > 0 for cut in cuts)
    assert cutting > 40 and changes <= cutting / 2


def test_a_procedure_reads_the_conversation_only_if_it_says_so(tiny_backbone: Load) -> None:
    backbone = tiny_backbone("llama")
    bank = token_bank(backbone, ["one"], "one", "thanks")
    said = [Turn("user", "What is the weather today?"), Turn("assistant", "blue and warm")]
    alone = collect(recall(backbone, bank, "thanks", max_tokens=8))[2]
    blind = collect(recall(backbone, bank, "thanks", conversation=said, whole=said, max_tokens=8))[2]
    assert blind.response == alone.response
    reader = Bank(bank.memories, bank.router, conversation_aware=frozenset({"one"}))
    ids = backbone.format.conversation([*said, Turn("user", "thanks")])
    expected = answer_batch(backbone, [ids], [bank.memories["one"]], max_tokens=8)[0]
    for cache in (None, ConversationCache(backbone, 64).of("me")):
        for _ in range(2):
            answer = collect(
                recall(backbone, reader, "thanks", conversation=(), whole=said, cache=cache, max_tokens=8)
            )[2]
            assert answer.response == expected != alone.response
            assert answer.routed.route == "one", "the route is that of the message alone"
    first = collect(recall(backbone, reader, "thanks", max_tokens=8))[2]
    assert first.response == alone.response, "without a conversation it is as it was trained"
