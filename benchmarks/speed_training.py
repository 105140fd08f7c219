"""Training on cached queries against training on whole sequences: one objective, one model, the same batches."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from benchmarks.options import say
from tokmem_desk.procedures import Procedure
from trainer.config import PAPER, TrainConfig
from trainer.loop import Progress, Training
from trainer.objective import full_sequence_loss
from trainer.query_cache import QueryCache

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone

EPOCHS = (1, 5)


class _NothingCached(QueryCache):
    def fill(self) -> Iterator[float]:
        yield from ()


class PlainTraining(Training):
    """The same run, every step on whole sequences with the logits of all positions, as the paper's code does."""

    def __init__(self, backbone: Backbone, procedures: Sequence[Procedure], config: TrainConfig) -> None:
        super().__init__(backbone, procedures, config)
        self._cache = _NothingCached(backbone, [])

    def _loss_of(self, rows: list[int]) -> Tensor:
        samples = [self._train[i] for i in rows]
        loss, _ = full_sequence_loss(
            self._backbone,
            [s.query for s in samples],
            [s.owner for s in samples],
            self._memories,
            [s.response for s in samples],
            router_weight=self._config.router_weight,
            memory_columns=self._config.memory_columns,
            all_logits=True,
        )
        return loss


@dataclass(slots=True)
class Operations:
    """What ran, counted where it ran, padding included.

    Attributes:
        forward, backward: token positions through the decoder.
        head_forward, head_backward: token positions through the output head.
        flops: floating-point operations of both, attention included. Weights are frozen, so a backward pass
            costs as much as a forward pass.
    """

    forward: int = 0
    backward: int = 0
    head_forward: int = 0
    head_backward: int = 0
    flops: float = 0.0

    def as_dict(self) -> dict[str, float]:
        return asdict(self)

    def plus(self, other: Operations) -> Operations:
        return Operations(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))


@contextmanager
def counted(backbone: Backbone) -> Iterator[Operations]:
    """Count what passes through a backbone's decoder and head."""
    found = Operations()
    config = backbone.config
    decoder, head = backbone.model.get_decoder(), backbone.model.get_output_embeddings()
    linear = sum(_elements(m.weight) for m in decoder.modules() if hasattr(m, "in_features"))
    heads = int(config.num_attention_heads)
    width = heads * int(getattr(config, "head_dim", None) or config.hidden_size // heads)
    layers = int(config.num_hidden_layers)

    def through_decoder(_module: Any, _arguments: Any, keywords: dict[str, Any], output: Any) -> None:
        ids = keywords.get("inputs_embeds")
        shape = (ids if ids is not None else keywords["input_ids"]).shape
        mask = keywords.get("attention_mask")
        context = shape[1] if mask is None else mask.shape[1]
        positions = int(shape[0] * shape[1])
        back = bool(output.last_hidden_state.requires_grad)
        found.forward += positions
        found.backward += positions * back
        found.flops += positions * (2 * linear + 4 * layers * context * width) * (1 + back)

    def through_head(_module: Any, arguments: tuple[Tensor, ...], output: Tensor) -> None:
        positions = arguments[0].shape[:-1].numel()
        back = bool(output.requires_grad)
        found.head_forward += positions
        found.head_backward += positions * back
        found.flops += positions * 2 * output.shape[-1] * arguments[0].shape[-1] * (1 + back)

    hooks = [
        decoder.register_forward_hook(through_decoder, with_kwargs=True),
        head.register_forward_hook(through_head),
    ]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def _elements(weight: Tensor) -> int:
    state = getattr(weight, "quant_state", None)
    return int(state.shape.numel() if state is not None else weight.numel())


@dataclass(slots=True)
class _Side:
    """One of the two runs; seconds and operations before the first step (``fill``) and of each step."""

    steps: Iterator[Progress]
    planned: int
    fill_seconds: float = 0.0
    fill: Operations = field(default_factory=Operations)
    seconds: list[float] = field(default_factory=list)
    stepping: Operations = field(default_factory=Operations)
    loss: float = math.nan

    def step(self, backbone: Backbone) -> bool:
        """Make one optimiser step, filling the cache first where there is one; False at the end."""
        while True:
            with counted(backbone) as ran:
                _wait(backbone)
                began = time.perf_counter()
                progress = next(self.steps, None)
                _wait(backbone)
                seconds = time.perf_counter() - began
            if progress is None:
                return False
            if progress.phase == "cache":
                self.fill_seconds += seconds
                self.fill = self.fill.plus(ran)
                continue
            self.seconds.append(seconds)
            self.stepping = self.stepping.plus(ran)
            self.loss = progress.loss if progress.loss is not None else math.nan
            return True

    def epochs_seconds(self, epochs: int) -> float:
        """Seconds of so many epochs, from the steps that ran."""
        return self.fill_seconds + epochs * self.planned * statistics.fmean(self.seconds)

    def epochs_flops(self, epochs: int) -> float:
        per_step = self.stepping.flops / len(self.seconds)
        return self.fill.flops + epochs * self.planned * per_step

    def as_dict(self) -> dict[str, Any]:
        return {
            "fill_seconds": self.fill_seconds,
            "seconds_per_step": statistics.fmean(self.seconds),
            "median_seconds_per_step": statistics.median(self.seconds),
            "loss": self.loss,
            "fill": self.fill.as_dict(),
            "steps": self.stepping.as_dict(),
        }


def _wait(backbone: Backbone) -> None:
    if backbone.torch_device.type == "cuda":
        torch.cuda.synchronize(backbone.torch_device)


def measure_training(backbone: Backbone, procedures: Sequence[Procedure], most_steps: int | None) -> dict[str, Any]:
    """Run both trainings step by step in turn, for one epoch or ``most_steps`` of its steps.

    Returns:
        Per side its times, its operations and its loss; per number of epochs the measured ratio, the one that
        the operations allow, and the share of it that was reached.
    """
    config = PAPER
    cached, plain = Training(backbone, procedures, config), PlainTraining(backbone, procedures, config)
    planned = cached.planned_steps
    sides = {"plain": _Side(iter(plain), planned), "cached": _Side(iter(cached), planned)}
    wanted = min(planned, most_steps or planned)
    for step in range(wanted):
        if not all(side.step(backbone) for side in sides.values()):
            break
        seconds = {name: side.seconds[-1] for name, side in sides.items()}
        say(f"Training step {step + 1} of {wanted}: plain {seconds['plain']:.2f} s, cached {seconds['cached']:.2f} s")
    ratios = {}
    for epochs in EPOCHS:
        measured = sides["plain"].epochs_seconds(epochs) / sides["cached"].epochs_seconds(epochs)
        allowed = sides["plain"].epochs_flops(epochs) / sides["cached"].epochs_flops(epochs)
        ratios[str(epochs)] = {
            "ratio": measured,
            "allowed_ratio": allowed,
            "share_of_allowed": measured / allowed,
            "plain_seconds": sides["plain"].epochs_seconds(epochs),
            "cached_seconds": sides["cached"].epochs_seconds(epochs),
        }
    losses = [side.loss for side in sides.values()]
    return {
        "procedures": [p.name for p in procedures],
        "pairs": sum(len(p.pairs) for p in procedures),
        "batch_size": config.batch_size,
        "planned_steps_per_epoch": planned,
        "measured_steps": len(sides["plain"].seconds),
        "how": (
            "Both runs take their steps in turn, the same batches in the same order. The cache is filled whole. "
            "Epochs are the fill and as many steps as planned at the mean time of the measured ones; the learning "
            "rate does not change what a step costs."
        ),
        "epochs": ratios,
        "loss_difference": abs(losses[0] - losses[1]),
        **{name: side.as_dict() for name, side in sides.items()},
    }
