"""The loop learns, resumes as if unbroken, keeps a usable best when stopped, and touches nothing else."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NoReturn

import pytest
import torch

from tokmem_desk.errors import BadInputError, IncompatibleError, OutOfMemoryError, UsageError
from tokmem_desk.generation.recall import answer_batch
from tokmem_desk.procedures import ExamplePair, Procedure
from trainer.checkpoint import Checkpoint
from trainer.config import PAPER, TrainConfig, preset
from trainer.loop import Progress, Training
from trainer.samples import SPLIT_FROM

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone

FAST = TrainConfig(span=4, epochs=4, batch_size=2, learning_rate=0.05, weight_decay=0.0, floor_loss=0.0)


def procedure(name: str = "shout", count: int = 6) -> Procedure:
    words = ["milk", "bread", "tea", "lunch", "note", "table", "fox", "dog", "card", "blue"]
    pairs = tuple(ExamplePair(f"{words[i % 10]} {i}", f"{words[i % 10].upper()}!") for i in range(count))
    return Procedure(name, pairs)


def drive(training: Training, until: int | None = None) -> list[Progress]:
    seen = []
    for progress in training:
        seen.append(progress)
        if until is not None and progress.phase == "train" and progress.step >= until:
            training.stop()
    return seen


def parameters(training: Training) -> list[torch.Tensor]:
    assert training.result is not None
    steering = training.result.memories[0].steering
    return [steering.rows, *steering.keys, *steering.values]


@pytest.mark.parametrize("form", ["rows", "layers"])
def test_training_lowers_the_loss_and_leaves_the_backbone_alone(
    tiny_backbone: Callable[..., Backbone], form: str
) -> None:
    backbone = tiny_backbone("llama")
    before = {k: v.clone() for k, v in backbone.model.state_dict().items()}
    config = dataclasses.replace(FAST, form=form, epochs=30)
    training = Training(backbone, [procedure()], config)
    losses = [p.loss for p in drive(training) if p.loss is not None]
    assert losses[-1] < 0.7 * losses[0]
    assert all(torch.equal(v, before[k]) for k, v in backbone.model.state_dict().items())
    assert not any(p.requires_grad for p in backbone.model.parameters())


@pytest.mark.parametrize("form", ["rows", "layers"])
def test_a_resumed_run_ends_as_an_unbroken_one(tiny_backbone: Callable[..., Backbone], form: str) -> None:
    backbone = tiny_backbone("llama")
    config = dataclasses.replace(FAST, form=form)
    whole = Training(backbone, [procedure()], config)
    drive(whole)
    saved: list[bytes] = []
    broken = Training(backbone, [procedure()], config, save=saved.append, save_every=5)
    drive(broken, until=7)
    assert len(saved) == 1
    resumed = Training(backbone, [procedure()], config, resume=Checkpoint.from_bytes(saved[0]))
    steps = [p.step for p in drive(resumed) if p.phase == "train"]
    assert steps[0] == 6
    for mine, theirs in zip(parameters(resumed), parameters(whole), strict=True):
        assert torch.equal(mine, theirs)


def test_a_checkpoint_of_other_pairs_is_refused(tiny_backbone: Callable[..., Backbone]) -> None:
    backbone = tiny_backbone("llama")
    saved: list[bytes] = []
    drive(Training(backbone, [procedure()], FAST, save=saved.append, save_every=2))
    with pytest.raises(IncompatibleError, match="other pairs or settings"):
        Training(backbone, [procedure(count=7)], FAST, resume=Checkpoint.from_bytes(saved[0]))
    for damaged in (b"", saved[0][:100], b"x" * 200):
        with pytest.raises(BadInputError, match="damaged"):
            Checkpoint.from_bytes(damaged)


@pytest.mark.parametrize("stop_at", [1, 3])
def test_stopping_leaves_a_memory(tiny_backbone: Callable[..., Backbone], stop_at: int) -> None:
    training = Training(tiny_backbone("llama"), [procedure()], FAST)
    drive(training, until=stop_at)
    assert training.result is not None
    assert training.result.stopped == "cancelled"
    assert training.result.steps == stop_at
    assert all(bool(torch.isfinite(p).all()) for p in parameters(training))


def test_closing_the_generator_leaves_a_memory_too(tiny_backbone: Callable[..., Backbone]) -> None:
    training = Training(tiny_backbone("llama"), [procedure()], FAST)
    steps = iter(training)
    while next(steps).phase != "train":
        pass
    steps.close()  # type: ignore[attr-defined]
    assert training.result is not None and training.result.steps == 1


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "does not fit into the memory"),
        (MemoryError(), "does not fit into the memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "does not fit into the memory"),
        (RuntimeError("shape mismatch"), "shape mismatch"),
        (OutOfMemoryError("The messages do not fit."), "The messages do not fit"),
    ],
)
def test_why_a_run_ended_is_not_hidden_by_what_it_cannot_keep(
    tiny_backbone: Callable[..., Backbone], monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    training = Training(tiny_backbone("llama"), [procedure()], FAST)

    def fail(*given: object) -> NoReturn:
        raise error

    def fail_too(*given: object) -> NoReturn:
        raise RuntimeError("nothing could be kept")

    monkeypatch.setattr(training._cache, "fill", fail)
    monkeypatch.setattr(training, "_result", fail_too)
    with pytest.raises(type(error) if said in str(error) else OutOfMemoryError, match=said):
        list(training)
    assert training.result is None


def test_a_run_is_known_by_its_key_whatever_its_name(tiny_backbone: Callable[..., Backbone]) -> None:
    backbone = tiny_backbone("llama")
    begun = Training(backbone, [procedure()], FAST, keys=["a1"], held_out=["digest"])
    steps = iter(begun)
    while next(steps).phase != "train":
        continue
    found = Checkpoint.from_bytes(begun.checkpoint().to_bytes())
    assert (found.names, found.held_out) == (("shout",), ("digest",))
    renamed = procedure("cry")
    Training(backbone, [renamed], FAST, keys=["a1"], resume=found)
    with pytest.raises(IncompatibleError):
        Training(backbone, [renamed], FAST, keys=["b2"], resume=found)
    named = dataclasses.replace(found, identity=Checkpoint.identify(["shout"], [procedure().pairs], FAST, ""))
    Training(backbone, [procedure()], FAST, keys=["a1"], resume=named)


def test_many_pairs_hold_some_out_and_keep_the_best(tiny_backbone: Callable[..., Backbone]) -> None:
    config = dataclasses.replace(FAST, batch_size=16, epochs=6, patience=100)
    training = Training(tiny_backbone("llama"), [procedure(count=SPLIT_FROM)], config)
    held_out = [p.held_out_loss for p in drive(training) if p.held_out_loss is not None]
    assert len(held_out) > 3
    assert training.result is not None and training.result.held_out_loss in held_out


def test_procedures_trained_together_are_as_if_trained_apart(tiny_backbone: Callable[..., Backbone]) -> None:
    """Nothing couples procedures but the batch: with one batch an epoch, each learns as it does alone."""
    backbone = tiny_backbone("llama")
    first, second = procedure("first", 4), procedure("second", 4)
    together = Training(backbone, [first, second], dataclasses.replace(FAST, batch_size=8, clip_norm=0.0))
    drive(together)
    assert together.result is not None and len(together.result.memories) == 2
    alone = Training(backbone, [first], dataclasses.replace(FAST, batch_size=4, clip_norm=0.0))
    drive(alone)
    assert alone.result is not None
    mine, theirs = together.result.memories[0].steering, alone.result.memories[0].steering
    # Adam takes no notice of the gradient's scale, so only rounding separates the two.
    torch.testing.assert_close(mine.rows, theirs.rows, rtol=1e-2, atol=5e-3)


def test_the_papers_router_learns_addresses(tiny_backbone: Callable[..., Backbone]) -> None:
    from tokmem_desk.routing.routers import TokenRouter

    backbone = tiny_backbone("llama")
    procedures = [procedure("one"), Procedure("two", tuple(ExamplePair(f"write {i} now", "done") for i in range(6)))]
    training = Training(backbone, procedures, dataclasses.replace(PAPER, epochs=60, learning_rate=0.1))
    drive(training)
    assert training.result is not None
    memories = training.result.memories
    assert all(m.tied and torch.equal(m.address, m.steering.rows[0]) for m in memories)
    router = TokenRouter(backbone, memories)
    done = backbone.prefill([backbone.format.query(t) for t in ("milk 0", "write 3 now")], keep_states=False)
    assert [c[0].route for c in router.candidates(done)] == ["one", "two"]


def test_bad_requests_say_what_to_do(tiny_backbone: Callable[..., Backbone]) -> None:
    backbone = tiny_backbone("llama")
    with pytest.raises(BadInputError, match="no example pairs"):
        Training(backbone, [Procedure("empty", ())], FAST)
    endless = Procedure("endless", (ExamplePair("word " * (backbone.context_length + 5), "x"),))
    with pytest.raises(BadInputError, match="Pair 1 of 'endless'.*context holds"):
        Training(backbone, [endless], FAST)
    with pytest.raises(UsageError, match="preset 'fast'"):
        preset("fast")
    with pytest.raises(UsageError, match="memory of 0 places"):
        TrainConfig(span=0)
    assert preset("quick", span=1).form == "rows"


@pytest.mark.real_model
def test_one_procedure_learns_a_fixed_string_on_the_real_model(real_backbone: Backbone) -> None:
    """The smallest check of all: the weights stay as they are, and the memory says its text."""
    stored = [(d.clone(), s.absmax.clone()) for d, s in real_backbone.forms.stored_forms()]
    pairs = (ExamplePair("open the door", "SESAME 42"), ExamplePair("open the window", "SESAME 42"))
    config = TrainConfig(span=4, epochs=25, batch_size=2, learning_rate=0.05, floor_loss=0.02)
    training = Training(real_backbone, [Procedure("sesame", pairs)], config)
    drive(training)
    assert training.result is not None
    query = real_backbone.format.query("open the gate")
    assert answer_batch(real_backbone, [query], [training.result.memories[0]], max_tokens=12) == ["SESAME 42"]
    for (data, absmax), (now, state) in zip(stored, real_backbone.forms.stored_forms(), strict=True):
        assert torch.equal(data, now) and torch.equal(absmax, state.absmax)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("no memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
        OutOfMemoryError("Reading the messages did not fit."),
    ],
    ids=["cuda", "cpu", "python", "reading"],
)
def test_short_memory_halves_the_batch_and_says_so(
    tiny_backbone: Callable[..., Backbone], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    training = Training(tiny_backbone("llama"), [procedure()], dataclasses.replace(FAST, batch_size=4))
    plain = Training._loss_of

    def short(self: Training, rows: list[int]) -> torch.Tensor:
        if len(rows) > 1:
            raise error
        return plain(self, rows)

    monkeypatch.setattr(Training, "_loss_of", short)
    notes = [p.note for p in drive(training) if p.note]
    assert notes == ["Memory ran short: going on with 1 pair at a time."]
    assert training.result is not None and training.result.stopped == "end"

    def never(self: Training, rows: list[int]) -> torch.Tensor:
        raise error

    monkeypatch.setattr(Training, "_loss_of", never)
    with pytest.raises(OutOfMemoryError, match="even with one pair at a time"):
        drive(Training(tiny_backbone("llama"), [procedure()], FAST))
    monkeypatch.setattr(Training, "_loss_of", lambda self, rows: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        drive(Training(tiny_backbone("llama"), [procedure()], FAST))


def overflowing(monkeypatch: pytest.MonkeyPatch, steps: set[int]) -> None:
    """Gradients of those steps (counted from 0) hold an infinite number, as in float16."""
    plain = Training._gradients

    def gradients(self: Training) -> Iterator[tuple[list[torch.Tensor], list[torch.Tensor]]]:
        for parameters, grads in plain(self):
            if self._step in steps:
                grads[0].view(-1)[0] = math.inf
            yield parameters, grads

    monkeypatch.setattr(Training, "_gradients", gradients)


@pytest.mark.parametrize("form", ["rows", "layers"])
@pytest.mark.parametrize("clip_norm", [0.0, 1.0])
def test_a_step_that_overflows_is_left_out(
    tiny_backbone: Callable[..., Backbone], monkeypatch: pytest.MonkeyPatch, form: str, clip_norm: float
) -> None:
    overflowing(monkeypatch, {0, 4, 5, 6})
    config = dataclasses.replace(FAST, form=form, clip_norm=clip_norm)
    training = Training(tiny_backbone("llama"), [procedure()], config)
    steps = [p for p in drive(training) if p.phase == "train"]
    assert [p.step for p in steps] == list(range(1, training.planned_steps + 1))
    assert [p.step for p in steps if "numbers overflowed" in p.note] == [1, 5, 6, 7]
    assert "(4 so far)" in steps[6].note
    assert steps[0].loss is None and all(p.loss is not None and math.isfinite(p.loss) for p in steps[1:])
    assert all(bool(torch.isfinite(p).all()) for p in parameters(training))
    assert steps[-1].loss < steps[1].loss  # type: ignore[operator]


@pytest.mark.parametrize("count", [1, 6])
def test_a_training_that_always_overflows_ends_and_says_what_to_do(
    tiny_backbone: Callable[..., Backbone], monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    overflowing(monkeypatch, set(range(1000)))
    saved: list[bytes] = []
    config = dataclasses.replace(FAST, epochs=2)
    training = Training(tiny_backbone("llama"), [procedure(count=count)], config, save=saved.append, save_every=1)
    with pytest.raises(IncompatibleError, match="float32 on cpu: its numbers overflow.*--device cpu"):
        drive(training)
    assert not saved


def test_a_loss_that_is_no_number_teaches_nothing(
    tiny_backbone: Callable[..., Backbone], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Training._loss_of

    def loss_of(self: Training, rows: list[int]) -> torch.Tensor:
        return plain(self, rows) * (math.nan if self._step == 2 else 1.0)

    monkeypatch.setattr(Training, "_loss_of", loss_of)
    training = Training(tiny_backbone("llama"), [procedure()], FAST)
    drive(training)
    assert training.result is not None and math.isfinite(training.result.loss)
    assert all(bool(torch.isfinite(p).all()) for p in parameters(training))


def test_a_memory_knows_the_form_of_its_pairs_except_in_the_papers_setting(
    tiny_backbone: Callable[..., Backbone],
) -> None:
    backbone = tiny_backbone("llama")
    shouting = procedure(count=20)
    ours = Training(backbone, [shouting], FAST).snapshot()[0]
    assert (
        ours.answer_template is not None
        and ours.answer_template.accepts("rope 3", "ROPE!")
        and not ours.answer_template.accepts("rope 3", "TEA!")
    )
    assert Training(backbone, [shouting], PAPER).snapshot()[0].answer_template is None
    assert Training(backbone, [procedure(count=3)], FAST).snapshot()[0].answer_template is None
