"""The text of plans: read, written back, and refused with the line and the reason."""

from __future__ import annotations

import pytest

from tokmem_desk.errors import BadInputError
from tokmem_desk.plans.steps import (
    MAX_BLOCKS,
    MAX_LINES,
    circle_in,
    procedures_of,
    read_steps,
    with_names,
    write_steps,
)

PLAN = """expense
if {expense.amount} > 50 and {expense.kind} in travel, hotel
  ask me: Book {expense.amount} euro?
  book: {expense}
else if {expense.day} < today
  again = book: late: {expense.day}
else
  tell me: {expense.amount} euro need no question.
report: {expense}"""


def test_what_is_read_is_written_the_same() -> None:
    block = read_steps(PLAN)
    assert write_steps(block) == PLAN
    assert procedures_of(block) == ["expense", "book", "report"]
    assert write_steps(read_steps("# a note\n\nbook: {message}\n")) == "book"


def test_a_renamed_procedure_keeps_its_answer_under_the_name_that_lines_refer_to() -> None:
    text = write_steps(with_names(read_steps(PLAN), {"expense": "cost", "book": "book"}))
    assert text.startswith("expense = cost\nif {expense.amount} > 50")
    assert write_steps(with_names(read_steps(text), {"cost": "expense"})) == PLAN


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "needs a step"),
        ("# only a note", "needs a step"),
        ("Book it now", "Line 1 of the plan is no step: 'Book it now'"),
        ("auto: x", "Line 1 of the plan is no step"),
        ("book\n   pay", "Line 2 of the plan begins with blanks"),
        ("book\n  pay", "Line 2 of the plan stands further in"),
        ("else\n  book", "Line 1 of the plan is an 'else' without its 'if'"),
        ("if {message.number} > 5\nbook", "Line 1 of the plan needs a step two blanks further in"),
        ("if {message.number} ~ 5\n  book", "Line 1 of the plan cannot be read"),
        ("if {message.number} > 5 and {message.date} < today or {message} = x\n  book", "'and' and 'or'"),
        ("book: {pay.amount}\npay", r"Line 1 of the plan refers to \{pay.amount\}"),
        ("if {pay} = x\n  book", r"Line 1 of the plan refers to \{pay\}"),
        ("book: {not a value}", "is no value"),
        ("book: {", "is no value"),
        ("ask me", "needs a text behind 'ask me:'"),
        ("x = tell me: hi", "no name in front"),
        ("book:", "no message behind its colon"),
        ("message = book", "cannot be called 'message'"),
        ("\n".join(["book"] * (MAX_LINES + 1)), "at most 60 lines"),
        ("x" * 9_000, "at most 8,000 characters"),
        ("  " * (MAX_BLOCKS + 1) + "book", "in more than 4 blocks"),
    ],
)
def test_what_is_no_plan_is_refused(text: str, reason: str) -> None:
    with pytest.raises(BadInputError, match=reason):
        read_steps(text)


def test_plans_that_call_one_another_in_a_circle_are_found() -> None:
    plans = {"a": read_steps("x\nb"), "b": read_steps("if {message.number} > 1\n  a"), "c": read_steps("a")}
    assert circle_in(plans, "a") == ["a", "b", "a"]
    assert circle_in(plans, "c") == ["c", "a", "b", "a"]
    assert circle_in({"a": read_steps("x\ny")}, "a") is None
