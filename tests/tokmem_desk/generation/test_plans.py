"""Plans in recall: written steps are the answer as they are, taught ones are generated within the grammar."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.tokmem_desk.generation.test_recall import token_bank
from tokmem_desk.generation.recall import Answer, Piece, recall
from tokmem_desk.plans.grammar import steps_grammar
from tokmem_desk.plans.steps import procedures_of, read_steps
from tokmem_desk.procedures import NONE_ROUTE

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone

MESSAGE = "Do the Monday round with everything that came in since Friday"


@pytest.fixture
def backbone(tiny_backbone: Callable[..., Backbone]) -> Backbone:
    return tiny_backbone("llama")


def answered(backbone: Backbone, steps: str, limit: int = 60) -> tuple[str, Answer]:
    bank = token_bank(backbone, ["one", "two", "round"], "round", MESSAGE)
    bank = dataclasses.replace(bank, plans={"round": steps}, steps_grammar=steps_grammar(["one", "two", "round"]))
    events = list(recall(backbone, bank, MESSAGE, max_tokens=limit))
    assert isinstance(events[-1], Answer)
    return "".join(event.text for event in events if isinstance(event, Piece)), events[-1]


def test_written_steps_are_said_without_a_model(backbone: Backbone) -> None:
    streamed, answer = answered(backbone, "one\ntwo: {one}")
    assert streamed == answer.response == "one\ntwo: {one}"
    assert answer.timing.tokens == 0 and answer.stopped == "end"


def test_taught_steps_are_held_to_the_procedures_that_exist(backbone: Backbone) -> None:
    _, answer = answered(backbone, "", limit=400)
    # The tiny model knows nothing: only the grammar makes this a plan, as far as it was written.
    whole = answer.response if answer.stopped == "end" else answer.response.partition("\n")[0]
    name = whole.partition(" = ")[2] or whole
    first = name.partition(":")[0].splitlines()[0]
    assert first in ("one", "two", "round", NONE_ROUTE, "ask me", "tell me") or first.startswith("if {")
    if answer.stopped == "end":
        assert set(procedures_of(read_steps(answer.response))) <= {"one", "two", "round", NONE_ROUTE}
