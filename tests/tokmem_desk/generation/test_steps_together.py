"""Answers that take turns share the pass over the weights, and nothing else: each is what it is alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
import torch

from tests.tokmem_desk.generation.test_recall import memory
from tokmem_desk.generation import steps_together
from tokmem_desk.generation.recall import Answer, Bank, Piece, recall
from tokmem_desk.generation.steps_together import StepPool, exact_together
from tokmem_desk.routing.routers import EmptyRouter

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone

MESSAGES = ["Paid 12.50 for lunch", "What is the weather today?", "Hi", "Turn the note into a table row", "Thanks!"]
"""Of different lengths: padding one of them would show."""


def asked(backbone: Backbone, place: int, pool: StepPool | None) -> Iterator[Any]:
    """One person's answer under a memory of their own; the third chats."""
    name = f"own-{place}"
    bank = Bank({name: memory(backbone, name, seed=place + 1)}, EmptyRouter())
    return recall(
        backbone, bank, MESSAGES[place], route="none" if place == 2 else name, max_tokens=12 + place, pool=pool
    )


def in_turns(requests: dict[int, Iterator[Any]]) -> dict[int, Answer]:
    """Run them as the engine's server does."""
    answers: dict[int, Answer] = {}
    while requests:
        for place, steps in list(requests.items()):
            try:
                found = next(steps)
            except StopIteration:
                del requests[place]
                continue
            if isinstance(found, Answer):
                answers[place] = found
    return answers


def alone(backbone: Backbone, place: int) -> Answer:
    return in_turns({place: asked(backbone, place, None)})[place]


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps go together also where a processor's products are not the same to the bit."""
    monkeypatch.setattr(steps_together, "exact_together", lambda _: True)


@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma3"])
def test_each_answer_is_what_it_is_alone(tiny_backbone: Callable[..., Backbone], family: str) -> None:
    backbone = tiny_backbone(family)
    pool = StepPool(backbone)
    together = in_turns({place: asked(backbone, place, pool) for place in range(len(MESSAGES))})
    for place in range(len(MESSAGES)):
        own = alone(backbone, place)
        assert (together[place].response, together[place].stopped) == (own.response, own.stopped)
        assert together[place].segments == own.segments  # with how sure it is
    assert (pool.together > 0) == exact_together(backbone)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_rows_see_their_own_keys_alone(tiny_backbone: Callable[..., Backbone], family: str) -> None:
    backbone = tiny_backbone(family)
    pool = StepPool(backbone)
    query = backbone.format.query
    states = [backbone.prefill([query(text)]).states[0] for text in (MESSAGES[0], MESSAGES[1], MESSAGES[2])]
    token = query("x")[-1]

    def begun() -> list[Any]:
        return [backbone.layout.join([state], [None]) for state in states]

    with torch.no_grad():
        own = [steps_together.step_each(backbone, batch, [[token]]) for batch in begun()]
        asked_for = [pool.ask(batch, [[token]]) for batch in begun()]
        found = [pool.take(one) for one in asked_for]
    assert pool.together == 3
    for mine, theirs in zip(found, own, strict=True):
        assert torch.allclose(mine, theirs, atol=1e-4)


@pytest.mark.usefixtures("always")
def test_an_error_in_a_common_pass_touches_nobody(
    tiny_backbone: Callable[..., Backbone], monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = tiny_backbone("llama")
    step = backbone.lean_step
    assert step is not None
    real = step.run_together

    def fails(work: Any) -> Any:
        real(work)  # all batches are extended by then
        raise RuntimeError("not enough memory")

    monkeypatch.setattr(type(step), "run_together", lambda self, work: fails(work))
    pool = StepPool(backbone)
    together = in_turns({place: asked(backbone, place, pool) for place in range(3)})
    assert pool.together == 0
    assert [together[place].response for place in range(3)] == [alone(backbone, place).response for place in range(3)]


@pytest.mark.usefixtures("always")
def test_who_leaves_in_the_middle_leaves_nothing_behind(tiny_backbone: Callable[..., Backbone]) -> None:
    backbone = tiny_backbone("llama")
    pool = StepPool(backbone)
    leaving, staying = asked(backbone, 0, pool), asked(backbone, 1, pool)
    shown = 0
    while shown < 2:
        shown += isinstance(next(leaving), Piece)
        next(staying)
    assert pool._waiting
    leaving.close()  # type: ignore[attr-defined]
    assert in_turns({1: staying})[1].response == alone(backbone, 1).response
    assert not pool._waiting


def test_a_processor_whose_products_differ_answers_in_turns(
    tiny_backbone: Callable[..., Backbone], monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = tiny_backbone("llama")
    monkeypatch.setattr(steps_together, "exact_together", lambda _: False)
    pool = StepPool(backbone)
    together = in_turns({place: asked(backbone, place, pool) for place in range(3)})
    assert pool.together == 0
    assert together[1].response == alone(backbone, 1).response
