"""Adaptation: it learns the layout, resumes to the same numbers, and leaves the plain backbone as it was."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load

from tests.tiny_models import save_tiny_model
from tests.tokmem_desk.reference import random_ids
from tokmem_desk.backbone.backbone import Backbone, load_backbone
from tokmem_desk.errors import BadInputError, IncompatibleError
from tokmem_desk.models.catalogue import ADAPTED
from tokmem_desk.paper.adapter import adapted
from tokmem_desk.system.device import choose_device
from trainer.checkpoint import Checkpoint
from trainer.paper import adaptation
from trainer.paper.adaptation import Adaptation, AdaptationConfig
from trainer.paper.auxiliary_chains import NAMES, auxiliary_examples

pytest.importorskip("peft")

SHORT = AdaptationConfig(examples=12, epochs=2, batch_size=3)


@pytest.fixture
def own_backbone(tmp_path: Path) -> Callable[[str], Backbone]:
    """A backbone of the test's own: adaptation changes its modules."""

    def make(family: str) -> Backbone:
        return load_backbone(save_tiny_model(tmp_path / family, family), choose_device("cpu"), f"tiny-{family}")

    return make


def finished(backbone: Backbone) -> tuple[Adaptation, bytes]:
    run = Adaptation(backbone, SHORT)
    steps = list(run)
    assert [p.step for p in steps] == list(range(1, run.steps + 1)) and run.result is not None
    return run, run.result


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_one_load_serves_both(own_backbone: Callable[[str], Backbone], family: str) -> None:
    backbone = own_backbone(family)
    query = random_ids(backbone, 12, 3)
    before = backbone.prefill([query]).last_hidden
    run, data = finished(backbone)
    run.close()
    view = adapted(backbone, data)
    both = [(backbone.prefill([query]).last_hidden, view.prefill([query]).last_hidden) for _ in range(2)]
    for plain, other in both:
        torch.testing.assert_close(plain, before)
        assert not torch.allclose(plain, other)
    assert torch.equal(both[0][1], both[1][1]), "the adapter does not depend on who ran before"
    assert view.fingerprint.digest != backbone.fingerprint.digest
    assert view.model_id == backbone.model_id + ADAPTED and view.eop is not None and backbone.eop is None
    hidden = torch.randn(3, backbone.hidden_size)
    torch.testing.assert_close(view.logits(hidden), backbone.logits(hidden))


def test_it_learns_and_resumes_to_the_same_numbers(own_backbone: Callable[[str], Backbone]) -> None:
    backbone = own_backbone("llama")
    kept: list[bytes] = []
    whole = Adaptation(backbone, SHORT, save=kept.append, save_every=3)
    losses = [p.loss for p in whole]
    assert losses[0] is not None and losses[-1] is not None and losses[-1] < losses[0] and whole.result is not None
    whole.close()
    again = Adaptation(backbone, SHORT, resume=Checkpoint.from_bytes(kept[0]))
    assert [p.step for p in again][:1] == [4] and again.result is not None
    again.close()
    one, other = load(whole.result), load(again.result)
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    with pytest.raises(IncompatibleError, match="other settings"):
        Adaptation(backbone, AdaptationConfig(examples=13), resume=Checkpoint.from_bytes(kept[0]))


def test_a_step_that_overflows_is_left_out(
    own_backbone: Callable[[str], Backbone], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, overflows = adaptation.plain_chain_loss, {2}
    asked = itertools.count()

    def loss(*arguments: Any) -> tuple[torch.Tensor, int]:
        total, count = plain(*arguments)
        return total * (math.inf if next(asked) in overflows else 1.0), count

    monkeypatch.setattr(adaptation, "plain_chain_loss", loss)
    backbone = own_backbone("llama")
    run, data = finished(backbone)
    run.close()
    assert math.isfinite(run.loss) and all(bool(tensor.isfinite().all()) for tensor in load(data).values())
    overflows |= set(range(100))
    run = Adaptation(backbone, SHORT)
    with pytest.raises(IncompatibleError, match="numbers overflow in every step"):
        list(run)
    assert run.result is None
    run.close()


def test_a_stopped_run_leaves_nothing(own_backbone: Callable[[str], Backbone]) -> None:
    backbone = own_backbone("llama")
    names = [name for name, _ in backbone.model.named_parameters()]
    run = Adaptation(backbone, SHORT)
    for progress in run:
        if progress.step == 2:
            run.stop()
    assert run.result is None and progress.step == 2
    run.close()
    assert [name for name, _ in backbone.model.named_parameters()] == names


def test_adapters_of_others_are_refused(own_backbone: Callable[[str], Backbone]) -> None:
    backbone = own_backbone("llama")
    run, data = finished(backbone)
    run.close()
    with pytest.raises(IncompatibleError, match="another model"):
        adapted(own_backbone("qwen3"), data)
    with pytest.raises(BadInputError, match="damaged"):
        adapted(backbone, data[:-40])


def test_auxiliary_requests_are_the_same_everywhere() -> None:
    examples = auxiliary_examples(200, seed=1)
    assert examples == auxiliary_examples(200, seed=1) != auxiliary_examples(200, seed=2)
    assert {len(e.segments) for e in examples} == {1, 2, 3, 4}
    assert {owner for e in examples for owner, _ in e.segments} == set(range(len(NAMES)))
    for example in examples:
        for _, answer in example.segments:
            assert all(part.split(": ")[1] in example.query for part in answer.split("; "))
