"""Verdicts: a rejected answer becomes less probable, an accepted one more."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import pytest
import torch

from tests.trainer.test_loop import FAST, drive, procedure
from tokmem_desk.errors import IncompatibleError
from tokmem_desk.memory.memory import Memory
from tokmem_desk.procedures import AnswerVerdict
from trainer.checkpoint import Checkpoint
from trainer.loop import Training
from trainer.objective import log_probabilities, response_loss
from trainer.verdicts import WEIGHT, Refinement, VerdictLoss, refinement_config

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone

SAID = (
    AnswerVerdict("milk 20", "MILK!", "milk?"),
    AnswerVerdict("bread 21", "BREAD!", "bread?"),
    AnswerVerdict("tea 22", "TEA!"),
    AnswerVerdict("lunch 23", "LUNCH!"),
    AnswerVerdict("note 24", "NOTE!"),
)


@pytest.fixture
def backbone(tiny_backbone: Callable[..., Backbone]) -> Backbone:
    return tiny_backbone("llama")


@pytest.fixture
def memory(backbone: Backbone) -> Memory:
    training = Training(backbone, [procedure()], dataclasses.replace(FAST, epochs=20))
    drive(training)
    assert training.result is not None
    return training.result.memories[0]


def likely(backbone: Backbone, memory: Memory, said: Sequence[tuple[str, str]]) -> list[float]:
    """Log-probabilities of answers to messages."""
    states = backbone.prefill([backbone.format.query(message) for message, _ in said]).states
    answers = [backbone.format.response(answer) for _, answer in said]
    with torch.no_grad():
        found = log_probabilities(backbone, states, [memory.steering] * len(said), answers)
    return [float(one.sum()) for one in found]


def refine(backbone: Backbone, memory: Memory, **changes: object) -> Training:
    config = dataclasses.replace(refinement_config(memory), batch_size=2, **changes)  # type: ignore[arg-type]
    return Training(backbone, [procedure()], config, refinement=Refinement(memory, SAID, weight=4.0, sharpness=0.5))


def test_log_probabilities_are_those_of_the_loss(backbone: Backbone, memory: Memory) -> None:
    said = [("milk 20", "MILK!"), ("a longer message than that 21", "something else entirely")]
    states = backbone.prefill([backbone.format.query(message) for message, _ in said]).states
    answers = [backbone.format.response(answer) for _, answer in said]
    total = response_loss(backbone, states, [memory.steering] * 2, answers).total
    alone = [likely(backbone, memory, [one])[0] for one in said]
    assert likely(backbone, memory, said) == pytest.approx(alone, abs=0.05)
    assert -sum(alone) == pytest.approx(float(total), abs=0.05)


def test_verdicts_move_answers_their_way(backbone: Backbone, memory: Memory) -> None:
    training = refine(backbone, memory)
    drive(training)
    assert training.result is not None
    improved = training.result.memories[0]
    rejected = [(one.input, str(one.rejected)) for one in SAID]
    before, after = (likely(backbone, one, rejected) for one in (memory, improved))
    assert all(now < then for now, then in zip(after, before, strict=True)), "each rejected answer is less probable"
    for one in SAID[:2]:
        sides = [(one.input, str(one.accepted)), (one.input, str(one.rejected))]
        then, now = likely(backbone, memory, sides), likely(backbone, improved, sides)
        assert now[0] - now[1] > then[0] - then[1]
    assert [a.shape for a in improved.steering.keys] == [b.shape for b in memory.steering.keys]


def test_without_steps_the_memory_is_the_one_before(backbone: Backbone, memory: Memory) -> None:
    snapshot = refine(backbone, memory).snapshot()[0]
    for mine, theirs in zip(snapshot.steering.keys, memory.steering.keys, strict=True):
        assert torch.equal(mine, theirs)
    assert torch.equal(snapshot.steering.rows, memory.steering.rows)
    assert torch.equal(snapshot.address, memory.address)


def test_the_loss_is_even_odds_at_the_beginning_and_reaches_every_verdict(backbone: Backbone, memory: Memory) -> None:
    loss = VerdictLoss(backbone, Refinement(memory, SAID), budget_mb=64, seed=0)
    assert list(loss.fill())[-1] == 1.0
    at_first = loss.at(0, memory.steering)
    assert at_first is not None and float(at_first) == pytest.approx(WEIGHT * 0.6931, abs=0.002)
    assert sorted(loss._rows_at(0) + loss._rows_at(1)) == list(range(len(SAID)))
    only_accepted = Refinement(memory, (AnswerVerdict("milk 20", accepted="milk?"),))
    nothing = VerdictLoss(backbone, only_accepted, budget_mb=64, seed=0)
    assert list(nothing.fill()) == [] and nothing.at(0, memory.steering) is None


def test_of_an_answer_that_was_only_rejected_what_was_sure_counts_little(backbone: Backbone, memory: Memory) -> None:
    loss = VerdictLoss(backbone, Refinement(memory, (AnswerVerdict("milk 0", "MILK!"), SAID[0])), budget_mb=64, seed=0)
    list(loss.fill())
    states = backbone.prefill([backbone.format.query("milk 0")]).states
    with torch.no_grad():
        [tokens] = log_probabilities(backbone, states, [memory.steering], [backbone.format.response("MILK!")])
    assert torch.allclose(loss._blame[0], 1 - tokens.exp(), atol=0.02)
    assert bool((loss._blame[1] == 1).all()), "beside a right answer every token counts: what both share cancels out"


def test_a_checkpoint_belongs_to_its_verdicts(backbone: Backbone, memory: Memory) -> None:
    saved: list[bytes] = []
    config = dataclasses.replace(refinement_config(memory), batch_size=2)
    whole = Refinement(memory, SAID)
    drive(Training(backbone, [procedure()], config, refinement=whole, save=saved.append, save_every=5), until=5)
    state = Checkpoint.from_bytes(saved[0])
    resumed = Training(backbone, [procedure()], config, refinement=whole, resume=state)
    assert next(p.step for p in drive(resumed) if p.phase == "train") == 6
    with pytest.raises(IncompatibleError):
        Training(backbone, [procedure()], config, refinement=Refinement(memory, SAID[:2]), resume=state)


def test_a_memory_of_another_form_is_refused(backbone: Backbone, memory: Memory) -> None:
    longer = dataclasses.replace(refinement_config(memory), span=6)
    with pytest.raises(IncompatibleError, match="of another form"):
        Training(backbone, [procedure()], longer, refinement=Refinement(memory, SAID))


def test_verdicts_are_known_again() -> None:
    assert len({one.digest for one in SAID}) == len(SAID)
    assert AnswerVerdict("a", "b").digest != AnswerVerdict("a", None, "b").digest
    assert SAID[0].digest == AnswerVerdict("milk 20", "MILK!", "milk?").digest
