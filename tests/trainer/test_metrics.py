"""Likeness of answers: as published for English, and sensible in every other script."""

from __future__ import annotations

import pytest
from rouge_score.rouge_scorer import RougeScorer

from tokmem_desk.procedures import ExamplePair
from trainer.metrics import rouge_l, score_answers, word_edits

ENGLISH = (
    ("The cats were running in 2 gardens", "a cat runs in 2 garden"),
    ("2025-10-09;home;green candle;12.50", "2025-10-09;home;candle;9.50"),
    ("it's snake_case, m² — “quoted” ✓", "its snake case, m — quoted"),
    ("nothing alike", "entirely other"),
    ("words", ""),
)


@pytest.mark.parametrize(("right", "answer"), ENGLISH)
def test_english_is_scored_as_published(right: str, answer: str) -> None:
    published = RougeScorer(["rougeL"], use_stemmer=True)
    assert rouge_l(answer, [right]) == published.score(right, answer)["rougeL"].fmeasure


@pytest.mark.parametrize(
    ("right", "answer", "low", "high"),
    [
        ("Встреча 12 мая", "Встреча 12 мая", 1.0, 1.0),
        ("Встреча 12 мая", "встреча 12 мая.", 1.0, 1.0),
        ("Встреча 12 мая", "Оплата 12 июня", 0.3, 0.4),
        ("Встреча", "Оплата", 0.0, 0.0),
        ("a café", "a caf", 0.5, 0.5),
        ("a café", "a cafe\u0301", 1.0, 1.0),
        ("the cafés were running", "the cafés run", 0.8, 0.9),
        ("Größe 12", "Grüße 12", 0.5, 0.5),
        ("明天3点开会", "明天4点开会", 0.8, 0.9),
        ("東京タワー", "大阪ドーム", 0.0, 0.3),
        ("日本 trip", "日本trip", 1.0, 1.0),
        ("की", "का", 0.0, 0.0),
        ("यह किताब", "यह कलम", 0.5, 0.5),
        ("วันนี้", "วันนี้", 1.0, 1.0),
        ("회의 5월", "회의 6월", 0.5, 0.5),
        ("١٢", "١٣", 0.0, 0.0),
        ("12 May", "12 мая", 0.5, 0.5),
    ],
)
def test_other_letters_count(right: str, answer: str, low: float, high: float) -> None:
    assert low <= rouge_l(answer, [right]) <= high
    assert rouge_l(answer, ["something else", right]) >= low


def test_signs_alone_are_equal_or_not() -> None:
    assert (
        rouge_l("✓ ", ["✓"]) == 1.0
        and rouge_l("½", ["½"]) == 1.0
        and rouge_l("x", ["✓"]) == 0.0
        and rouge_l("да", ["—"]) == 0.0
    )


@pytest.mark.parametrize(
    ("answer", "right", "edits"),
    [
        ("b3 · 09.iv", "b3 · 09.iv", 0),
        ("  same  words ", "same words", 0),
        ("a b c", "a x c", 1),
        ("a b c", "a c", 1),
        ("a;b;c", "a;x;c", 1),
        ("one line", "one\nline", 1),
        ("", "two words", 2),
        ("Tag", "tag", 1),
        ("cafe\u0301", "café", 0),
        ("東京都", "東大都", 1),
        ("3pm東京", "4pm東京", 1),
    ],
)
def test_word_edits_are_what_a_person_has_to_change(answer: str, right: str, edits: int) -> None:
    assert word_edits(answer, [right]) == edits
    assert word_edits(right, [answer]) == edits


def test_the_nearest_right_answer_counts() -> None:
    assert word_edits("a b c", ["x y z", "a b d"]) == 1
    pair = ExamplePair("m", "a b", ("a c d",))
    assert score_answers(["a b", "a c"], [pair, pair]).edits_per_answer == pytest.approx(0.5)
