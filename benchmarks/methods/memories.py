"""Methods that train memories: the paper's, the paper's form with our number of steps, and the app's default."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from benchmarks.kept import KeptMemory
from benchmarks.methods.base import Context, Learned, Reply
from benchmarks.routers import Ranking
from tokmem_desk.generation.batch import answer_batch_traced, batch_signals
from tokmem_desk.generation.confidence import sure_of
from tokmem_desk.generation.recall import Bank, route_messages
from tokmem_desk.generation.trace import Trace
from tokmem_desk.memory.memory import Memory
from tokmem_desk.memory.router_statistics import RouterStatistics
from tokmem_desk.procedures import Procedure
from tokmem_desk.routing.routers import DiscriminantRouter, TokenRouter
from tokmem_desk.templates.answer_values import value_places
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
        traces = answer_batch_traced(
            self._backbone,
            queries,
            [memory] * len(queries),
            texts=messages,
            max_tokens=limit,
            rows_at_once=ROWS_AT_ONCE,
        )
        span = memory.steering.span if memory is not None else 0
        return [
            Reply(trace.text, span, None if memory is None else self._probability(memory, message, trace))
            for message, trace in zip(messages, traces, strict=True)
        ]

    def _probability(self, memory: Memory, message: str, trace: Trace) -> float:
        """That an answer is right; all pairs were learned, so no left-out pairs say more."""
        signals = batch_signals(self._backbone, memory, message, trace)
        return sure_of(signals, value_places(memory.answer_template, message, trace.text), trace.text).probability

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
    prior = None if context.loaded.prior is None else context.loaded.prior.digest
    for procedure in procedures:
        # Statistics depend on the router's space, which is no part of a training.
        start = f"{prior} {basis.digest}"
        found = None if context.kept is None else context.kept.get(procedure, config, start)
        if found is None:
            found = _learned(context, procedure, config)
            if context.kept is not None:
                context.kept.put(procedure, config, start, found)
        assert found.memory.statistics is not None
        statistics[procedure.name] = found.memory.statistics
        memories[procedure.name] = found.memory
        seconds[procedure.name] = found.seconds
        steps += found.steps
    bank = Bank(memories, DiscriminantRouter(basis, backbone.hidden_size, statistics))
    settings = {**config.as_dict(), "prior": prior, "router": "discriminant", "steps": steps}
    return Recalled(context, bank, seconds, settings)


def _learned(context: Context, procedure: Procedure, config: TrainConfig) -> KeptMemory:
    """One procedure, trained alone and measured in the router's space."""
    backbone, basis = context.backbone, context.loaded.basis
    began = time.perf_counter()
    result = run_training(
        Training(backbone, [procedure], config, feature_layers=basis.layers.pooled, prior=context.loaded.prior)
    )
    assert result.pooled is not None
    statistics = RouterStatistics.of(basis.project(result.pooled, backbone.hidden_size), basis.digest)
    memory = replace(result.memories[0], statistics=statistics)
    return KeptMemory(memory, time.perf_counter() - began, result.steps)


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
