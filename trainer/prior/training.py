"""How a prior is learned: one start for many auxiliary procedures, each of which also learns something of its own.

Procedure t has the parameters start_t + scale_t (s + d_t): s is common to all, d_t its own. Its pairs are divided.
Those of one part teach d_t as any training does, with decay toward zero; those of the other part teach s, which so
learns what helps on pairs that the procedure's own part has not seen. It is a first-order form of learning to learn
(MAML, arXiv 1703.03400) in which procedures are taken up and left one after the other: a pool is open at any time.

An interrupted run goes on from a checkpoint of the common part. The procedures' own parts are not kept: the pool is
opened anew, with the next procedures in line, so the result is as good as that of a run in one go but not the same
to the bit.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tokmem_desk.errors import IncompatibleError, OutOfMemoryError
from tokmem_desk.memory.input_rows import InputRows
from tokmem_desk.memory.kv_positions import KVPositions
from tokmem_desk.memory.steering import Steering
from tokmem_desk.procedures import ExamplePair, Procedure
from tokmem_desk.system.device import is_out_of_memory
from trainer.auxiliary import auxiliary_procedures
from trainer.checkpoint import Checkpoint, optimised_state, put_back
from trainer.config import TrainConfig, preset
from trainer.finite_steps import FiniteSteps
from trainer.loop import Progress
from trainer.memory_start import prior_to_bytes
from trainer.metrics import known, running_mean
from trainer.objective import TrainableMemories, response_loss
from trainer.samples import demonstrations

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone

_RUNNING_MEAN = 0.98


@dataclass(frozen=True, slots=True)
class PriorConfig:
    """Settings of a run."""

    steps: int = 500
    """Optimiser steps of the common part."""
    at_once: int = 4
    """Procedures in one step."""
    pairs_of_each: int = 2
    """Pairs of each for its own part, and as many for the common one."""
    pool: int = 48
    """Procedures that are open at a time."""
    visits: int = 10
    """Steps after which a procedure is left for a new one."""
    held_back: float = 0.3
    """Share of a procedure's pairs that teach the common part only."""
    learning_rate: float = 5e-3
    """Adam's step for the common part, in units of the initial values' root mean square; falls as a cosine."""
    warmup: int = 50
    """Steps over which the rate rises."""
    composed_per_written: int = 1
    """Procedures put together by chance for every written one."""
    seed: int = 0


class _Open:
    """One auxiliary procedure while it is in the pool."""

    def __init__(
        self, backbone: Backbone, procedure: Procedure, config: TrainConfig, held_back: float, seed: str
    ) -> None:
        pairs = list(procedure.pairs)
        random.Random(seed).shuffle(pairs)
        count = max(1, round(held_back * len(pairs)))
        self.common, self.own = pairs[:count], pairs[count:]
        taught = replace(procedure, pairs=tuple(self.own))
        texts = [demonstrations(backbone, taught, at_least=4 * config.span)]
        self.memories = TrainableMemories(backbone, config, texts)
        self.optimiser = torch.optim.AdamW(
            self.memories.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self.visits = 0

    def blocks(self, common: Sequence[Tensor]) -> tuple[Steering, Steering]:
        """The memory with gradient into its own part, and with gradient into the common one."""
        own, shared = [], []
        for part, s in zip(self.memories.parts(), common, strict=True):
            own.append((part.start + part.scale * (s.detach() + part.delta))[0])
            shared.append((part.start + part.scale * (s + part.delta.detach()))[0])
        return self.memories.steering_of(own), self.memories.steering_of(shared)

    def learn(self) -> None:
        """One step of its own part, whose gradient has been clipped."""
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.visits += 1


class PriorTraining:
    """One run; iterate it, then read ``result``: a prior's file, or None when it was stopped."""

    def __init__(
        self,
        backbone: Backbone,
        config: PriorConfig | None = None,
        *,
        resume: Checkpoint | None = None,
        save: Callable[[bytes], None] | None = None,
        save_every: int = 25,
    ) -> None:
        """Prepare a run.

        Args:
            resume: state of an interrupted run with the same settings.
            save: receives checkpoint bytes every ``save_every`` steps.

        Raises:
            IncompatibleError: memories of this backbone have no keys and values, so there is nothing to start; or
                ``resume`` is of another run.
        """
        if not backbone.rotates_keys:
            raise IncompatibleError(
                f"Memories of {backbone.model_id} are rows alone, which start at the mean of its vocabulary."
            )
        self._backbone = backbone
        self._config = config = config or PriorConfig()
        self._memory_config = preset("normal")
        self._save, self._save_every = save, save_every
        facts = [asdict(config), self._memory_config.as_dict(), backbone.fingerprint.digest]
        self._identity = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
        if resume is not None and resume.identity != self._identity:
            raise IncompatibleError("The interrupted run was of other settings.", next_step="Start it anew.")
        self._opened = 0 if resume is None else int(resume.numbers["opened"] or 0)
        self._source = islice(auxiliary_procedures(config.composed_per_written), self._opened, None)
        self._stop = False
        self._finite = FiniteSteps(backbone, config.steps)
        self._step = 0
        self.loss = math.nan
        self.result: bytes | None = None
        self._pool = [self._open()]
        self._common = [torch.zeros_like(part.start[0], requires_grad=True) for part in self._pool[0].memories.parts()]
        self._optimiser = torch.optim.AdamW(self._common, lr=config.learning_rate, weight_decay=0.0, betas=(0.9, 0.99))
        if resume is not None:
            put_back(resume.tensors, self._common, self._optimiser)
            self._step = int(resume.numbers["step"] or 0)
            loss = resume.numbers["loss"]
            self.loss = math.nan if loss is None else float(loss)

    @property
    def steps(self) -> int:
        """Optimiser steps of the whole run."""
        return self._config.steps

    def stop(self) -> None:
        """End at the next step, without a result."""
        self._stop = True

    def __iter__(self) -> Iterator[Progress]:
        """Steps; first the pool opens, in phase ``open``, then it learns, in phase ``prior``.

        Raises:
            OutOfMemoryError: a step does not fit into the memory.
            IncompatibleError: the numbers of one step after another overflow.
        """
        try:
            yield from self._run()
        except (RuntimeError, MemoryError) as error:  # torch.OutOfMemoryError is one
            if not is_out_of_memory(error):
                raise
            raise OutOfMemoryError(
                "Learning where memories start does not fit into the memory.",
                next_step="Close other programs, or choose a smaller model.",
            ) from error

    def _run(self) -> Iterator[Progress]:
        config = self._config
        while len(self._pool) < config.pool and not self._stop:
            self._pool.append(self._open())
            yield Progress("open", len(self._pool), config.pool)
        # Visits are spread, or the whole pool would be new at once.
        for place, member in enumerate(self._pool):
            member.visits = place * config.visits // config.pool
        first, began = self._step, time.monotonic()
        while self._step < config.steps and not self._stop:
            rise = min(1.0, (self._step + 1) / config.warmup)
            fall = max(0.02, 0.5 * (1 + math.cos(math.pi * self._step / config.steps)))
            for group in self._optimiser.param_groups:
                group["lr"] = config.learning_rate * rise * fall
            self._learn()
            if self._save is not None and self._step % self._save_every == 0:
                self._save(self.checkpoint().to_bytes())
            pace = (time.monotonic() - began) / (self._step - first)
            left = pace * (config.steps - self._step)
            yield Progress("prior", self._step, config.steps, known(self.loss), seconds_left=left)
        if not self._stop:
            self.result = self._file()

    def checkpoint(self) -> Checkpoint:
        """The common part and how far it is; not the pool."""
        numbers: dict[str, float | int | None] = {"step": self._step, "loss": self.loss, "opened": self._opened}
        return Checkpoint(self._identity, optimised_state(self._common, self._optimiser), numbers)

    def _open(self) -> _Open:
        procedure = next(self._source)
        self._opened += 1
        seed = f"{self._config.seed}/{self._opened}"
        return _Open(self._backbone, procedure, self._memory_config, self._config.held_back, seed)

    def _learn(self) -> None:
        config, rng = self._config, random.Random(f"{self._config.seed}/step/{self._step}")
        backbone = self._backbone
        places = rng.sample(range(len(self._pool)), config.at_once)
        pairs: list[ExamplePair] = []
        blocks: list[Steering] = []
        for place in places:
            member = self._pool[place]
            for part, block in zip((member.own, member.common), member.blocks(self._common), strict=True):
                chosen = rng.sample(part, min(config.pairs_of_each, len(part)))
                pairs += chosen
                blocks += [block] * len(chosen)
        states = backbone.prefill([backbone.format.query(pair.input) for pair in pairs]).states
        self._optimiser.zero_grad(set_to_none=True)
        with backbone.training():
            answer = response_loss(backbone, states, blocks, [backbone.format.response(p.response) for p in pairs])
            # Per token of one of the two parts: neither sees the other's gradient.
            loss = 2 * answer.total / answer.tokens
            loss.backward()
        limit = self._memory_config.clip_norm
        norms = [torch.nn.utils.clip_grad_norm_(self._common, limit)]
        norms += [torch.nn.utils.clip_grad_norm_(self._pool[place].memories.parameters(), limit) for place in places]
        self._step += 1
        numbers = self._finite.read([loss, *norms])
        if numbers is None:
            for place in places:
                self._pool[place].optimiser.zero_grad(set_to_none=True)
            return
        self._optimiser.step()
        for place in places:
            self._pool[place].learn()
            if self._pool[place].visits >= config.visits:
                self._pool[place] = self._open()
        self.loss = running_mean(self.loss, numbers[0] / 2, _RUNNING_MEAN)

    @torch.no_grad()
    def _file(self) -> bytes:
        """Shifts stay relative, since every memory starts from its own pairs; the KV adapter is taken as it is."""
        memories = self._pool[0].memories
        moved = [(part.start + part.scale * s)[0] for part, s in zip(memories.parts(), self._common, strict=True)]
        kv_adapter = memories.steering_of(moved).kv_adapter
        assert kv_adapter is not None
        common = memories.by_kind(self._common)
        shifts = KVPositions.of(common[KVPositions])
        return prior_to_bytes(self._backbone, common[InputRows][0][0], shifts.keys, shifts.values, kv_adapter)
