"""Spans: where words may be parted, marks that keep words whole, and other spans in their order."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor

from tokmem_desk.memory.spans import Joint, MarkedMessage, Span, cuts_words, joint

FREE, UNIT, WORD = Joint.FREE, Joint.UNIT, Joint.WORD


@pytest.mark.parametrize(
    ("text", "at", "kind"),
    [
        ("call Zoe", 4, FREE),
        ("call Zoe", 6, WORD),
        ("call Zoe", 0, FREE),
        ("call Zoe", 8, FREE),
        ("3pm", 1, UNIT),
        ("A4", 1, UNIT),
        ("at 12", 4, WORD),
        ("9:30", 1, FREE),
        ("9:30", 2, FREE),
        ("3.5 km", 1, WORD),
        ("3.5 km", 2, WORD),
        ("1,200", 2, WORD),
        ("in 3.", 4, FREE),
        ("a, b", 1, FREE),
        ("Anna's", 4, FREE),
        ("Müller", 1, WORD),
        ("e\u0301t", 1, WORD),
        ("👩\u200d👧", 1, WORD),
        ("👩\u200d👧", 2, WORD),
        ("明天开会", 2, FREE),
        ("e\u0301t", 2, WORD),
        ("พรุ่งนี้", 2, WORD),
        ("พรุ่งนี้", 5, FREE),
        ("あした", 1, FREE),
        ("Москва", 3, WORD),
        ("اسم", 1, WORD),
    ],
)
def test_where_a_text_may_be_parted(text: str, at: int, kind: Joint) -> None:
    assert joint(text, at) == kind


def test_a_number_may_end_before_its_unit_and_a_word_may_not() -> None:
    assert cuts_words("at 3pm", 3, 4) and not cuts_words("at 3pm", 3, 4, number=True)
    assert cuts_words("call Zoe", 0, 6, number=True)


def marked(
    message: str, tokens: list[str], scores: dict[tuple[int, int], float], slots: int = 1, **how: Any
) -> MarkedMessage:
    """A message in these tokens; ``scores`` are those of (token, mark), the others are -9, those of no mark -1."""
    places, at = [], 0
    for token in tokens:
        assert message[at : at + len(token)] == token
        places.append((at, at + len(token)))
        at += len(token)
    table = torch.full((len(tokens), 1 + 2 * slots), -9.0)
    table[:, 0] = -1.0
    for (token, mark), score in scores.items():
        table[token, mark] = score
    return MarkedMessage(message, places, table, **how)


def texts(message: MarkedMessage) -> list[tuple[int, str]]:
    return [(span.slot, message.text(span)) for span in message.best()]


def test_marks_do_not_end_within_a_word() -> None:
    tokens = ["call", " Z", "oe", " now"]
    torn = {(1, 1): 0.0, (2, 2): -1.5}
    assert texts(marked("call Zoe now", tokens, torn)) == [(0, "Zoe")]
    assert texts(marked("call Zoe now", tokens, torn, inner=[0])) == [(0, "Z")]
    late = {(2, 1): 0.5}
    assert texts(marked("call Zoe now", tokens, late)) == []
    assert texts(marked("call Zoe now", tokens, late, inner=[0])) == [(0, "oe")]


def test_marks_do_not_end_within_a_number_and_numbers_leave_their_unit() -> None:
    tokens = ["at", " 1", "0", "am"]
    assert texts(marked("at 10am", tokens, {(1, 1): 0.0}, numbers=[0])) == []
    assert texts(marked("at 10am", tokens, {(1, 1): 0.0, (2, 2): 0.0}, numbers=[0])) == [(0, "10")]
    assert texts(marked("at 10am", tokens, {(1, 1): 0.0, (2, 2): 0.0, (3, 2): -1.5})) == [(0, "10am")]


def test_a_word_is_not_shared_by_two_slots() -> None:
    tokens = ["ab", "cd", " ef"]
    shared = {(0, 1): 0.0, (1, 3): 0.0, (2, 4): 0.0}
    assert texts(marked("abcd ef", tokens, shared, slots=2)) == []
    assert texts(marked("abcd ef", tokens, shared, slots=2, inner=[0, 1])) == [(0, "ab"), (1, "cd ef")]


def test_two_values_of_one_slot_stand_beside_each_other() -> None:
    tokens = ["tea", " milk"]
    assert texts(marked("tea milk", tokens, {(0, 1): 0.0, (1, 1): 0.0})) == [(0, "tea"), (0, "milk")]
    assert texts(marked("tea milk", tokens, {(0, 1): 0.0, (1, 2): 0.0})) == [(0, "tea milk")]


def test_a_message_without_tokens_has_no_values() -> None:
    empty = marked("", [], {})
    assert empty.best() == [] and empty.others(0) == []


def test_other_spans_come_by_their_score_and_keep_words_whole() -> None:
    message = marked("buy red tea", ["buy", " r", "ed", " tea"], {(1, 1): 0.0, (2, 2): 0.0, (3, 1): -2.0})
    spans = message.others(0)
    assert [message.text(span) for span in spans[:2]] == ["red", "tea"]
    assert {message.text(span) for span in spans} == {"buy", "red", "tea", "buy red", "red tea", "buy red tea"}
    assert [span.score for span in spans] == sorted((span.score for span in spans), reverse=True)
    assert spans[0] == Span(0, 1, 3, 2.0)
    assert spans[0].overlaps(Span(1, 2, 4, 0.0)) and not spans[0].overlaps(Span(1, 3, 4, 0.0))


@pytest.mark.parametrize("seed", range(20))
def test_no_scores_at_all_part_a_word(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    message = "Zoe's 12.5kg parcel, 3pm: café №7"
    tokens = re.findall(r"\s?.{1,2}", message)
    places, at = [], 0
    for token in tokens:
        places.append((at, at + len(token)))
        at += len(token)
    scores: Tensor = torch.log_softmax(3 * torch.randn(len(tokens), 5, generator=generator), dim=-1)
    found = MarkedMessage(message, places, scores, numbers=[1])
    for span in [*found.best(), *found.others(0), *found.others(1)]:
        start, end = places[span.first][0], places[span.after - 1][1]
        text = message[start:end]
        start += len(text) - len(text.lstrip())
        # A token that reaches beyond a border is taken whole.
        assert not cuts_words(message, start, end, number=span.slot == 1)
