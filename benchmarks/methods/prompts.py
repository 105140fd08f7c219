"""Methods without training: the untrained backbone, demonstrations in the prompt, retrieved demonstrations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.methods.base import Context, Learned, Reply
from benchmarks.minilm import Vectors
from benchmarks.routers import Ranking, calibrate, nearest
from tokmem_desk import background
from tokmem_desk.backbone.chat_format import Turn
from tokmem_desk.generation.recall import answer_batch
from tokmem_desk.procedures import NONE_ROUTE, ExamplePair, Procedure
from trainer.evaluate import ROWS_AT_ONCE, demonstration_query

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone

AT_LEAST = 12
"""Demonstrations that stand in the prompt even where they take more than half the context."""

_PROMPT_ROWS_AT_ONCE = 6
"""Long prompts take memory; fewer of them run side by side."""


def answer_plainly(backbone: Backbone, messages: Sequence[str], limit: int) -> list[Reply]:
    """Answers of the backbone to the messages alone."""
    queries = [backbone.format.query(message) for message in messages]
    texts = answer_batch(backbone, queries, [None] * len(queries), max_tokens=limit, rows_at_once=ROWS_AT_ONCE)
    return [Reply(text, 0) for text in texts]


def prompt(backbone: Backbone, pairs: Sequence[ExamplePair], message: str, limit: int) -> list[int]:
    """Token ids of a message behind demonstrations: as many as fit half the context, and at least 12.

    Args:
        limit: tokens of the longest answer; they have to fit too.
    """
    procedure = Procedure("demonstrations", tuple(pairs))
    ids, shown = demonstration_query(backbone, procedure, message, _that_fit(backbone, pairs))
    wanted = min(AT_LEAST, len(pairs))
    if shown < wanted:
        turns = [
            turn for pair in pairs[:wanted] for turn in (Turn("user", pair.input), Turn("assistant", pair.response))
        ]
        longer = backbone.format.conversation([*turns, Turn("user", message)])
        if len(longer) + limit <= backbone.context_length:
            return longer
    return ids


def _that_fit(backbone: Backbone, pairs: Sequence[ExamplePair]) -> int:
    """Pairs that fit half the context, counted once so that trimming a prompt takes few tries."""
    room = backbone.context_length // 2
    for count, pair in enumerate(pairs):
        room -= len(backbone.format.query(pair.input)) + len(backbone.format.response(pair.response))
        if room < 0:
            return max(1, count)
    return len(pairs)


def answer_prompts(
    backbone: Backbone, prompts: Sequence[list[int]], messages: Sequence[str], limit: int
) -> list[Reply]:
    """Answers to prompts with demonstrations."""
    texts = answer_batch(backbone, prompts, [None] * len(prompts), max_tokens=limit, rows_at_once=_PROMPT_ROWS_AT_ONCE)
    return [
        Reply(text, len(ids) - len(backbone.format.query(message)))
        for text, ids, message in zip(texts, prompts, messages, strict=True)
    ]


class Base(Learned):
    """The untrained backbone."""

    def __init__(self, context: Context) -> None:
        super().__init__()
        self._backbone = context.backbone

    def answer(self, route: str, messages: Sequence[str], limit: int) -> list[Reply]:
        return answer_plainly(self._backbone, messages, limit)


class Demonstrations(Learned):
    """The procedure's pairs in the prompt, the same ones for every message."""

    def __init__(self, context: Context, procedures: Sequence[Procedure]) -> None:
        super().__init__(settings={"at_least": AT_LEAST, "share_of_context": 0.5})
        self._backbone = context.backbone
        self._pairs = {p.name: p.pairs for p in procedures}

    def answer(self, route: str, messages: Sequence[str], limit: int) -> list[Reply]:
        prompts = [prompt(self._backbone, self._pairs[route], message, limit) for message in messages]
        return answer_prompts(self._backbone, prompts, messages, limit)


class Retrieval(Learned):
    """The nearest demonstrations in the prompt, the nearest of all standing last.

    With the route given they come from that procedure; by itself it takes the nearest of all procedures. Its
    route is the procedure of the nearest demonstration.
    """

    def __init__(self, context: Context, procedures: Sequence[Procedure]) -> None:
        super().__init__(settings={**context.settings["rag"], "retriever": "all-MiniLM-L6-v2"}, answers_alike=False)
        self._backbone, self._embedder = context.backbone, context.embedder
        self._count = int(self.settings["demonstrations"])
        self._pairs = [(p.name, pair) for p in procedures for pair in p.pairs]
        self._owners = np.array([name for name, _ in self._pairs])
        self._vectors = self._embedder.embed([pair.input for _, pair in self._pairs])
        names = [p.name for p in procedures]
        self._router = calibrate(
            nearest,
            self._vectors,
            np.array([names.index(name) for name, _ in self._pairs]),
            names,
            self._embedder.embed(background.chat_for_fitting()),
        )

    def answer(self, route: str, messages: Sequence[str], limit: int) -> list[Reply]:
        return self._answer(np.flatnonzero(self._owners == route), messages, limit)

    def answer_routed(self, route: str, messages: Sequence[str], limit: int) -> list[Reply]:
        if route == NONE_ROUTE:
            return answer_plainly(self._backbone, messages, limit)
        return self._answer(np.arange(len(self._pairs)), messages, limit)

    def rank(self, messages: Sequence[str]) -> list[Ranking]:
        return self._router.rank(self._embedder.embed(messages))

    def _answer(
        self, rows: np.ndarray[tuple[int], np.dtype[np.intp]], messages: Sequence[str], limit: int
    ) -> list[Reply]:
        vectors: Vectors = self._embedder.embed(messages)
        prompts = []
        for vector, message in zip(vectors, messages, strict=True):
            near = rows[np.argsort(-(self._vectors[rows] @ vector), kind="stable")[: self._count]]
            pairs = [self._pairs[i][1] for i in near]
            # Nearest last, next to the message. A prompt too long loses its far end first.
            fitting = _that_fit(self._backbone, pairs)
            prompts.append(prompt(self._backbone, pairs[:fitting][::-1], message, limit))
        return answer_prompts(self._backbone, prompts, messages, limit)


def learn_base(context: Context, procedures: Sequence[Procedure], seed: int) -> Learned:
    return Base(context)


def learn_demonstrations(context: Context, procedures: Sequence[Procedure], seed: int) -> Learned:
    return Demonstrations(context, procedures)


def learn_retrieval(context: Context, procedures: Sequence[Procedure], seed: int) -> Learned:
    import time

    began = time.perf_counter()
    learned = Retrieval(context, procedures)
    share = (time.perf_counter() - began) / len(procedures)
    learned.seconds = {p.name: share for p in procedures}
    return learned
