"""Learn from verdicts on answers: what a person rejected becomes less probable, what they accepted more.

The loss is that of direct preference optimisation (Rafailov et al., arXiv 2305.18290, eq. 7), with the memory before
as reference: only its numbers train, and it is where they start, so no second model is needed. A verdict that says
what was right compares both answers; what they share cancels out. One that only says what was wrong compares that
answer with the memory before (the rejected half alone, as in Kahneman-Tversky optimisation, arXiv 2402.01306, without
its estimate of the mean). Most of such an answer may well be right. So each of its tokens counts by how unsure the
memory was of it: what it was sure of is hardly unlearned.

Letters: b verdicts of a batch.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from tokmem_desk.procedures import AnswerVerdict, texts_digest
from trainer.config import TrainConfig
from trainer.objective import log_probabilities
from trainer.query_cache import QueryCache

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone
    from tokmem_desk.memory.memory import Memory
    from tokmem_desk.memory.steering import Steering

AT_ONCE = 4
"""Verdicts of one step: each has up to two answers."""
SHARPNESS = 0.1
"""The factor that turns differences of log-probabilities into odds (beta of the source)."""
WEIGHT = 0.2
"""Of this loss beside that of the pairs, both in nats per label."""

EPOCHS = 15
"""Passes over the pairs."""
FINISHING_EPOCHS = 5
"""Passes that take in what was held out before."""
RATE = 0.01
"""Half of what a new memory begins with: it is there already."""
_KEPT = ("form", "span", "lens_rank", "kinds", "shared_form")
"""Settings of a memory that say what it is made of."""


@dataclass(frozen=True, slots=True)
class Refinement:
    """What a training goes on from, and the verdicts that it learns from beside the pairs.

    Attributes:
        memory: the one that gave the answers.
        verdicts: those that reject an answer; what was accepted alone is a pair like any other.
        weight: of the verdicts beside the pairs.
        sharpness: see ``SHARPNESS``.
    """

    memory: Memory
    verdicts: tuple[AnswerVerdict, ...]
    weight: float = WEIGHT
    sharpness: float = SHARPNESS

    @property
    def digest(self) -> str:
        """Of what a run depends on: where it starts and what was said."""
        numbers = [f"{float(tensor.double().sum()):.6g}" for tensor in _numbers(self.memory)]
        told = sorted(verdict.digest for verdict in self.verdicts)
        return texts_digest([("verdicts", " ".join([*numbers, *told, str(self.weight), str(self.sharpness)]))])


def _numbers(memory: Memory) -> list[Tensor]:
    return [tensor for part in memory.steering.parts for tensor in part.stored().values()]


class VerdictLoss:
    """The loss of verdicts on cached queries. ``fill`` comes first."""

    def __init__(self, backbone: Backbone, refinement: Refinement, *, budget_mb: float, seed: int) -> None:
        """Encode the verdicts; nothing runs before ``fill``.

        Args:
            budget_mb: for cached keys and values.
            seed: of the order in which verdicts come.
        """
        self._backbone, self._refinement, self._seed = backbone, refinement, seed
        self._verdicts = [one for one in refinement.verdicts if one.rejected is not None]
        texts = [(one.rejected, one.accepted) for one in self._verdicts]
        encode = backbone.format.response
        self._responses = [[encode(text) for text in both if text is not None] for both in texts]
        self._cache = QueryCache(
            backbone, [backbone.format.query(one.input) for one in self._verdicts], budget_mb=budget_mb
        )
        self._blame: list[Tensor] = []
        """Per verdict how much each token of the rejected answer counts, 0 to 1."""
        self._before: list[Tensor] = []
        """Per verdict the log-probabilities of its answers under the memory before, the rejected one first."""

    @torch.no_grad()
    def fill(self) -> Iterator[float]:
        """Run queries once, and the answers under the memory before; yields the share done."""
        if not self._verdicts:
            return
        for share in self._cache.fill():
            yield share / 2
        steering = self._refinement.memory.steering.detached()
        for start in range(0, len(self._verdicts), AT_ONCE):
            rows = range(start, min(start + AT_ONCE, len(self._verdicts)))
            found = self._tokens(rows, steering)
            for row in rows:
                rejected = found[row][0]
                alone = len(self._responses[row]) == 1
                self._blame.append(1 - rejected.exp() if alone else torch.ones_like(rejected))
            self._before += self._summed(rows, found)
            yield 0.5 + len(self._before) / len(self._verdicts) / 2

    def at(self, step: int, steering: Steering) -> Tensor | None:
        """The weighted mean loss of the verdicts of one step, or None where there are none; carries gradient."""
        if not self._verdicts:
            return None
        return self._refinement.weight * self._loss(self._rows_at(step), steering)

    def _rows_at(self, step: int) -> list[int]:
        count = len(self._verdicts)
        per_round = -(-count // AT_ONCE)
        round_, place = divmod(step, per_round)
        order = random.Random(f"verdicts/{self._seed}/{round_}").sample(range(count), count)
        return order[place * AT_ONCE : (place + 1) * AT_ONCE]

    def _loss(self, rows: Sequence[int], steering: Steering) -> Tensor:
        now = self._summed(rows, self._tokens(rows, steering))
        gained = [after - self._before[row] for after, row in zip(now, rows, strict=True)]
        ahead = torch.stack([(one[1] if len(one) > 1 else one.new_zeros(())) - one[0] for one in gained])
        return -F.logsigmoid(self._refinement.sharpness * ahead).mean()

    def _summed(self, rows: Sequence[int], tokens: Mapping[int, list[Tensor]]) -> list[Tensor]:
        """Per verdict the log-probabilities of its answers, the rejected one first."""
        return [
            torch.stack([(tokens[row][0] * self._blame[row]).sum(), *(one.sum() for one in tokens[row][1:])])
            for row in rows
        ]

    def _tokens(self, rows: Sequence[int], steering: Steering) -> dict[int, list[Tensor]]:
        """Per verdict the log-probabilities of the tokens of each of its answers."""
        states = self._cache.states(rows)
        answers = [(row, state, one) for state, row in zip(states, rows, strict=True) for one in self._responses[row]]
        found = log_probabilities(
            self._backbone,
            [state for _, state, _ in answers],
            [steering] * len(answers),
            [one for _, _, one in answers],
        )
        tokens: dict[int, list[Tensor]] = {row: [] for row in rows}
        for (row, _, _), one in zip(answers, found, strict=True):
            tokens[row].append(one)
        return tokens


def refinement_config(memory: Memory, *, seed: int = 0) -> TrainConfig:
    """How a memory is trained further: of the same form and length, in fewer and shorter steps.

    Raises:
        UsageError: its settings are not those of a memory that the trainer made.
    """
    known: dict[str, Any] = {name: memory.settings[name] for name in _KEPT if name in memory.settings}
    known["kinds"] = tuple(known.get("kinds", ()))
    return replace(
        TrainConfig(), **known, tied=memory.tied, epochs=EPOCHS, learning_rate=RATE, floor_loss=0.0, seed=seed
    )
