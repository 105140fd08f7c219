"""The judgement of a scorecard: each case once, and what must never be said."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest

from tui.cli.scorecards import advice_lines, evaluation_text, scorecard_table
from tui.engine_client.protocol import Trained
from tui.kit.verdict import FAULTS, count_faults, faults_of, verdict_of
from tui.shared.scorecard import card_text, is_better, is_whole


def card(**changes: Any) -> dict[str, Any]:
    """A good scorecard, with changes; ``taken`` of 100 ordinary messages go to the procedure."""
    taken = changes.pop("taken", 0)
    made = {
        "pairs": 30,
        "held_out": 20,
        "held_out_source": "test",
        "routing_accuracy": 1.0,
        "false_trigger_rate": taken / 100,
        "exact_match": 0.9,
        "rouge_l": 0.95,
        "form_valid": None,
        "base": {"exact_match": 0.0, "rouge_l": 0.2},
        "before": None,
        "prompt": None,
        "confusion": {"labels": ["bills", "none"], "counts": [[20, 0], [taken, 100 - taken]]},
        "samples": [],
        "faults": {},
        "advice": [],
        "seconds": 10.0,
        "span": 8,
        "steps": 50,
    }
    return made | changes


def before(change: float) -> dict[str, Any]:
    """A comparison with the memory so far."""
    scores = {"exact_match": 0.5, "routing_accuracy": 1.0, "false_trigger_rate": 0.0}
    return {"version": 1, "held_out": 20, **scores, "rouge_l": 0.5, "now": {**scores, "rouge_l": 0.5 + change}}


NUMBERS = {"faults": {"numbers": 4, "wording": 1}}

TABLE = [
    (
        "unmeasured",
        {"rouge_l": None},
        "Not measured: the training was stopped before. The best so far can be used.",
        "",
    ),
    (
        "unmeasured",
        {"rouge_l": None, "pairs": 5, "held_out": 0, "held_out_source": "none"},
        "Not measured: 5 pairs are too few to set some aside; from 8 pairs on a part of them measures.",
        "held out",
    ),
    (
        "unmeasured",
        {"rouge_l": None, "pairs": 1, "held_out": 0, "held_out_source": "none", "taken": 8},
        "Not measured: 1 pair is too few to set some aside; from 8 pairs on a part of them measures. And 8 of 100 "
        "ordinary messages go to a procedure.",
        "threshold",
    ),
    (
        "unmeasured",
        {"rouge_l": None, "pairs": 12, "held_out": 0, "held_out_source": "none"},
        "Not measured: none of its 12 pairs could be set aside. What came from the chat is always learned, and pairs "
        "of one message stay together.",
        "held out",
    ),
    (
        "unready",
        {"pairs": 12, "held_out": 4, "exact_match": 0.0, "rouge_l": 0.4, "taken": 8, **NUMBERS},
        "Not ready: 0 of 4 answers are exact: the numbers are wrong in 4. And 8 of 100 ordinary messages go to a "
        "procedure.",
        "differ in their numbers",
    ),
    (
        "unready",
        {"exact_match": 0.05, "rouge_l": 0.5, "faults": {"form": 12, "numbers": 3}},
        "Not ready: 1 of 20 answers is exact: the form is wrong in 12.",
        "one form",
    ),
    (
        "unready",
        {"exact_match": 0.1, "rouge_l": 0.9, "faults": {"numbers": 17, "wording": 1}},
        "Not ready: 2 of 20 answers are exact: the numbers are wrong in 17.",
        "differ in their numbers",
    ),
    (
        "close",
        {"exact_match": 0.1, "rouge_l": 0.9, "faults": {"wording": 17, "numbers": 2}},
        "Closer to the right answers than without it, but 2 of 20 answers are exact: the words are other ones in 17.",
        "same words",
    ),
    (
        "learned",
        {"pairs": 5, "held_out": 5, "held_out_source": "split", "exact_match": 1.0},
        "Not known: it was measured on the 5 pairs that it has learned, where 5 of 5 answers are exact. New messages "
        "may go otherwise.",
        "5 say little",
    ),
    ("worse", {"before": before(-0.2)}, "Worse than what you have now: 18 of 20 answers are exact.", "thorough"),
    (
        "no_better",
        {"base": {"exact_match": 0.95, "rouge_l": 0.97}},
        "No better than without it: 18 of 20 answers are exact, without it 19.",
        "thorough",
    ),
    (
        "takes_chat",
        {"taken": 8},
        "It answers well enough (18 of 20 answers are exact), but 8 of 100 ordinary messages go to a procedure.",
        "Raise its threshold",
    ),
    (
        "close",
        {"exact_match": 0.0, "rouge_l": 0.8, "faults": {"wording": 20}},
        "Closer to the right answers than without it, but 0 of 20 answers are exact: the words are other ones in 20.",
        "same words",
    ),
    (
        "few",
        {"held_out": 4, "exact_match": 0.5, "rouge_l": 0.8},
        "Better than without it, as far as 4 pairs can tell: 2 of 4 answers are exact.",
        "4 say little",
    ),
    (
        "few",
        {"held_out": 2, "exact_match": 1.0, "before": before(0.2)},
        "Better than what you have now, as far as 2 pairs can tell: 2 of 2 answers are exact.",
        "2 say little",
    ),
    (
        "better",
        {"faults": {"numbers": 2}},
        "Better than without it: 18 of 20 answers are exact, without it 0; the numbers are wrong in 2.",
        "",
    ),
    ("better", {}, "Better than without it: 18 of 20 answers are exact, without it 0.", ""),
    ("better", {"before": before(0.0)}, "About as good as what you have now: 18 of 20 answers are exact, without it 0.",
     ""),
]  # fmt: skip


@pytest.mark.parametrize(("case", "changes", "sentence", "help_"), TABLE)
def test_each_case(case: str, changes: dict[str, Any], sentence: str, help_: str) -> None:
    verdict = verdict_of(card(**changes))
    assert (verdict.case, verdict.sentence) == (case, sentence)
    assert help_ in (verdict.proposals[0] if verdict.proposals else "")


def test_the_card_of_the_complaint_is_not_called_better_anywhere() -> None:
    scorecard = card(pairs=12, held_out=4, exact_match=0.0, rouge_l=0.35, taken=8, **NUMBERS)
    trained: Trained = {"name": "bills", "memory_id": "1", "scorecard": scorecard}  # type: ignore[typeddict-item]
    said = "\n".join([str(card_text(trained)), *advice_lines([trained])])
    assert "Better" not in said and "Not ready: 0 of 4" in said and "8 of 100 ordinary messages" in said
    assert not is_better(trained["scorecard"])


def test_never_better_where_nothing_is_right_or_chat_is_taken() -> None:
    figures = itertools.product((1, 4, 20), (0.0, 0.5, 1.0), (0.1, 0.5, 0.9), (0, 5, 6, 40), (None, 0.3))
    for held_out, exact, likeness, taken, change in figures:
        one = card(
            held_out=held_out, exact_match=exact, rouge_l=likeness, taken=taken,
            before=None if change is None else before(change),
        )  # fmt: skip
        verdict = verdict_of(one)
        if "Better" in verdict.sentence:
            assert round(exact * held_out) * 2 >= held_out and likeness > 0.2 and taken <= 5
            assert held_out >= 8 or f"as far as {held_out} pair" in verdict.sentence
        if taken > 5:
            assert f"{taken} of 100 ordinary messages go" in verdict.sentence
            assert any("threshold" in proposal for proposal in verdict.proposals)
        assert "%" not in verdict.sentence


UNMEASURED: dict[str, Any] = {
    "pairs": 5, "held_out": 0, "held_out_source": "none", "false_trigger_rate": 0.0,
    "confusion": {"labels": ["bills", "none"], "counts": [[0, 0], [0, 100]]},
    "advice": ["Two pairs answer the same input differently: 'x'. Keep one of them."],
    "seconds": 3.0, "span": 8, "steps": 20,
}  # fmt: skip


def test_nothing_unmeasured_is_called_better_or_given_a_figure() -> None:
    stopped = {"seconds": 3.0, "steps": 20, "advice": []}
    for one in (UNMEASURED, stopped):
        trained: Trained = {"name": "bills", "memory_id": "1", "scorecard": one}  # type: ignore[typeddict-item]
        assert not is_better(trained["scorecard"]) and verdict_of(one).case == "unmeasured"
        said = "\n".join([str(card_text(trained)), *advice_lines([trained])])
        assert "measured" in said and "etter" not in said and "exact" not in said
        row = scorecard_table([trained]).splitlines()[1]
        assert "- / -" in row and "%" not in row
    assert "5 pairs learned" in str(card_text(trained | {"scorecard": UNMEASURED}))  # type: ignore[typeddict-item]
    assert "Keep one of them." in verdict_of(UNMEASURED).proposals[-1]


def test_a_scorecard_that_came_with_a_bank_may_be_shorter() -> None:
    short = {"rouge_l": 0.9, "steps": 20, "pairs": 12}
    for one in (short, short | {"held_out": 4}, short | {"exact_match": 1.0}):
        verdict = verdict_of(one)
        assert verdict.case == "unmeasured" and "does not say" in verdict.sentence and not is_whole(one)
    assert is_whole(card()) and is_whole(UNMEASURED) and not is_whole({})


def test_figures_are_counts() -> None:
    one = card(held_out=4, exact_match=0.5, routing_accuracy=0.75, form_valid=1.0, taken=3, before=before(0.1))
    trained: Trained = {"name": "bills", "memory_id": "1", "scorecard": one}  # type: ignore[typeddict-item]
    text, row = str(card_text(trained)), scorecard_table([trained]).splitlines()[1]
    for said in (
        "2 of 4",
        "0 of 4",
        "3 of 4 found it",
        "3 of 100 ordinary messages",
        "4 of 4 answers have",
        "10 of 20",
    ):
        assert said in text
    for said in ("2 of 4 / 0 of 4", "3 of 4", "3 of 100"):
        assert said in row
    now, earlier = one["before"]["now"], one["before"]  # likeness alone is no count
    alike = {f"{score:.0%}" for score in (one["rouge_l"], one["base"]["rouge_l"], now["rouge_l"], earlier["rouge_l"])}
    assert set(re.findall(r"\d+%", text + row)) <= alike
    result = {"exact_match": 0.5, "per_procedure": {"bills": {"tests": 4, "exact_match": 0.5, "rouge_l": 0.8}}}
    measured = evaluation_text(result)
    assert "2 of 4" in measured and "0.80" in measured and "Measured on 4 pairs." in measured


def test_what_the_engine_advises_is_not_said_twice() -> None:
    more = "More pairs would help most: there are 12, try 24."
    advice = [more, "Some of its messages go elsewhere: add pairs that look like what you really type."]
    verdict = verdict_of(card(pairs=12, exact_match=0.0, rouge_l=0.3, advice=advice))
    assert [one for one in verdict.proposals if "More pairs" in one] == [more]
    assert advice[1] in verdict.proposals


@pytest.mark.parametrize(
    ("expected", "got", "faults"),
    [
        ("total: 42.50 EUR", "total: 42.50 EUR ", ()),
        ("total: 42.50 EUR", "total: 17 EUR", ("numbers",)),
        ("total: 42.50 EUR", "42.50 EUR in all", ("form", "wording")),
        ("( ) buy milk due:mon", "( ) buy bread due:mon", ("wording",)),
        ("( ) buy milk due:mon", "[ ] buy milk due:mon", ("form",)),
        ("Buy milk", "buy  milk", ("spelling",)),
        ("Buy milk", "", ("nothing",)),
        ("Grüße, 3 Stück", "Grüße, 4 Stück!", ("numbers",)),
        ("今天 3 点", "明天 3 点", ("wording",)),
    ],
)
def test_what_is_wrong_with_an_answer(expected: str, got: str, faults: tuple[str, ...]) -> None:
    assert faults_of(expected, got) == faults
    assert set(faults) <= set(FAULTS)


def test_older_scorecards_tell_by_their_samples() -> None:
    samples = [{"input": "x", "expected": "due 3", "got": "due 4", "base": ""}]
    older = card(held_out=1, exact_match=0.0, rouge_l=0.5, samples=samples)
    del older["faults"]
    assert "the numbers are wrong" in verdict_of(older).sentence
    assert count_faults([("a", "b"), ("a", "a"), ("1", "2")]) == {"wording": 1, "numbers": 1}


def improved(now: float, on_pairs: float | None = 0.0) -> dict[str, Any]:
    """The card of a memory that was improved from verdicts, half of which were met before."""
    said = {"learned": 12, "held_out": 4, "before": {"right": 0.5, "alike": 0.5}, "now": {"right": now, "alike": now}}
    return card(verdicts=said, before=None if on_pairs is None else before(on_pairs))


@pytest.mark.parametrize(
    ("now", "on_pairs", "case"),
    [
        (0.75, 0.0, "better"),
        (0.75, -0.04, "better"),
        (0.75, -0.06, "worse"),
        (0.75, None, "better"),
        (0.5, 0.0, "no_better"),
        (0.5, 0.06, "better"),
        (0.5, -0.06, "worse"),
        (0.25, 0.2, "worse"),
        (0.5, None, "no_better"),
    ],
)
def test_an_improvement_needs_pairs_and_verdicts_to_agree(now: float, on_pairs: float | None, case: str) -> None:
    judged = verdict_of(improved(now, on_pairs))
    assert (judged.case, judged.usable) == (case, case == "better")
    assert (
        f"of 4 verdicts set aside {round(now * 4)} {'is' if now == 0.25 else 'are'} met now, before 2"
        in judged.sentence
    )
    if on_pairs == -0.06 and now == 0.75:
        assert judged.proposals[0].startswith("Your pairs want other answers")
    shown = card_text(Trained(name="bills", memory_id="m", scorecard=improved(now, on_pairs))).plain  # type: ignore[typeddict-item]
    assert "12 verdicts learned; measured on 4" in shown and f"{round(now * 4)} of 4" in shown
