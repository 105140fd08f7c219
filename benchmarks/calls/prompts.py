"""Methods without training: queries with their calls in the prompt, the same ones or the nearest."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.calls.base import CallMethod, Calls, calls_text, longest_answer, parse_calls
from benchmarks.calls.data import CallData, CallExample
from benchmarks.methods.prompts import answer_prompts, prompt
from tokmem_desk.procedures import ExamplePair

if TYPE_CHECKING:
    from benchmarks.methods import Context

_DEMONSTRATIONS = 12
"""In the prompt of ``rag``; ``icl`` shows as many as fit half the context."""


def as_pair(example: CallExample) -> ExamplePair:
    """The query, and its calls as one text."""
    return ExamplePair(example.query, calls_text(example.calls))


class Demonstrations(CallMethod):
    """The same demonstrations for every query: each function in turn, single and composed queries mixed."""

    def __init__(self, context: Context, data: CallData, seed: int) -> None:
        super().__init__(settings={"share_of_context": 0.5, "backbone": "plain"})
        self._backbone = context.backbone
        self._limit = longest_answer((*data.single, *data.composed), lambda text: len(self._encode(text)))
        self._pairs = [as_pair(example) for example in _mixed(data, seed)]

    def _encode(self, text: str) -> list[int]:
        return self._backbone.format.encode_text(text)

    def _shown(self, query: str) -> list[ExamplePair]:
        return self._pairs

    def answer(self, queries: Sequence[str]) -> list[Calls]:
        prompts = [prompt(self._backbone, self._shown(query), query, self._limit) for query in queries]
        replies = answer_prompts(self._backbone, prompts, queries, self._limit)
        self.prompt_tokens = statistics.fmean(reply.prompt_tokens for reply in replies)
        return [parse_calls(reply.text) for reply in replies]


class Retrieval(Demonstrations):
    """The nearest training queries, the nearest of all standing last."""

    def __init__(self, context: Context, data: CallData, seed: int) -> None:
        super().__init__(context, data, seed)
        self.settings = {"demonstrations": _DEMONSTRATIONS, "retriever": "all-MiniLM-L6-v2", "backbone": "plain"}
        self._embedder = context.embedder
        self._all = [as_pair(example) for example in (*data.single, *data.composed)]
        self._vectors = self._embedder.embed([pair.input for pair in self._all])

    def _shown(self, query: str) -> list[ExamplePair]:
        likeness = self._vectors @ self._embedder.embed([query])[0]
        near = np.argsort(-likeness, kind="stable")[:_DEMONSTRATIONS]
        return [self._all[i] for i in near][::-1]


def _mixed(data: CallData, seed: int) -> list[CallExample]:
    """Single and composed queries in turn, the functions of the single ones in turn too."""
    rng = random.Random(f"demonstrations/{seed}")
    by_tool = {name: [e for e in data.single if e.calls[0].tool == name] for name in data.tools}
    for found in by_tool.values():
        rng.shuffle(found)
    composed = rng.sample(data.composed, len(data.composed))
    mixed: list[CallExample] = []
    for place in range(max(map(len, by_tool.values()), default=0)):
        for found in by_tool.values():
            mixed += found[place : place + 1]
            mixed += composed[len(mixed) // 2 : len(mixed) // 2 + 1]
    return mixed


def learn_demonstrations(context: Context, data: CallData, seed: int) -> CallMethod:
    return Demonstrations(context, data, seed)


def learn_retrieval(context: Context, data: CallData, seed: int) -> CallMethod:
    began = time.perf_counter()
    learned = Retrieval(context, data, seed)
    learned.seconds = time.perf_counter() - began
    return learned
