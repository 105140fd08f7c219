"""Chains: the answer of one procedure is the message of the next."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.tokmem_desk.generation.test_recall import token_bank
from tokmem_desk.generation.recall import Answer, Bank, Piece, Routed, recall
from tokmem_desk.memory.memory import Memory
from tokmem_desk.procedures import MAX_CHAIN
from tokmem_desk.templates.template import TEMPLATE_SETTING, AnswerTemplate, Part

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone

MESSAGE = "Paid 12.50 for lunch on 3 May with the blue card and then some more words"


def saying(memory: Memory, text: str) -> Memory:
    """The same memory, whose answers can be this text alone."""
    form = AnswerTemplate((Part("text", (text,)),))
    return dataclasses.replace(memory, settings={**memory.settings, TEMPLATE_SETTING: form.as_dict()})


@pytest.fixture
def backbone(tiny_backbone: Callable[..., Backbone]) -> Backbone:
    return tiny_backbone("llama")


def chained(backbone: Backbone, **following: str) -> Bank:
    """A bank of three procedures; messages go to "one"."""
    bank = token_bank(backbone, ["one", "two", "three"], "one", MESSAGE)
    memories = {name: saying(memory, f"{name} is done") for name, memory in bank.memories.items()}
    return dataclasses.replace(bank, memories=memories, following=following)


def run(
    backbone: Backbone, bank: Bank, cancelled: Callable[[], bool] = lambda: False
) -> tuple[list[Routed], str, Answer]:
    events = list(recall(backbone, bank, MESSAGE, cancelled=cancelled))
    answer = events[-1]
    assert isinstance(answer, Answer)
    streamed = "".join(event.text for event in events if isinstance(event, Piece))
    return [event for event in events if isinstance(event, Routed)], streamed, answer


def test_each_step_goes_on_with_the_answer_before_it(backbone: Backbone) -> None:
    routes, streamed, answer = run(backbone, chained(backbone, one="two", two="three"))
    assert [(one.route, one.segment, one.follows, one.forced) for one in routes] == [
        ("one", 0, "", False),
        ("two", 1, "one", True),
        ("three", 2, "two", True),
    ]
    assert [(segment.part, segment.response, segment.follows) for segment in answer.segments] == [
        (MESSAGE, "one is done", ""),
        ("one is done", "two is done", "one"),
        ("two is done", "three is done", "two"),
    ]
    assert streamed == answer.response == "one is done\ntwo is done\nthree is done"
    assert answer.routed.route == "one", "the route on top is that of the message"
    assert all(0.0 <= one.probability <= 1.0 and one.candidates for one in routes)


def test_a_procedure_without_a_next_one_answers_as_before(backbone: Backbone) -> None:
    _, _, answer = run(backbone, chained(backbone, two="three"))
    assert [segment.as_dict().get("follows") for segment in answer.segments] == [None]


@pytest.mark.parametrize(("following", "words"), [("", "removed"), ("gone", "'gone' is not trained")])
def test_a_step_that_cannot_be_done_is_said_and_what_was_done_stands(
    backbone: Backbone, following: str, words: str
) -> None:
    routes, _, answer = run(backbone, chained(backbone, one=following))
    assert [one.route for one in routes] == ["one"]
    [done] = answer.segments
    assert done.response == "one is done" and words in done.problem


def test_stopping_between_two_steps_leaves_what_was_done(backbone: Backbone) -> None:
    bank = chained(backbone, one="two", two="three")
    seen: list[Routed] = []
    events = []
    for event in recall(backbone, bank, MESSAGE, cancelled=lambda: len(seen) == 2):
        if isinstance(event, Routed):
            seen.append(event)
        events.append(event)
    answer = events[-1]
    assert isinstance(answer, Answer) and answer.stopped == "cancelled"
    assert [segment.route for segment in answer.segments] == ["one", "two"]
    assert answer.segments[0].response == "one is done"


def test_a_circle_that_came_from_elsewhere_ends(backbone: Backbone) -> None:
    _, _, answer = run(backbone, chained(backbone, one="two", two="one"))
    assert len(answer.segments) == MAX_CHAIN
    assert f"at most {MAX_CHAIN} steps" in answer.segments[-1].problem
