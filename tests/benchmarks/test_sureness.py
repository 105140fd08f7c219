"""Figures of how well a method knows which of its answers are right, and the halves of the procedures."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.data import half_of, load_tasks
from benchmarks.measure import measure
from benchmarks.methods import METHODS, Context
from benchmarks.methods.base import Learned, Reply
from benchmarks.report import to_markdown
from benchmarks.result import Run, summarise
from benchmarks.sureness import Sureness, answer_calibration_error, exact_at_half
from tokmem_desk.procedures import Procedure


def test_the_surer_half_is_measured() -> None:
    answers = [Sureness(p, right) for p, right in ((0.9, True), (0.2, False), (0.8, True), (0.4, True), (0.1, False))]
    assert exact_at_half(answers) == 1  # 0.9, 0.8 and 0.4
    assert exact_at_half([Sureness(1 - a.probability, a.right) for a in answers]) == pytest.approx(1 / 3)
    assert exact_at_half([]) is None


def test_answers_that_are_equally_sure_count_as_their_mean_in_any_order() -> None:
    answers = [Sureness(0.5, right) for right in (True, False, False, False)]
    assert exact_at_half(answers) == exact_at_half(answers[::-1]) == 0.25
    assert exact_at_half([Sureness(0.9, False), *answers]) == pytest.approx((0 + 2 * 0.25) / 3)


def test_calibration_is_of_all_seeds_together() -> None:
    """In one seed half of the answers are right, in the other all: together as many as were said."""
    runs = [
        Run({"answer_calibration_error": answer_calibration_error(a)}, sureness={"p": a})
        for a in ([Sureness(0.75, True), Sureness(0.75, False)], [Sureness(0.75, True), Sureness(0.75, True)])
    ]
    found = summarise({"ours": runs})["ours"]
    assert [run.metrics["answer_calibration_error"] for run in runs] == [0.25, 0.25]
    assert found["metrics"]["answer_calibration_error"] == 0


class _Sure(Learned):
    """Answers with the message, and is sure of messages that end in an even digit."""

    def answer(self, route: str, messages: list[str], limit: int) -> list[Reply]:  # type: ignore[override]
        return [Reply(message, 0, 0.9 if int(message[-1]) % 2 == 0 else 0.1) for message in messages]


def test_a_run_reports_both_halves_and_the_surer_answers(context: Context, data_folder: Path) -> None:
    procedures = load_tasks(data_folder).procedures
    half_by_name = half_of(procedures)
    measured = measure(lambda *_: _Sure(), context, procedures, [], 0, half_by_name)
    metrics, halves = measured.run.metrics, measured.run.halves
    assert metrics["exact_at_half"] == 0 and metrics["answer_calibration_error"] is not None
    assert (metrics["edits_per_answer"] or 0) >= 1
    assert set(halves) == {"chooses", "looked at"} == set(half_by_name.values())
    for half, figures in halves.items():
        of_half = [
            figures["rouge_l"] or 0
            for name, figures in measured.run.per_procedure.items()
            if half_by_name[name] == half
        ]
        assert figures["rouge_l"] == pytest.approx(sum(of_half) / len(of_half))
    assert all("answer_probability" in row for row in measured.predictions)


def test_the_report_has_both_halves() -> None:
    run = Run({"rouge_l": 0.5}, halves={"chooses": {"rouge_l": 0.6}, "looked at": {"rouge_l": 0.4}})
    text = to_markdown({"benchmark": "personal", "methods": summarise({"ours": [run]})})
    assert "The half that chooses:" in text and "The half that is looked at:" in text and "| ours | 0.400 |" in text
    assert "The half" not in to_markdown({"benchmark": "x", "methods": summarise({"ours": [Run({"rouge_l": 0.5})]})})


def test_memories_say_how_sure_they_are_and_prompts_do_not(context: Context, data_folder: Path) -> None:
    procedures: list[Procedure] = load_tasks(data_folder).procedures
    ours = measure(METHODS["tokmem"], context, procedures, [], 0).run
    assert ours.metrics["exact_at_half"] is not None and set(ours.sureness) == {"apples", "pears", "plums"}
    base = measure(METHODS["base"], context, procedures, [], 0)
    assert base.run.metrics["exact_at_half"] is None and "answer_probability" not in base.predictions[0]
