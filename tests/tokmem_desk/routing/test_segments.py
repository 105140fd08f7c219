"""Messages that ask for several things: found, routed, answered one after the other, and never cut without reason."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from tests.tokmem_desk.generation.test_recall import memory
from tokmem_desk.backbone.chat_format import Turn
from tokmem_desk.backbone.prefill import Prefilled, Reading
from tokmem_desk.backbone.token_space import TokenNetwork, train_network
from tokmem_desk.background.joined import join
from tokmem_desk.errors import BadInputError
from tokmem_desk.generation.recall import Answer, Bank, Piece, Routed, answer_batch, recall
from tokmem_desk.memory.file import read_metadata
from tokmem_desk.memory.memory import Memory
from tokmem_desk.procedures import NONE_ROUTE
from tokmem_desk.routing.routers import Candidate
from tokmem_desk.routing.segment_tagger import (
    BEGIN,
    CONTENT,
    SegmentTagger,
    fit_segment_tagger,
    marks_of,
    shipped_bytes,
    shipped_segment_tagger,
)
from tokmem_desk.routing.segments import find_segments

if TYPE_CHECKING:
    from torch import Tensor

    from tokmem_desk.backbone.backbone import Backbone

MESSAGE = "Paid 12.50 for lunch, and then the weather today"
ROUTES = {"Paid": "pay", "the": "sky"}


class FirstWordRouter:
    """Routes a text by its first word."""

    feature_layers = (1,)

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone
        self.asked: list[str] = []
        true_prefill = backbone.prefill_steps

        def prefill_steps(queries: list[list[int]], **options: object) -> Reading:
            head, tail = len(backbone.format.head_ids), len(backbone.format.tail_ids)
            self._texts = [backbone.format.decode(q[head : len(q) - tail]) for q in queries]
            return true_prefill(queries, **options)  # type: ignore[arg-type]

        self.prefill_steps = prefill_steps

    def candidates(self, prefilled: Prefilled) -> list[list[Candidate]]:
        self.asked += self._texts
        found = []
        for text in self._texts:
            route = ROUTES.get(text.split()[0], NONE_ROUTE)
            others = [Candidate(name, 0.05) for name in ("pay", "sky", NONE_ROUTE) if name != route]
            found.append([Candidate(route, 0.9), *others])
        return found


class GivenMarks:
    """A segment tagger that says what a test wants."""

    def __init__(self, segment_tagger: SegmentTagger, marks: Tensor) -> None:
        self.space = segment_tagger.space
        self._marks = marks

    def marks(self, tokens: Tensor) -> Tensor:
        assert len(tokens) == len(self._marks)
        return self._marks


@pytest.fixture(scope="module")
def segment_tagger(tiny_backbone: Callable[..., Backbone]) -> SegmentTagger:
    *shares, made = list(fit_segment_tagger(tiny_backbone("llama"), count=40))
    assert shares == sorted(shares) and isinstance(made, SegmentTagger)
    return made


def given(backbone: Backbone, segment_tagger: SegmentTagger, message: str, begins: dict[str, float]) -> GivenMarks:
    """Marks with a probability of beginning at some words, and ", and then" as joint."""
    places = backbone.format.places(message)
    marks = torch.zeros(len(places), 3)
    marks[:, CONTENT] = 1.0
    for joint in (", and then", " and"):
        start = message.find(joint)
        for i, (_, end) in enumerate(places):
            if start >= 0 and start < end <= start + len(joint):
                marks[i] = torch.tensor([0.0, 1.0, 0.0])
    for word, probability in begins.items():
        start = message.index(word)
        i = next(i for i, (_, end) in enumerate(places) if end > start)
        marks[i] = torch.tensor([1 - probability, 0.0, probability])
    return GivenMarks(segment_tagger, marks)


def bank_of(
    backbone: Backbone, router: FirstWordRouter, segment_tagger: object, monkeypatch: pytest.MonkeyPatch
) -> Bank:
    monkeypatch.setattr(backbone, "prefill_steps", router.prefill_steps)
    monkeypatch.setattr(backbone, "token_space", segment_tagger.space)  # type: ignore[attr-defined]
    memories: dict[str, Memory] = {name: memory(backbone, name, seed=i + 1) for i, name in enumerate(("pay", "sky"))}
    return Bank(memories, router, segment_tagger=segment_tagger)  # type: ignore[arg-type]


def test_states_beyond_half_precision_are_no_obstacle(
    tiny_backbone: Callable[..., Backbone], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some models' hidden states exceed what float16 can hold, those of Gemma 3 by far."""
    backbone = tiny_backbone("gemma3")
    run = backbone.prefill

    def loud(*given: Any, **options: Any) -> Prefilled:
        done = run(*given, **options)
        return replace(done, tokens=[tokens * 1e6 for tokens in done.tokens])

    monkeypatch.setattr(backbone, "prefill", loud)
    made = next(done for done in fit_segment_tagger(backbone, count=40) if isinstance(done, SegmentTagger))
    assert all(bool(torch.isfinite(part).all()) for part in (made.space.centre, made.space.projection))
    assert bool(made.space.std.max() > 65504)


def test_each_request_is_a_segment_with_its_own_route(
    tiny_backbone: Callable[..., Backbone], segment_tagger: SegmentTagger, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = tiny_backbone("llama")
    marks = given(backbone, segment_tagger, MESSAGE, {"the weather": 0.9})
    bank = bank_of(backbone, FirstWordRouter(backbone), marks, monkeypatch)
    events = list(recall(backbone, bank, MESSAGE, max_tokens=5))
    routes = [e for e in events if isinstance(e, Routed)]
    assert [(r.route, r.segment, r.part) for r in routes] == [
        ("pay", 0, "Paid 12.50 for lunch"),
        ("sky", 1, "the weather today"),
    ]
    answer = events[-1]
    assert isinstance(answer, Answer) and answer.routed == routes[0]
    assert "".join(e.text for e in events if isinstance(e, Piece)) == answer.response
    assert answer.response == "\n".join(s.response for s in answer.segments)
    for segment in answer.segments:
        alone = list(
            recall(backbone, replace(bank, segment_tagger=None), segment.part, route=segment.route, max_tokens=5)
        )
        assert isinstance(alone[-1], Answer) and alone[-1].response == segment.response


def test_a_message_is_not_cut_without_reason(
    tiny_backbone: Callable[..., Backbone], segment_tagger: SegmentTagger, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = tiny_backbone("llama")
    router = FirstWordRouter(backbone)
    for message, begins in (
        (MESSAGE, {}),
        (MESSAGE, {"the weather": 0.1}),
        ("Paid 3, Paid 4", {"Paid 4": 0.85}),
        ("I paid for tea and I paid for milk", {}),
        ("it rains and snow falls", {"snow": 0.99}),
        ("Paid 3 and milk", {"milk": 0.6}),
    ):
        bank = bank_of(backbone, router, given(backbone, segment_tagger, message, begins), monkeypatch)
        router.asked.clear()
        answer = list(recall(backbone, bank, message, max_tokens=2))[-1]
        assert isinstance(answer, Answer) and [s.part for s in answer.segments] == [message], message
        if not begins:
            assert router.asked == [message], "a message without proposals is run and routed once"


def test_two_requests_for_one_procedure_are_two_where_the_second_clearly_begins(
    tiny_backbone: Callable[..., Backbone], segment_tagger: SegmentTagger, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = tiny_backbone("llama")
    message = "Paid 3 for tea and Paid 4 for milk, and then the weather"
    begins = {"Paid 4": 0.97, "the weather": 0.95}
    bank = bank_of(backbone, FirstWordRouter(backbone), given(backbone, segment_tagger, message, begins), monkeypatch)
    answer = list(recall(backbone, bank, message, max_tokens=2))[-1]
    assert isinstance(answer, Answer)
    assert [(s.route, s.part) for s in answer.segments] == [
        ("pay", "Paid 3 for tea"),
        ("pay", "Paid 4 for milk"),
        ("sky", "the weather"),
    ]


def test_the_opening_word_behind_a_joint_is_a_clear_beginning(
    tiny_backbone: Callable[..., Backbone], segment_tagger: SegmentTagger, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = tiny_backbone("llama")
    router = FirstWordRouter(backbone)
    for message, parts in (
        ("Paid for tea and Paid for milk", ["Paid for tea", "Paid for milk"]),
        ("Paid for tea & Paid for milk", ["Paid for tea & Paid for milk"]),
        ("Paid 3 for tea and Paid 4 for milk", ["Paid 3 for tea and Paid 4 for milk"]),
        ("Paid and Paid", ["Paid and Paid"]),
    ):
        bank = bank_of(backbone, router, given(backbone, segment_tagger, message, {}), monkeypatch)
        answer = list(recall(backbone, bank, message, max_tokens=2))[-1]
        assert isinstance(answer, Answer) and [s.part for s in answer.segments] == parts


def test_a_request_sees_the_earlier_ones_of_its_message_where_its_procedure_reads_the_conversation(
    tiny_backbone: Callable[..., Backbone], segment_tagger: SegmentTagger, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = tiny_backbone("llama")
    message = "Paid 12 for lunch, and then the weather; remember that"
    begins = {"the weather": 0.9, "remember": 0.999}
    bank = bank_of(backbone, FirstWordRouter(backbone), given(backbone, segment_tagger, message, begins), monkeypatch)
    said = [Turn("user", "good morning"), Turn("assistant", "hello")]

    def answered(bank: Bank, **options: object) -> list[str]:
        answer = list(recall(backbone, bank, message, max_tokens=6, **options))[-1]  # type: ignore[arg-type]
        assert isinstance(answer, Answer)
        assert [s.route for s in answer.segments] == ["pay", "sky", NONE_ROUTE]
        return [s.response for s in answer.segments]

    def expected(name: str | None, *turns: Turn) -> str:
        memory = None if name is None else bank.memories[name]
        return answer_batch(backbone, [backbone.format.conversation(list(turns))], [memory], max_tokens=6)[0]

    pay = [Turn("user", "Paid 12 for lunch"), Turn("assistant", answered(bank)[0])]
    sky, last = Turn("user", "the weather"), Turn("user", "remember that")
    # Nobody reads: procedures see their own words; plain chat sees what came before, with procedures' answers or not.
    first, second, third = answered(bank, conversation=said)
    assert second == expected("sky", sky)
    assert third == expected(None, *said, *pay, sky, Turn("assistant", second), last)
    assert answered(bank, conversation=said, whole=said)[2] == expected(None, *said, last)
    reading = replace(bank, conversation_aware=frozenset({"sky"}))
    first, second, third = answered(reading, conversation=(), whole=said)
    assert [first, second] == [pay[1].content, expected("sky", *said, *pay, sky)] != [first, expected("sky", sky)]
    assert third == expected(None, last)


def test_a_forced_route_answers_the_whole_message(
    tiny_backbone: Callable[..., Backbone], segment_tagger: SegmentTagger, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = tiny_backbone("llama")
    marks = given(backbone, segment_tagger, MESSAGE, {"the weather": 0.9})
    bank = bank_of(backbone, FirstWordRouter(backbone), marks, monkeypatch)
    answer = list(recall(backbone, bank, MESSAGE, route="sky", max_tokens=2))[-1]
    assert isinstance(answer, Answer) and [(s.route, s.part) for s in answer.segments] == [("sky", MESSAGE)]


def test_stop_between_and_inside_segments(
    tiny_backbone: Callable[..., Backbone], segment_tagger: SegmentTagger, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = tiny_backbone("llama")
    marks = given(backbone, segment_tagger, MESSAGE, {"the weather": 0.9})
    bank = bank_of(backbone, FirstWordRouter(backbone), marks, monkeypatch)
    for after, segments in ((2, 1), (6, 2)):
        asked = 0

        def cancelled(after: int = after) -> bool:
            nonlocal asked
            asked += 1
            return asked > after

        answer = list(recall(backbone, bank, MESSAGE, max_tokens=4, cancelled=cancelled))[-1]
        assert isinstance(answer, Answer)
        assert answer.stopped == "cancelled" and len(answer.segments) == segments, after


def test_the_segment_tagger_survives_its_file_and_refuses_others(
    tiny_backbone: Callable[..., Backbone], segment_tagger: SegmentTagger
) -> None:
    backbone = tiny_backbone("llama")
    again = SegmentTagger.from_bytes(segment_tagger.to_bytes(), backbone)
    query = backbone.format.query(MESSAGE)
    tokens = backbone.prefill([query], token_space=segment_tagger.space).tokens[0]
    assert len(tokens) == len(backbone.format.places(MESSAGE)) == len(backbone.format.encode_text(MESSAGE))
    assert torch.equal(again.marks(tokens), segment_tagger.marks(tokens))
    with pytest.raises(BadInputError, match="another model"):
        SegmentTagger.from_bytes(segment_tagger.to_bytes(), tiny_backbone("gemma3"))
    with pytest.raises(BadInputError, match="damaged"):
        SegmentTagger.from_bytes(segment_tagger.to_bytes()[:200], backbone)


def test_the_shipped_segment_tagger_is_of_this_version(tiny_backbone: Callable[..., Backbone]) -> None:
    """Other texts or settings need another fit: then make this file anew (see docs/research/composition.md)."""
    metadata = read_metadata(shipped_bytes())
    made = next(
        done for done in fit_segment_tagger(tiny_backbone("llama"), count=30) if isinstance(done, SegmentTagger)
    )
    assert metadata["recipe"] == read_metadata(made.to_bytes())["recipe"]
    assert shipped_segment_tagger(tiny_backbone("llama")) is None


def test_a_network_learns_marks_from_a_tokens_neighbours() -> None:
    """A token is to be marked when the token two places before it is special; shuffled batches, padded."""
    generator = torch.Generator().manual_seed(0)
    texts, marks = [], []
    for length in range(5, 45):
        text = torch.randn(length, 8, generator=generator)
        special = torch.rand(length, generator=generator) < 0.3
        text[special, 0] = 4.0
        texts.append(text)
        marks.append(torch.cat([torch.zeros(2), special[:-2].float()]).long())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = TokenNetwork(8, 2, channels=16, near=5, dropout=0.05)
    shares = list(train_network(network, texts, marks, epochs=30, batch_size=8, rate=1e-2, weight_decay=0.0))
    assert shares[-1] == 1.0 and not network.training
    right = torch.cat([network(t[None])[0].argmax(dim=1) == m for t, m in zip(texts, marks, strict=True)])
    assert float(right.float().mean()) > 0.97


def test_marks_of_a_joined_message(tiny_backbone: Callable[..., Backbone]) -> None:
    backbone = tiny_backbone("llama")
    message = join(["Add milk.", "Call Ben", "what now"], random.Random(3))
    assert [message.text[a:b].lower() for a, b in message.requests] == ["add milk", "call ben", "what now"] or (
        message.text.startswith("Add milk.")
    )
    marks = marks_of(message, backbone.format.places(message.text))
    assert int((marks == BEGIN).sum()) == 2 and int(marks[0]) == CONTENT


def test_requests_beyond_the_bound_are_not_considered(
    tiny_backbone: Callable[..., Backbone], segment_tagger: SegmentTagger, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tokmem_desk.routing import segments

    backbone = tiny_backbone("llama")
    message = " ".join(["Paid the"] * 8)
    places = backbone.format.places(message)
    marks = torch.zeros(len(places), 3)
    marks[:, BEGIN] = 0.9
    marks[:, CONTENT] = 0.1
    router = FirstWordRouter(backbone)
    bank = bank_of(backbone, router, GivenMarks(segment_tagger, marks), monkeypatch)
    done = backbone.prefill([backbone.format.query(message)], token_space=segment_tagger.space)
    found = find_segments(
        backbone,
        router,
        bank.segment_tagger,
        message,
        done.tokens[0],
        [Candidate("pay", 1e-6)],  # type: ignore[arg-type]
    )
    assert 2 <= len(found) <= segments.MOST_PROPOSALS + 1
