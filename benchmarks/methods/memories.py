"""Methods that train memories: the paper's, the paper's form with our number of steps, and the app's default."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from benchmarks.methods.base import Context, Learned, Reply
from benchmarks.routers import Ranking
from tokmem_desk.generation.recall import Bank, answer_batch, route_messages
from tokmem_desk.memory.memory import Memory
from tokmem_desk.memory.router_statistics import RouterStatistics
from tokmem_desk.procedures import Procedure
from tokmem_desk.routing.routers import DiscriminantRouter, TokenRouter
from trainer.config import PAPER, TrainConfig, preset
from trainer.evaluate import ROWS_AT_ONCE
from trainer.loop import Training, TrainResult

_ROUTES_AT_ONCE = 32


class Recalled(Learned):
    """A bank of memories behind a router."""

    def __init__(self, context: Context, bank: Bank, seconds: dict[str, float], settings: dict[str, Any]) -> None:
        parameters = sum(m.steering.parameter_count() for m in bank.memories.values())
        untied = [m.address for m in bank.memories.values() if not m.tied and settings.get("router_weight")]
        super().__init__(
            trained_parameters=parameters + sum(a.numel() for a in untied), seconds=seconds, settings=settings
        )
        self._context, self._backbone, self._bank = context, context.backbone, bank

    @property
    def memories(self) -> dict[str, Memory]:
        """By route."""
        return self._bank.memories

    def answer(self, route: str, messages: Sequence[str], limit: int) -> list[Reply]:
        memory = self._bank.memories.get(route)
        queries = [self._backbone.format.query(message) for message in messages]
        texts = answer_batch(
            self._backbone,
            queries,
            [memory] * len(queries),
            texts=messages,
            max_tokens=limit,
            rows_at_once=ROWS_AT_ONCE,
        )
        span = memory.steering.span if memory is not None else 0
        return [Reply(text, span) for text in texts]

    def beside(self, others: Sequence[Recalled]) -> Recalled:
        """One bank of this one's and others' memories, as if they had been added one after the other."""
        memories = {n: m for learned in (self, *others) for n, m in learned.memories.items()}
        statistics = {n: m.statistics for n, m in memories.items() if m.statistics is not None}
        router = DiscriminantRouter(self._context.loaded.basis, self._backbone.hidden_size, statistics)
        seconds = {n: s for learned in (self, *others) for n, s in learned.seconds.items()}
        return Recalled(self._context, Bank(memories, router), seconds, self.settings)

    def rank(self, messages: Sequence[str]) -> list[Ranking]:
        rankings: list[Ranking] = []
        for start in range(0, len(messages), _ROUTES_AT_ONCE):
            routed = route_messages(self._backbone, self._bank, messages[start : start + _ROUTES_AT_ONCE])
            rankings += [[(c.route, c.probability) for c in r.candidates] for r in routed]
        return rankings


def run_training(training: Training) -> TrainResult:
    """Run to the end."""
    for _ in training:
        pass
    assert training.result is not None
    return training.result


def our_config(context: Context, seed: int) -> TrainConfig:
    """What the app trains with by default on this backbone."""
    return preset("normal", form="layers" if context.backbone.rotates_keys else "rows", seed=seed)


def learn_ours(context: Context, procedures: Sequence[Procedure], seed: int) -> Recalled:
    """The app's default: each procedure trained alone, discriminant router."""
    backbone, basis = context.backbone, context.loaded.basis
    config = our_config(context, seed)
    memories: dict[str, Memory] = {}
    statistics: dict[str, RouterStatistics] = {}
    seconds: dict[str, float] = {}
    steps = 0
    for procedure in procedures:
        began = time.perf_counter()
        result = run_training(
            Training(backbone, [procedure], config, feature_layers=basis.layers.pooled, prior=context.loaded.prior)
        )
        assert result.pooled is not None
        vectors = basis.project(result.pooled, backbone.hidden_size)
        statistics[procedure.name] = RouterStatistics.of(vectors, basis.digest)
        memories[procedure.name] = replace(result.memories[0], statistics=statistics[procedure.name])
        seconds[procedure.name] = time.perf_counter() - began
        steps += result.steps
    bank = Bank(memories, DiscriminantRouter(basis, backbone.hidden_size, statistics))
    prior = None if context.loaded.prior is None else context.loaded.prior.digest
    settings = {**config.as_dict(), "prior": prior, "router": "discriminant", "steps": steps}
    return Recalled(context, bank, seconds, settings)


def learn_tokmem(context: Context, procedures: Sequence[Procedure], seed: int) -> Learned:
    """Exactly the paper's."""
    return _learn_jointly(context, procedures, replace(PAPER, seed=seed))


def learn_tokmem_tuned(context: Context, procedures: Sequence[Procedure], seed: int) -> Learned:
    """The paper's form with as many steps as ours and a learning rate from a grid."""
    ours = our_config(context, seed)
    steps = sum(min(ours.max_steps, ours.epochs * math.ceil(len(p.pairs) / ours.batch_size)) for p in procedures)
    per_epoch = math.ceil(sum(len(p.pairs) for p in procedures) / ours.batch_size)
    config = replace(
        PAPER,
        seed=seed,
        learning_rate=float(context.settings["tokmem-tuned"]["learning_rate"]),
        batch_size=ours.batch_size,
        epochs=math.ceil(steps / per_epoch),
        max_steps=steps,
    )
    return _learn_jointly(context, procedures, config)


def _learn_jointly(context: Context, procedures: Sequence[Procedure], config: TrainConfig) -> Learned:
    """All procedures in one stream: the softmax over their rows needs them together."""
    began = time.perf_counter()
    result = run_training(Training(context.backbone, procedures, config))
    share = (time.perf_counter() - began) / len(procedures)
    bank = Bank({m.name: m for m in result.memories}, TokenRouter(context.backbone, result.memories))
    settings = {**config.as_dict(), "router": "token", "learned": "jointly", "steps": result.steps}
    return Recalled(context, bank, {p.name: share for p in procedures}, settings)
