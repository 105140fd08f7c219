"""What a plan does next, as a function of what is there."""

from __future__ import annotations

import pytest

from tokmem_desk.plans.walk import (
    MAX_STEPS,
    Call,
    Checked,
    Done,
    Finished,
    PlanTask,
    Question,
    StepAnswer,
    Told,
    walk,
)

TODAY = "2026-11-30"
PLAN = """expense
if {expense.amount} > 50
  ask me: Book {expense.amount}?
  book: {expense.kind}
else
  tell me: Small."""


def task(steps: str = PLAN, **plans: str) -> PlanTask:
    return PlanTask("round", "it cost 62", {"round": steps, **plans}, TODAY)


def amount(value: object, **more: object) -> StepAnswer:
    return StepAnswer("…", {"amount": value, "kind": "hotel", **more})


def test_each_answer_leads_to_the_next_step() -> None:
    assert walk(task(), {}) == [Call("1", "expense", "it cost 62")]
    answers = {"1": amount(62)}
    assert walk(task(), answers) == [
        Done("1", "expense", "it cost 62"), Checked("2", "62 > 50", True), Question("2", "Book 62?"),
    ]  # fmt: skip
    answers["2"] = StepAnswer(said=True)
    assert walk(task(), answers)[-1] == Call("3", "book", "hotel")
    answers["3"] = StepAnswer("booked")
    assert walk(task(), answers)[-1] == Finished("done")


def test_the_other_branch() -> None:
    told = [Checked("2", "12 > 50", False), Told("2", "Small."), Finished("done")]
    assert walk(task(), {"1": amount(12)})[1:] == told


def test_a_no_ends_it() -> None:
    answers = {"1": amount(62), "2": StepAnswer(said=False)}
    assert walk(task(), answers)[-1] == Finished("stopped", "you said no to: Book 62?", "2")


def test_a_condition_over_a_missing_value_ends_it_where_it_stands() -> None:
    assert walk(task(), {"1": amount(None)})[-1] == Finished("failed", "{expense.amount} is not there.", "2")
    assert walk(task("book: {message.date}"), {})[-1] == Finished("failed", "{message.date} is not there.", "1")


def test_a_step_that_failed_ends_it() -> None:
    assert walk(task(), {"1": StepAnswer(fault="it broke.")})[-1] == Finished("failed", "it broke.", "1")


def test_a_plan_calls_another_and_goes_on_with_its_last_answer() -> None:
    inner = task("inner: about {message}\nbook: {inner.amount}", inner="expense: of {message}\nexpense: again")
    assert walk(inner, {}) == [Call("1.1", "expense", "of about it cost 62")]
    answers = {"1.1": amount(1), "1.2": amount(2)}
    assert walk(inner, answers)[-1] == Call("2", "book", "2")


def test_a_plan_that_was_taught_says_its_steps_first() -> None:
    taught = task("inner\nbook", inner="")
    assert walk(taught, {}) == [Call("1", "inner", "it cost 62", says_steps=True)]
    answers = {"1": StepAnswer("expense: a")}
    assert walk(taught, answers)[-1] == Call("1.1", "expense", "a")
    answers["1.1"] = StepAnswer("b")
    assert walk(taught, answers)[-1] == Call("2", "book", "it cost 62")
    assert "the answer of inner is no plan" in walk(taught, {"1": StepAnswer("No, I won't.")})[-1].words


def test_it_ends_however_plans_call_one_another() -> None:
    end = walk(task("round"), {})[-1]
    assert isinstance(end, Finished) and "more than 5 deep" in end.words
    many = {"many": "\n".join(["tell me: x"] * (MAX_STEPS // 2))}
    end = walk(task("many\nmany\nmany", **many), {})[-1]
    assert isinstance(end, Finished) and f"at most {MAX_STEPS} steps" in end.words


def test_what_a_command_printed_can_be_looked_at() -> None:
    steps = "book\nif {book.output} = done\n  tell me: ok"
    assert walk(task(steps), {"1": StepAnswer("x", output="done\n")})[-2] == Told("2", "ok")
    assert walk(task(steps), {"1": StepAnswer("x")})[-1] == Finished("failed", "{book.output} is not there.", "2")


@pytest.mark.parametrize("count", range(4))
def test_going_on_is_walking_again(count: int) -> None:
    answers = {"1": amount(62), "2": StepAnswer(said=True), "3": StepAnswer("booked")}
    partly = dict(list(answers.items())[:count])
    assert walk(task(), partly)[:-1] == walk(task(), answers)[: len(walk(task(), partly)) - 1]
