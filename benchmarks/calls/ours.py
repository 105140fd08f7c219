"""The app's default: requests found in the message, each routed and answered by its own memory.

Learns from single queries alone; composed ones are cut by the same program and teach the extractors, where cutting them
gives the functions that they are known to call.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from benchmarks.calls.base import CallMethod, Calls, arguments_text, parse_arguments
from benchmarks.calls.data import Call, CallData, CallExample
from benchmarks.methods.memories import our_config, run_training
from tokmem_desk.generation.recall import Answer, Bank, recall
from tokmem_desk.memory.extractor import Extractor
from tokmem_desk.memory.input_rows import initial_rows
from tokmem_desk.memory.memory import Memory
from tokmem_desk.memory.router_statistics import RouterStatistics
from tokmem_desk.memory.steering import Steering
from tokmem_desk.procedures import NONE_ROUTE, ExamplePair, Procedure
from tokmem_desk.routing.routers import DiscriminantRouter
from tokmem_desk.routing.segments import find_segments
from trainer.extractor import extractable, train_extractor, with_extractor
from trainer.loop import Training

if TYPE_CHECKING:
    from benchmarks.methods import Context

_AT_ONCE = 32


class Ours(CallMethod):
    """A bank with its segment tagger."""

    def __init__(self, context: Context, bank: Bank, seconds: float, settings: dict[str, object]) -> None:
        parameters = 0
        for memory in bank.memories.values():
            extractor = memory.steering.extractor
            parameters += extractor.weights().numel() if extractor is not None else memory.steering.parameter_count()
        super().__init__(parameters, seconds, 0.0, settings)
        self.backbone, self.bank = context.backbone, bank

    def answer(self, queries: Sequence[str]) -> list[Calls]:
        found = []
        for query in queries:
            answer = None
            for event in recall(self.backbone, self.bank, query, max_tokens=self._longest(query)):
                if isinstance(event, Answer):
                    answer = event
            assert answer is not None
            found.append(
                [
                    Call(segment.route, parse_arguments(segment.response))
                    for segment in answer.segments
                    if segment.route != NONE_ROUTE
                ]
            )
        return found

    def _longest(self, query: str) -> int:
        """Plain chat says nothing here: what is measured is calls."""
        return 2 * len(self.backbone.format.query(query))


def learn_ours(context: Context, data: CallData, seed: int) -> CallMethod:
    return learn_requests(context, data, seed)


def learn_requests(
    context: Context, data: CallData, seed: int, *, composed: bool = True, split: bool = True
) -> CallMethod:
    """Learn every function on its own.

    Args:
        composed: learn from composed queries too.
        split: find the requests of a message; without, each message is one.
    """
    began = time.perf_counter()
    backbone, basis, segment_tagger = context.backbone, context.loaded.basis, context.loaded.segment_tagger
    pairs = {name: [_pair(e.query, e.calls[0]) for e in data.single if e.calls[0].tool == name] for name in data.tools}
    pairs = {name: found for name, found in pairs.items() if found}
    statistics = {name: _statistics(context, found) for name, found in pairs.items()}
    router = DiscriminantRouter(basis, backbone.hidden_size, statistics)
    used = 0
    if composed:
        bank = Bank({}, router, segment_tagger=segment_tagger)
        for name, pair in cut(context, bank, data.composed):
            pairs[name].append(pair)
            used += 1
        statistics = {name: _statistics(context, found) for name, found in pairs.items()}
        router = DiscriminantRouter(basis, backbone.hidden_size, statistics)
    memories = {
        name: _memory(context, name, found, statistics[name], data.tools[name], seed) for name, found in pairs.items()
    }
    settings: dict[str, object] = {
        "router": "discriminant",
        "read": sorted(name for name, memory in memories.items() if memory.steering.extractor is not None),
        "requests_cut_from_composed": used,
        "split": split,
        "backbone": "plain",
    }
    bank = Bank(memories, router, segment_tagger=segment_tagger if split else None)
    return Ours(context, bank, time.perf_counter() - began, settings)


def cut(context: Context, bank: Bank, examples: Sequence[CallExample]) -> list[tuple[str, ExamplePair]]:
    """Single requests out of composed queries, where the cut gives the known functions and every value lies in its
    own piece.
    """
    backbone, segment_tagger = context.backbone, bank.segment_tagger
    assert segment_tagger is not None
    found = []
    for example in examples:
        done = backbone.prefill(
            [backbone.format.query(example.query)],
            keep_states=False,
            feature_layers=bank.router.feature_layers,
            token_space=segment_tagger.space,
        )
        whole = bank.router.candidates(done)[0]
        segments = find_segments(backbone, bank.router, segment_tagger, example.query, done.tokens[0], whole)
        if [segment.candidates[0].route for segment in segments] != [call.tool for call in example.calls]:
            continue
        for segment, call in zip(segments, example.calls, strict=True):
            values = [one for v in call.arguments.values() for one in (v if isinstance(v, list) else [v])]
            if all(str(value) in segment.text for value in values):
                found.append((call.tool, _pair(segment.text, call)))
    return found


def _pair(query: str, call: Call) -> ExamplePair:
    return ExamplePair(query, arguments_text(call))


def _statistics(context: Context, pairs: Sequence[ExamplePair]) -> RouterStatistics:
    backbone, basis = context.backbone, context.loaded.basis
    pooled = []
    for start in range(0, len(pairs), _AT_ONCE):
        queries = [backbone.format.query(pair.input) for pair in pairs[start : start + _AT_ONCE]]
        done = backbone.prefill(queries, keep_states=False, feature_layers=basis.layers.pooled)
        assert done.pooled is not None
        pooled.append(done.pooled)
    return RouterStatistics.of(basis.project(torch.cat(pooled), backbone.hidden_size), basis.digest)


def _memory(
    context: Context, name: str, pairs: Sequence[ExamplePair], statistics: RouterStatistics, about: str, seed: int
) -> Memory:
    """An extractor where the pairs allow one, else a trained steering: the rule of the app."""
    backbone = context.backbone
    if extractable(pairs) is None:
        procedure = Procedure(name, tuple(pairs), description=about)
        training = Training(backbone, [procedure], our_config(context, seed), prior=context.loaded.prior)
        memory = run_training(training).memories[0]
        return Memory(name, memory.steering, memory.address, memory.tied, statistics, memory.settings)
    extractor = next(
        done
        for done in train_extractor(backbone, context.loaded.segment_tagger.space, pairs, seed)
        if isinstance(done, Extractor)
    )
    rows = initial_rows(backbone, 1, seed=seed)
    return with_extractor(Memory(name, Steering.of(rows), rows[0], True, statistics), extractor)
