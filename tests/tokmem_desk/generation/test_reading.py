"""Long messages: told how far they are read, stopped while they are read, and cut into requests within a bound."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch

from tests.tokmem_desk.generation.test_recall import token_bank
from tests.tokmem_desk.routing.test_segments import FirstWordRouter, GivenMarks, bank_of, given
from tokmem_desk.backbone import prefill as prefill_module
from tokmem_desk.backbone.chat_format import Turn
from tokmem_desk.backbone.conversation_cache import ConversationCache
from tokmem_desk.errors import InterruptedByUser
from tokmem_desk.generation.recall import Answer, Read, Routed, recall
from tokmem_desk.procedures import NONE_ROUTE
from tokmem_desk.routing import segments
from tokmem_desk.routing.segment_tagger import BEGIN, CONTENT, SegmentTagger, fit_segment_tagger
from tokmem_desk.routing.segments import propose_cuts

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone

Load = Callable[..., "Backbone"]
LONG = "Paid 12.50 for lunch on 3 May with the blue card, please write that into my table. Thanks!"


@pytest.fixture(scope="module")
def segment_tagger(tiny_backbone: Load) -> SegmentTagger:
    *_, made = list(fit_segment_tagger(tiny_backbone("llama"), count=40))
    assert isinstance(made, SegmentTagger)
    return made


@pytest.fixture
def short_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefill_module, "_PART_TOKENS", 10)


@pytest.mark.usefixtures("short_parts")
def test_how_far_a_long_message_is_read_is_told_before_its_route(tiny_backbone: Load) -> None:
    backbone = tiny_backbone("llama")
    bank = token_bank(backbone, ["one"], "one", LONG)
    total = len(backbone.format.query(LONG))
    events = list(recall(backbone, bank, LONG, max_tokens=3))
    place = next(i for i, event in enumerate(events) if isinstance(event, Routed))
    told = events[:place]
    assert len(told) > 3 and not any(isinstance(event, Read) for event in events[place:])
    assert [event for event in told if event != Read("message", event.done, total)] == []  # type: ignore[union-attr]
    shares = [event.done for event in told if isinstance(event, Read)]
    assert shares == sorted(set(shares)) and shares[0] > 0 and shares[-1] < total


def test_a_short_message_has_nothing_to_tell(tiny_backbone: Load) -> None:
    backbone = tiny_backbone("llama")
    events = list(recall(backbone, token_bank(backbone, ["one"], "one", LONG), LONG, max_tokens=3))
    assert not any(isinstance(event, Read) for event in events)


@pytest.mark.usefixtures("short_parts")
@pytest.mark.parametrize("family", ["llama", "gemma3", "lfm2"])
def test_a_message_is_answered_the_same_in_parts(
    tiny_backbone: Load, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = tiny_backbone(family)
    bank = token_bank(backbone, ["one"], "one", LONG)
    said = [Turn("user", "What is the weather today?"), Turn("assistant", "Blue and warm, and so on.")]
    told: list[list[object]] = []
    for tokens in (10, 10_000):
        monkeypatch.setattr(prefill_module, "_PART_TOKENS", tokens)
        answers = []
        for route, conversation in (("auto", []), (NONE_ROUTE, []), (NONE_ROUTE, said)):
            for cache in (None, ConversationCache(backbone, 64).of("me")):
                *_, last = recall(
                    backbone, bank, LONG, route=route, conversation=conversation, cache=cache, max_tokens=8
                )
                assert isinstance(last, Answer)
                answers.append((last.routed.route, last.response, last.context_tokens, last.prompt_tokens))
        told.append(answers)
    assert told[0] == told[1]


@pytest.mark.usefixtures("short_parts")
def test_reading_stops_within_a_pass(tiny_backbone: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = tiny_backbone("llama")
    bank = token_bank(backbone, ["one"], "one", LONG)
    list(recall(backbone, bank, "thanks", max_tokens=1))  # what stands in front of every message has been run
    run_ids, passes = backbone.run_ids, list[int]()

    def counted(*given: object, **options: object) -> object:
        passes.append(1)
        return run_ids(*given, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(backbone, "run_ids", counted)
    for stopped_after in (1, 2, 4):
        passes.clear()
        with pytest.raises(InterruptedByUser, match="Stopped while reading"):
            list(recall(backbone, bank, LONG, cancelled=lambda n=stopped_after: len(passes) >= n))  # type: ignore[misc]
        assert len(passes) == stopped_after


@pytest.mark.usefixtures("short_parts")
def test_reading_a_conversation_stops_too_and_the_route_stays(tiny_backbone: Load) -> None:
    backbone = tiny_backbone("llama")
    bank = token_bank(backbone, ["one"], "one", LONG)
    said = [Turn("user", LONG), Turn("assistant", "I wrote that into your table.")]
    cache = ConversationCache(backbone, 64)
    seen: list[object] = []

    def cancelled() -> bool:
        return any(isinstance(event, Read) and event.what == "conversation" for event in seen)

    options = {"route": NONE_ROUTE, "conversation": said, "cache": cache.of("me"), "cancelled": cancelled}
    seen.extend(recall(backbone, bank, "thanks", **options))  # type: ignore[arg-type]
    answer = seen[-1]
    assert isinstance(answer, Answer) and answer.stopped == "cancelled" and answer.response == ""
    assert answer.routed.route == NONE_ROUTE and answer.timing.tokens == 0
    assert sum(isinstance(event, Read) and event.what == "conversation" for event in seen) == 1
    assert cache.bytes == 0, "what was read in part is not kept"


def test_a_profile_that_is_forgotten_while_its_conversation_is_read_is_not_remembered(
    tiny_backbone: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = tiny_backbone("llama")
    monkeypatch.setattr(prefill_module, "_PART_TOKENS", 10)
    cache = ConversationCache(backbone, 64)
    reading = cache.of("me").run_steps(backbone.format.query(LONG))
    assert reading is not None
    next(reading)
    cache.forget("me")
    list(reading)
    assert cache.bytes == 0


def spread_marks(backbone: Backbone, segment_tagger: SegmentTagger, message: str) -> GivenMarks:
    """Each word may begin a request, later ones less likely."""
    places = backbone.format.places(message)
    marks = torch.zeros(len(places), 3)
    marks[:, BEGIN] = torch.linspace(0.9, 0.5, len(places))
    marks[:, CONTENT] = 1 - marks[:, BEGIN]
    return GivenMarks(segment_tagger, marks)


@pytest.mark.parametrize("bound", [1, 60, 200, 400, 100_000])
def test_stretches_are_within_a_bound(
    tiny_backbone: Load, segment_tagger: SegmentTagger, monkeypatch: pytest.MonkeyPatch, bound: int
) -> None:
    backbone = tiny_backbone("llama")
    message = " ".join(["Paid the lunch"] * 12)
    tagger = spread_marks(backbone, segment_tagger, message)
    size = len(backbone.format.places(message))
    tokens = torch.zeros(size, 1)
    free = propose_cuts(backbone, tagger, message, tokens)  # type: ignore[arg-type]
    monkeypatch.setattr(segments, "MOST_TOKENS", bound)
    cuts = propose_cuts(backbone, tagger, message, tokens)  # type: ignore[arg-type]
    assert free is not None and len(free.marks) == segments.MOST_PROPOSALS
    if cuts is None:
        assert bound < size, "two stretches have as many tokens as the message"
        return
    beside = len(backbone.format.query(""))
    assert sum(len(query) - beside for query in cuts.queries) <= bound
    assert cuts.marks == sorted(free.marks, reverse=True)[: len(cuts.marks)], "the likeliest beginnings stay"
    assert (len(cuts.marks) == segments.MOST_PROPOSALS) == (bound == 100_000)


def test_requests_of_a_long_message_are_read_again_and_answered_the_same(
    tiny_backbone: Load, segment_tagger: SegmentTagger, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = tiny_backbone("llama")
    message = "Paid 12.50 for lunch, and then the weather today"
    marks = given(backbone, segment_tagger, message, {"the weather": 0.9})
    bank = bank_of(backbone, FirstWordRouter(backbone), marks, monkeypatch)
    kept = list(recall(backbone, bank, message, max_tokens=5))[-1]
    monkeypatch.setattr(segments, "KEPT_TOKENS", 10)
    again = list(recall(backbone, bank, message, max_tokens=5))[-1]
    assert isinstance(kept, Answer) and isinstance(again, Answer) and len(kept.segments) == 2
    assert replace(again, timing=kept.timing) == kept
