"""An answer template stays only where it does not break more right answers than it mends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from tests import tiny_loaded
from tokmem_desk.memory.memory import Memory
from tokmem_desk.procedures import ExamplePair, Procedure
from tokmem_desk.templates.template import TEMPLATE_SETTING, AnswerTemplate, Part
from trainer.evaluate import Answered
from trainer.metrics import score_answers
from tui.engine import template_check
from tui.engine.template_check import CheckedMemory, TemplateEffect, check_template

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone

PAIRS = tuple(ExamplePair(f"call {day}", f"due:{day}", (f"due: {day}",)) for day in ("tue", "wed", "thu"))
PROCEDURE = Procedure("todo", PAIRS)
RIGHT = [pair.response for pair in PAIRS]
TEMPLATE = AnswerTemplate((Part("text", ("due:",)), Part("taken", ("none",), ("small",), tokens=8)))


@pytest.fixture
def memory(tiny_backbone: Callable[..., Backbone]) -> Memory:
    from dataclasses import replace

    made = tiny_loaded.load(tiny_backbone("llama")).memory("todo", 1)
    return replace(made, settings={**made.settings, TEMPLATE_SETTING: TEMPLATE.as_dict(), "span": 4})


def answering(
    monkeypatch: pytest.MonkeyPatch, held: Sequence[str], free: Sequence[str]
) -> list[tuple[Memory | None, Any]]:
    """Let memories answer as written: ``held`` with a template, ``free`` without. Returns who was asked, and how."""
    asked: list[tuple[Memory | None, Any]] = []

    def answer(
        _: Any, pairs: Sequence[ExamplePair], memory: Memory, pattern: str | None, schema: Any = None
    ) -> Iterator[float | Answered]:
        asked.append((memory, schema))
        answers = list(held if memory.answer_template is not None else free)
        yield 1.0
        yield Answered(answers, score_answers(answers, pairs, pattern), [None] * len(answers))

    monkeypatch.setattr(template_check, "answer_pairs", answer)
    monkeypatch.setattr(template_check, "answer_pairs_in_batches", answer)
    return asked


def check(memory: Memory, procedure: Procedure = PROCEDURE, *, keep_form: bool = True) -> CheckedMemory:
    backbone: Any = None
    *shares, last = check_template(backbone, memory, procedure, PAIRS, keep_form=keep_form)
    assert isinstance(last, CheckedMemory)
    assert shares == sorted(shares, key=float) and shares[-1] == 1.0  # type: ignore[arg-type]
    return last


@pytest.mark.parametrize(
    ("held", "free", "broken", "mended"),
    [
        (RIGHT, RIGHT, 0, 0),
        (["due:tomorrow", *RIGHT[1:]], RIGHT, 1, 0),
        (RIGHT, ["", "x", "due:thu"], 0, 2),
        (["due:x", "due:wed", "due:x"], ["due:tue", "x", "due:thu"], 2, 1),
        (["due:x", "due:wed", "due:x"], ["due:tue", "x", "y"], 1, 1),
        (["due: tue", "due:x", "due:x"], ["due:tue", "y", "z"], 0, 0),
    ],
)
@pytest.mark.parametrize("keep_form", [True, False])
def test_a_template_goes_where_it_breaks_more_than_it_mends(
    monkeypatch: pytest.MonkeyPatch,
    memory: Memory,
    held: list[str],
    free: list[str],
    broken: int,
    mended: int,
    keep_form: bool,
) -> None:
    answering(monkeypatch, held, free)
    assert TemplateEffect.of(PAIRS, held, free) == TemplateEffect(broken, mended)
    checked = check(memory, keep_form=keep_form)
    if broken > mended:
        assert checked.memory.answer_template is None and TEMPLATE_SETTING not in checked.memory.settings
        assert checked.memory.settings["span"] == 4 and checked.memory.steering is memory.steering
        assert checked.answered.answers == free, "what is measured is what will answer"
        assert checked.dropped == TemplateEffect(broken, mended)
        assert f"broke {broken} and mended {mended}" in checked.dropped.advice
    else:
        assert checked.memory is memory and checked.dropped is None
        assert checked.answered.answers == (held if keep_form else free), "as the setting lets it answer"


def test_without_a_template_pairs_are_answered_once(monkeypatch: pytest.MonkeyPatch, memory: Memory) -> None:
    asked = answering(monkeypatch, [], RIGHT)
    free = memory.without_answer_template()
    checked = check(free)
    assert checked.memory is free and checked.answered.answers == RIGHT and checked.dropped is None
    assert asked == [(free, None)]


def test_a_schema_holds_the_answers_instead(monkeypatch: pytest.MonkeyPatch, memory: Memory) -> None:
    asked = answering(monkeypatch, ["{}"] * 3, RIGHT)
    checked = check(memory, Procedure("todo", PAIRS, output_schema='{"type": "object", "properties": {}}'))
    assert checked.memory is memory and checked.answered.answers == ["{}"] * 3
    [(_, schema)] = asked
    assert schema is not None
