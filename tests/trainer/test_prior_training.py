"""Learning a prior: it ends with one, the same for the same seed, goes on when interrupted, and touches no weight."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from tests.conftest import load_tiny
from tokmem_desk.backbone.fingerprint import identify_weights
from tokmem_desk.errors import IncompatibleError, OutOfMemoryError
from tokmem_desk.procedures import Procedure
from trainer.auxiliary.composed import composed_procedure
from trainer.checkpoint import Checkpoint
from trainer.config import preset
from trainer.loop import Progress
from trainer.memory_start import Prior
from trainer.objective import ResponseLoss, TrainableMemories, response_loss
from trainer.prior import training as prior_training
from trainer.prior.training import PriorConfig, PriorTraining
from trainer.samples import demonstrations

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone

SHORT = PriorConfig(steps=6, pool=4, at_once=2, visits=2, warmup=2)


def learned(run: PriorTraining) -> bytes:
    list(run)
    assert run.result is not None
    return run.result


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_it_ends_with_a_prior_and_leaves_the_backbone_alone(
    tiny_backbone: Callable[..., Backbone], family: str
) -> None:
    backbone = tiny_backbone(family)
    before = identify_weights(backbone.model)
    run = PriorTraining(backbone, SHORT)
    seen = list(run)
    assert [(p.phase, p.step) for p in seen] == [
        *(("open", number) for number in range(2, SHORT.pool + 1)),
        *(("prior", number) for number in range(1, SHORT.steps + 1)),
    ]
    assert seen[-1].loss == run.loss and seen[-1].seconds_left == 0 and run.steps == SHORT.steps
    assert run.result is not None
    prior = Prior.from_bytes(run.result, backbone)
    # Behind a memory of 16 the tiny window shows nothing of the query: full attention, which comes last, has an edit.
    for moved in (
        prior.row,
        *prior.keys,
        *prior.values,
        prior.kv_adapter.keys_out[-1],
        prior.kv_adapter.values_out[-1],
    ):
        assert moved.any(), "every part has learned something"
    assert identify_weights(backbone.model) == before
    assert not any(p.requires_grad or p.grad is not None for p in backbone.model.parameters())


def test_it_learns_what_procedures_share(tiny_backbone: Callable[..., Backbone]) -> None:
    """A memory of a procedure that no run has seen answers better before any training."""
    backbone = tiny_backbone("llama")
    fast = PriorConfig(steps=60, pool=6, at_once=3, visits=4, warmup=5, learning_rate=0.1)
    prior = Prior.from_bytes(learned(PriorTraining(backbone, fast)), backbone)
    config = preset("normal")

    def loss(procedure: Procedure, given: Prior | None) -> float:
        texts = [demonstrations(backbone, procedure, at_least=4 * config.span)]
        [block] = TrainableMemories(backbone, config, texts, given).steering()
        states = backbone.prefill([backbone.format.query(pair.input) for pair in procedure.pairs]).states
        responses = [backbone.format.response(pair.response) for pair in procedure.pairs]
        answer = response_loss(backbone, states, [block.detached()] * len(states), responses)
        return float(answer.total.detach()) / answer.tokens

    unseen = [composed_procedure(1000 + number) for number in range(4)]
    assert all(loss(one, prior) < 0.9 * loss(one, None) for one in unseen)


def test_a_step_that_overflows_is_left_out(
    tiny_backbone: Callable[..., Backbone], monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = tiny_backbone("llama")
    run = PriorTraining(backbone, SHORT)
    overflows = {0, 3}

    def loss(*arguments: Any) -> ResponseLoss:
        answer = response_loss(*arguments)
        factor = math.inf if run.checkpoint().numbers["step"] in overflows else 1.0
        return dataclasses.replace(answer, total=answer.total * factor)

    monkeypatch.setattr(prior_training, "response_loss", loss)
    losses = [progress.loss for progress in run if progress.phase == "prior"]
    assert losses[0] is None and losses[3] == losses[2] and losses[-1] is not None and math.isfinite(losses[-1])
    assert run.result is not None and Prior.from_bytes(run.result, backbone).row.isfinite().all()
    overflows |= set(range(6))
    with pytest.raises(IncompatibleError, match="numbers overflow in every step"):
        run = PriorTraining(backbone, SHORT)
        list(run)
    assert run.result is None


def test_the_same_seed_gives_the_same_bytes(tiny_backbone: Callable[..., Backbone]) -> None:
    backbone = tiny_backbone("gemma3")
    data = learned(PriorTraining(backbone, SHORT))
    assert data == learned(PriorTraining(backbone, SHORT))
    assert data != learned(PriorTraining(backbone, dataclasses.replace(SHORT, seed=1)))


@pytest.mark.parametrize("at", [("open", 3), ("prior", 2), ("prior", 6)])
def test_a_stopped_run_leaves_no_result(tiny_backbone: Callable[..., Backbone], at: tuple[str, int]) -> None:
    run = PriorTraining(tiny_backbone("llama"), SHORT)
    seen: list[Progress] = []
    for progress in run:
        seen.append(progress)
        if (progress.phase, progress.step) == at:
            run.stop()
    assert run.result is None and (seen[-1].phase, seen[-1].step) == at


def test_an_interrupted_run_goes_on_with_its_common_part(tiny_backbone: Callable[..., Backbone]) -> None:
    backbone = tiny_backbone("llama")
    kept: list[bytes] = []
    whole = learned(PriorTraining(backbone, SHORT, save=kept.append, save_every=3))
    assert len(kept) == 2
    state = Checkpoint.from_bytes(kept[0])
    assert state.numbers["step"] == 3 and (state.numbers["opened"] or 0) > SHORT.pool
    again = PriorTraining(backbone, SHORT, resume=state)
    taken_up = again.checkpoint().tensors
    assert taken_up.keys() == state.tensors.keys()
    assert all(torch.equal(tensor, state.tensors[name]) for name, tensor in taken_up.items())
    assert [p.step for p in again if p.phase == "prior"] == [4, 5, 6] and again.result is not None
    assert Prior.from_bytes(again.result, backbone).digest != Prior.from_bytes(whole, backbone).digest, "another pool"
    ended = PriorTraining(backbone, SHORT, resume=Checkpoint.from_bytes(kept[1]))
    assert learned(ended) == whole, "killed between the last step and the file: nothing is learned anew"
    with pytest.raises(IncompatibleError, match="other settings"):
        PriorTraining(backbone, dataclasses.replace(SHORT, steps=7), resume=state)
    with pytest.raises(IncompatibleError, match="other settings"):
        PriorTraining(tiny_backbone("qwen3"), SHORT, resume=state)


def test_a_backbone_whose_keys_cannot_be_moved_is_refused(tiny_folder: Callable[..., Path]) -> None:
    backbone = load_tiny(tiny_folder("mamba"), "tiny-mamba")
    with pytest.raises(IncompatibleError, match="rows alone"):
        PriorTraining(backbone, SHORT)


def test_short_memory_is_said(tiny_backbone: Callable[..., Backbone], monkeypatch: pytest.MonkeyPatch) -> None:
    def short(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(prior_training, "response_loss", short)
    with pytest.raises(OutOfMemoryError, match="where memories start"):
        list(PriorTraining(tiny_backbone("llama"), SHORT))
