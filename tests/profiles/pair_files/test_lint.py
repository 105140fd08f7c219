"""Advice on example pairs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiles.pair_files.lint import FEW_PAIRS, Finding, lint_pairs, repeated_sentence
from tokmem_desk.procedures import ExamplePair

GOOD = [ExamplePair(f"question {number}", f"answer {number}") for number in range(FEW_PAIRS)]


def found(*pairs: ExamplePair, long_characters: int = 6_000) -> list[tuple[str, tuple[int, ...]]]:
    """Kinds and places of the findings about ``pairs``, which stand before enough good ones."""
    return [(item.kind, item.pairs) for item in lint_pairs([*pairs, *GOOD], long_characters=long_characters)]


def test_good_pairs_get_no_advice() -> None:
    assert lint_pairs(GOOD) == []


def test_duplicates_are_the_same_but_for_spacing() -> None:
    first = ExamplePair("a  b", "x")
    assert found(first, ExamplePair("a b", "x"), ExamplePair("A b", "x")) == [("duplicate", (0, 1))]
    assert lint_pairs([first] * 9)[0].text == "Pairs 1, 2, 3, 4, 5, 6 and 3 more are the same."
    assert lint_pairs([first] * 3)[0].text == "Pairs 1, 2 and 3 are the same."


def test_contradictions_are_different_answers_to_one_input() -> None:
    one, two = ExamplePair("a", "x"), ExamplePair("a", "y")
    assert found(one, GOOD[0], two)[0] == ("contradiction", (0, 2))
    # An answer that letter case alone tells apart may be what is taught.
    assert found(one, ExamplePair("a", "X")) == [("contradiction", (0, 1))]


def test_answers_that_both_pairs_accept_do_not_contradict() -> None:
    both = [ExamplePair("a", "x", ("y",)), ExamplePair("a", "y", ("y", "x"))]
    assert found(*both) == []
    assert found(both[0], ExamplePair("a", "y")) == [("contradiction", (0, 1))]


def test_one_input_can_be_double_and_contradictory() -> None:
    pairs = [ExamplePair("a", "x"), ExamplePair("a", "y"), ExamplePair("a", "x")]
    assert found(*pairs) == [("contradiction", (0, 1, 2)), ("duplicate", (0, 2))]


def test_empty_pairs_are_neither_double_nor_contradictory() -> None:
    pairs = [ExamplePair("", "x"), ExamplePair(" ", "y"), ExamplePair("a", "\n"), ExamplePair("", "")]
    assert found(*pairs) == [("empty", (0,)), ("empty", (1,)), ("empty", (2,)), ("empty", (3,))]
    assert lint_pairs(pairs)[3].text == "Pair 4 has no input and no response."


def test_long_pairs_count_both_texts() -> None:
    assert found(ExamplePair("x" * 60, "y" * 41), long_characters=100) == [("too_long", (0,))]
    assert found(ExamplePair("x" * 60, "y" * 40), long_characters=100) == []
    assert "3,001 characters; beyond 3,000" in lint_pairs([ExamplePair("x" * 3000, "y")], long_characters=3000)[0].text


def test_spaces_that_nobody_sees() -> None:
    assert found(ExamplePair(" a", "x"), ExamplePair("b", "x\n")) == [("whitespace", (0,)), ("whitespace", (1,))]
    for hidden in "\u00a0\u200b\ufeff\x07\u202e":
        assert found(ExamplePair(f"a{hidden}b", "x")) == [("whitespace", (0,))]
    assert found(ExamplePair("a\tb\nc", "x\ny")) == []


@pytest.mark.parametrize(
    "text",
    [
        "Bonjour Anne\u202f! Ça va\u00a0?",
        "«\u00a0oui\u00a0»",
        "1\u202f000\u00a0km",
        "M.\u00a0Dupont",
        "می\u200cخواهم",
        "क्\u200dष",
        "family 👩\u200d👩\u200d👧\u200d👦",
        "rainbow 🏳\ufe0f\u200d🌈, farmer 👩🏽\u200d🌾",
        "\u200fשלום (abc)\u200e",
        "he said \u2067שלום\u2069",
        "ภาษา\u200bไทย",
        "sunny ☀\ufe0f",
    ],
)
def test_characters_that_belong_to_a_script_or_a_sequence_are_no_fault(text: str) -> None:
    assert found(ExamplePair("a", text)) == []


@pytest.mark.parametrize(
    "text",
    [
        "two\u00a0words",
        "a\u200cb",
        "a\u200db",
        "👩\u200da",
        "abc\u200edef",
        "a\u2066b\u2069",
        "a\u200bb",
        "so\u00adft",
        "a\u2060b",
    ],
)
def test_the_same_characters_elsewhere_are(text: str) -> None:
    assert found(ExamplePair("a", text)) == [("whitespace", (0,))]


def test_pairs_that_are_there_already_are_counted() -> None:
    assert repeated_sentence(GOOD, []) == "" == repeated_sentence([], GOOD)
    assert repeated_sentence(GOOD[:1], GOOD) == "1 of them was there already."
    assert repeated_sentence([*GOOD[:2], ExamplePair("question 1", "other")], GOOD) == "2 of them were there already."


def test_few_counts_different_pairs() -> None:
    (few,) = lint_pairs(GOOD[:3])
    assert few == Finding("few", (), f"Only 3 different pairs: with {FEW_PAIRS} or more it works better, best with 20.")
    assert lint_pairs([GOOD[0]] * 20)[-1].text.startswith("Only 1 pair:")
    assert lint_pairs([])[-1].text.startswith("Only 0 different pairs:")


@given(st.lists(st.builds(ExamplePair, st.text(max_size=3), st.text(max_size=3)), max_size=12))
def test_findings_point_at_pairs_that_are_there(pairs: list[ExamplePair]) -> None:
    for finding in lint_pairs(pairs):
        assert finding.text and all(0 <= place < len(pairs) for place in finding.pairs)
        assert (finding.pairs == ()) == (finding.kind == "few")
        if finding.kind == "duplicate":
            assert len(finding.pairs) > 1
