"""Recall: read the message once, choose a memory or none, answer under it.

An answer is a list of segments, most often one: each has its route, its own part of the message and its
explicit end, and memories are chosen between segments only.

One prefill of the query serves the router and the answer. A procedure sees the current message alone;
``none`` is plain chat in the model's own template and sees the conversation. Banks come as arguments; nothing is
kept. What is passed around is in ``types`` and ``answer_segment``, how a segment is generated in ``segment``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from tokmem_desk.backbone.chat_format import Turn
from tokmem_desk.backbone.conversation_cache import OwnedCache
from tokmem_desk.errors import NotFoundError, did_you_mean
from tokmem_desk.generation.answer_segment import AnswerSegment
from tokmem_desk.generation.batch import answer_batch, answer_messages
from tokmem_desk.generation.decoding import Sampling
from tokmem_desk.generation.segment import Answering, Part
from tokmem_desk.generation.types import SEGMENT_BREAK, Answer, Bank, Piece, Routed, Timing
from tokmem_desk.procedures import AUTO_ROUTE, NONE_ROUTE
from tokmem_desk.routing.segments import find_segments

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone

__all__ = [
    "Answer",
    "Bank",
    "Piece",
    "Routed",
    "Sampling",
    "Timing",
    "answer_batch",
    "answer_messages",
    "recall",
    "route_messages",
]


def route_messages(backbone: Backbone, bank: Bank, messages: Sequence[str]) -> list[Routed]:
    """Route messages without answering them, batched, in their order."""
    if not messages:
        return []
    done = backbone.prefill(
        [backbone.format.query(m) for m in messages], keep_states=False, feature_layers=bank.router.feature_layers
    )
    return [Routed(c[0].route, c[0].probability, c) for c in bank.router.candidates(done)]


def recall(
    backbone: Backbone,
    bank: Bank,
    message: str,
    *,
    route: str = AUTO_ROUTE,
    conversation: Sequence[Turn] = (),
    whole: Sequence[Turn] | None = None,
    cache: OwnedCache | None = None,
    sampling: Sampling | None = None,
    max_tokens: int | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    shuns_repeats: bool = False,
) -> Iterator[Routed | Piece | Answer]:
    """Answer one message; yields the route and the pieces of text of each segment, then the whole answer.

    Args:
        route: ``auto``, ``none`` or the name of a memory in the bank; a forced route never falls back.
        conversation: earlier turns, oldest first, for plain chat; the first may be a system text.
        whole: the conversation with the answers of procedures, for procedures that read it; None where plain chat
            sees those too. The same holds for earlier segments of this message.
        cache: keeps the keys and values of the conversation for its next turn.
        sampling: None decodes greedily.
        max_tokens: longest answer; None takes the default of the route's kind.
        cancelled: asked between tokens.
        shuns_repeats: plain chat that is about to repeat an earlier answer is answered without the conversation.

    Raises:
        NotFoundError: ``route`` names no memory of the bank.
        IncompatibleError: the message is longer than the context.
    """
    if route not in (AUTO_ROUTE, NONE_ROUTE) and route not in bank.memories:
        raise NotFoundError(
            f"No trained and enabled procedure is called {route!r}.{did_you_mean(route, bank.memories)}",
            next_step="See 'tokmem-desk proc list'.",
        )
    began = time.perf_counter()
    timing = Timing()
    parts = _parts(backbone, bank, message, route, timing, began)
    segments: list[AnswerSegment] = []
    stopped, cut, whole_cut, context, prompt_tokens = "end", 0, 0, 0, 0
    without_history = False
    for part in parts:
        if segments:
            yield Piece(SEGMENT_BREAK)
        yield part.routed
        reads = part.routed.route in bank.conversation_aware
        before = conversation if not reads or whole is None else whole
        seen = [*before, *_turns(segments, plain=not reads and whole is not None)]
        answering = Answering(
            backbone, bank, part, seen, cache, sampling, max_tokens, cancelled, timing, began,
            shuns_repeats=shuns_repeats,
        )  # fmt: skip
        yield from answering.pieces()
        without_history = without_history or answering.without_history
        routed = part.routed
        segments.append(
            AnswerSegment(
                routed.route,
                routed.probability,
                routed.part,
                answering.response,
                answering.arguments,
                answering.problem,
            )
        )
        # Count the caller's messages only: no system text, and no earlier segment of this message.
        lost = min(answering.turns_cut, sum(turn.role != "system" for turn in before))
        cut, whole_cut = (cut, max(whole_cut, lost)) if reads else (max(cut, lost), whole_cut)
        context = max(context, answering.context_tokens)
        prompt_tokens += answering.prompt_tokens
        if answering.stopped != "end":
            stopped = answering.stopped
        if stopped == "cancelled":
            break
    timing.total = time.perf_counter() - began
    response = SEGMENT_BREAK.join(segment.response for segment in segments)
    yield Answer(
        parts[0].routed, response, timing, stopped, segments, cut, whole_cut, context, prompt_tokens, without_history
    )


def _turns(segments: Sequence[AnswerSegment], *, plain: bool) -> list[Turn]:
    """The earlier segments of a message with their answers as turns; with ``plain``, those of plain chat only."""
    seen = [segment for segment in segments if segment.response and (not plain or segment.route == NONE_ROUTE)]
    return [turn for segment in seen for turn in (Turn("user", segment.part), Turn("assistant", segment.response))]


def _parts(backbone: Backbone, bank: Bank, message: str, route: str, timing: Timing, began: float) -> list[Part]:
    """Run the message, find its segments and choose their routes."""
    segment_tagger = bank.segment_tagger if route == AUTO_ROUTE and bank.memories else None
    prefilled = backbone.prefill(
        [backbone.format.query(message)],
        feature_layers=bank.router.feature_layers,
        token_layers=backbone.token_space.layers if backbone.token_space and bank.memories else (),
    )
    timing.prefill = time.perf_counter() - began
    candidates = bank.router.candidates(prefilled)[0]
    segments = []
    if segment_tagger is not None:
        segments = find_segments(backbone, bank.router, segment_tagger, message, prefilled.tokens[0], candidates)
    timing.route = time.perf_counter() - began - timing.prefill
    if segments:
        return [
            Part(
                Routed(s.candidates[0].route, s.candidates[0].probability, s.candidates, False, i, s.text), s.prefilled
            )
            for i, s in enumerate(segments)
        ]
    if route == AUTO_ROUTE:
        routed = Routed(candidates[0].route, candidates[0].probability, candidates, part=message)
    else:
        known = {c.route: c.probability for c in candidates}
        routed = Routed(route, known.get(route, 0.0), candidates, forced=True, part=message)
    return [Part(routed, prefilled)]
