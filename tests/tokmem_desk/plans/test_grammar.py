"""The grammar of generated plans: what it lets through is a plan, and only of procedures that exist."""

from __future__ import annotations

import pytest

from tests.tiny_models import tiny_tokenizer
from tokmem_desk.errors import BadInputError
from tokmem_desk.plans.grammar import steps_grammar
from tokmem_desk.plans.steps import read_steps

NAMES = ("expense", "book", "ask-boss")
RIGHT = (
    "book",
    "book: {message}\nnone: say it was done",
    "first = expense: it cost {message.number}\nif {first.amount} > 50\n  ask me: Book it?\n  book: {first}",
    "if {message.number} in 1, 2 and {message.date} is there\n  book\nelse if {message.date} < today\n"
    "  if {message.number} = 3\n    expense\n  book\nelse\n  tell me: No.\nask-boss",
)
WRONG = (
    "reserve",
    "books: x",
    "book:x",
    "book: {a b}",
    "if {message.number} > 50 book",
    "if {message.number} > 50\nbook",
    "else\n  book",
    "  book",
    "book\n",
)


def accepts(text: str) -> bool:
    from llguidance import LLMatcher
    from llguidance.hf import from_tokenizer

    tokenizer = tiny_tokenizer()
    matcher = LLMatcher(
        from_tokenizer(tokenizer, n_vocab=len(tokenizer), eos_token=tokenizer.eos_token_id), steps_grammar(NAMES)
    )
    assert not matcher.is_error(), matcher.get_error()
    for token in tokenizer.encode(text, add_special_tokens=False):
        if not matcher.consume_token(token):
            return False
    return bool(matcher.is_accepting())


@pytest.mark.parametrize("text", RIGHT)
def test_it_lets_plans_through(text: str) -> None:
    assert accepts(text)
    assert read_steps(text)


@pytest.mark.parametrize("text", WRONG)
def test_it_lets_nothing_else_through(text: str) -> None:
    assert not accepts(text)


def test_a_plan_that_the_grammar_cannot_hold_to_its_labels_is_refused_when_it_is_read() -> None:
    assert accepts("book: {expense.amount}")
    with pytest.raises(BadInputError, match="no step before it is called 'expense'"):
        read_steps("book: {expense.amount}")
