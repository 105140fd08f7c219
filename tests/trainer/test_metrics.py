"""Likeness of answers: as published for English, and sensible in every other script."""

from __future__ import annotations

import pytest
from rouge_score.rouge_scorer import RougeScorer

from trainer.metrics import rouge_l

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
