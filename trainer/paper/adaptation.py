"""The adaptation phase (TokMem, arXiv 2510.00444, section 3.3): a LoRA learns the layout of chains, then freezes.

LoRA, the rows of auxiliary memories and the row of the end-of-procedure token train together on
auxiliary procedures (``auxiliary``). The memories are thrown away; LoRA and end-of-procedure row are the adapter. A
generator of progress, like the other trainings; resumes from a checkpoint to the same numbers.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from tokmem_desk.errors import IncompatibleError
from tokmem_desk.memory.input_rows import initial_rows
from tokmem_desk.paper.adapter import Adapter, adapter_to_bytes, view
from trainer.checkpoint import Checkpoint, optimised_state, put_back
from trainer.finite_steps import FiniteSteps
from trainer.loop import Progress
from trainer.metrics import known, running_mean
from trainer.paper.auxiliary_chains import NAMES, auxiliary_examples
from trainer.paper.chain import chain_batch, encode, plain_chain_loss, rate_at

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone

_RUNNING_MEAN = 0.9


@dataclass(frozen=True, slots=True)
class AdaptationConfig:
    """Settings of the phase."""

    examples: int = 1000
    """Auxiliary requests, composed ones included."""
    epochs: int = 1
    """Passes over them."""
    batch_size: int = 4
    """Requests in one optimiser step."""
    learning_rate: float = 1e-3
    """Adam's step for the LoRA."""
    row_rate: float = 5e-3
    """Adam's step for memory rows."""
    warmup: float = 0.1
    """Share of the steps over which the rates rise linearly; then they fall linearly."""
    clip_norm: float = 1.0
    """Largest gradient norm."""
    seed: int = 0


class Adaptation:
    """One run; iterate it, then read ``result``: the adapter's file, or None when it was stopped."""

    def __init__(
        self,
        backbone: Backbone,
        config: AdaptationConfig | None = None,
        *,
        resume: Checkpoint | None = None,
        save: Callable[[bytes], None] | None = None,
        save_every: int = 25,
    ) -> None:
        """Prepare a run; puts LoRA layers into the model, which ``close`` takes out again.

        Raises:
            IncompatibleError: the model cannot be adapted, or ``resume`` is of another run.
        """
        self._backbone = backbone
        self._config = config = config or AdaptationConfig()
        self._save, self._save_every = save, save_every
        self._stop = False
        self.result: bytes | None = None
        facts = json.dumps([asdict(config), backbone.fingerprint.digest], sort_keys=True)
        self._identity = hashlib.sha256(facts.encode()).hexdigest()
        if resume is not None and resume.identity != self._identity:
            raise IncompatibleError("The interrupted adaptation was of other settings.", next_step="Start it anew.")
        self._samples = [
            encode(backbone, e, len(NAMES), eop=True) for e in auxiliary_examples(config.examples, config.seed)
        ]
        self.steps = config.epochs * math.ceil(len(self._samples) / config.batch_size)
        self._adapter = Adapter(backbone, config.seed)
        self._view = view(backbone, self._adapter, "in training", None)
        rows = initial_rows(backbone, len(NAMES) + 1, seed=config.seed)
        self._rows, self._eop = nn.Parameter(rows[:-1].clone()), nn.Parameter(rows[-1].clone())
        self._lora = self._adapter.parameters()
        for parameter in self._lora.values():
            parameter.requires_grad_(True)
        self._parameters = [*self._lora.values(), self._rows, self._eop]
        self._optimiser = torch.optim.AdamW(
            [
                {"params": list(self._lora.values()), "lr": config.learning_rate, "rate": config.learning_rate},
                {"params": [self._rows, self._eop], "lr": config.row_rate, "rate": config.row_rate},
            ],
            weight_decay=0.0,
        )
        self._finite = FiniteSteps(backbone, self.steps)
        self._step = 0
        self.loss = math.nan
        if resume is not None:
            self._restore(resume)

    def stop(self) -> None:
        """End at the next step, without a result."""
        self._stop = True

    def close(self) -> None:
        """Take the LoRA layers out of the model."""
        self._adapter.remove()

    def __iter__(self) -> Iterator[Progress]:
        first, began = self._step, time.monotonic()
        while self._step < self.steps and not self._stop:
            self._optimise()
            if self._save is not None and self._step % self._save_every == 0:
                self._save(self.checkpoint().to_bytes())
            pace = (time.monotonic() - began) / (self._step - first)
            left = pace * (self.steps - self._step)
            yield Progress("adapt", self._step, self.steps, known(self.loss), seconds_left=left)
        if not self._stop:
            settings = {**asdict(self._config), "loss": self.loss}
            self.result = adapter_to_bytes(self._backbone, dict(self._lora), self._eop, settings)

    def _optimise(self) -> None:
        config = self._config
        factor = rate_at(self._step, self.steps, config.warmup)
        for group in self._optimiser.param_groups:
            group["lr"] = group["rate"] * factor
        rows = chain_batch([len(s.symbols) for s in self._samples], config.batch_size, config.seed, self._step)
        with self._view.training():
            table = torch.cat([self._rows, self._eop[None]])
            total, count = plain_chain_loss(self._view, [self._samples[i] for i in rows], table)
            loss = total / count
            self._optimiser.zero_grad(set_to_none=True)
            loss.backward()
        norm = nn.utils.clip_grad_norm_(self._parameters, config.clip_norm)
        self._step += 1
        if numbers := self._finite.read([loss, norm]):
            self._optimiser.step()
            self.loss = running_mean(self.loss, numbers[0], _RUNNING_MEAN)

    def checkpoint(self) -> Checkpoint:
        """The state from which a resumed run takes the same steps."""
        kept = optimised_state(self._parameters, self._optimiser)
        return Checkpoint(self._identity, kept, {"step": self._step, "loss": self.loss})

    def _restore(self, checkpoint: Checkpoint) -> None:
        put_back(checkpoint.tensors, self._parameters, self._optimiser)
        self._step = int(checkpoint.numbers["step"] or 0)
        loss = checkpoint.numbers["loss"]
        self.loss = math.nan if loss is None else float(loss)
