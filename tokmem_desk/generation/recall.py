"""Recall: read the message, choose a memory or none, answer under it.

An answer is a list of segments, most often one: each has its route, its own part of the message and its
explicit end, and memories are chosen between segments only. Where the bank says that one procedure goes on with the
answers of another, that answer is the message of a further segment: a step of a chain.

One prefill of the query serves the router and the answer; of a long message with several requests, each request is
read again when its turn comes. A procedure sees the current message alone;
``none`` is plain chat in the model's own template and sees the conversation. Banks come as arguments; nothing is
kept. What is passed around is in ``types`` and ``answer_segment``, how a segment is generated in ``segment``.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tokmem_desk.backbone.chat_format import Turn
from tokmem_desk.backbone.conversation_cache import OwnedCache
from tokmem_desk.background.referring import Said
from tokmem_desk.errors import GenerationError, NotFoundError, TokmemError, did_you_mean
from tokmem_desk.generation.answer_segment import SEGMENT_BREAK, AnswerSegment
from tokmem_desk.generation.batch import answer_batch, answer_messages
from tokmem_desk.generation.decoding import Sampling
from tokmem_desk.generation.reading import read
from tokmem_desk.generation.referring import filled_in, with_repeats
from tokmem_desk.generation.segment import Answering, Part
from tokmem_desk.generation.steps_together import StepPool
from tokmem_desk.generation.token_log import LoggedToken
from tokmem_desk.generation.types import Answer, Bank, Piece, Read, Routed, Timing
from tokmem_desk.procedures import AUTO_ROUTE, MAX_CHAIN, NONE_ROUTE
from tokmem_desk.routing.segments import choose_segments, propose_cuts, read_stretches
from tokmem_desk.routing.wrappers import route_inner
from tokmem_desk.templates.asked_form import AskedForm

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone
    from tokmem_desk.routing.routers import Candidate

__all__ = [
    "Answer",
    "Bank",
    "Piece",
    "Read",
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
    candidates = bank.router.candidates(done)
    if bank.memories:
        candidates = route_inner(backbone, bank.router, messages, candidates)
    return [Routed(c[0].route, c[0].probability, c) for c in candidates]


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
    asked: AskedForm | None = None,
    others: int | None = None,
    said: Sequence[Said] | None = (),
    pool: StepPool | None = None,
) -> Iterator[Read | Routed | Piece | Answer]:
    """Answer one message; yields the route and the pieces of text of each segment, then the whole answer.

    Of a long message it is yielded before how far it has been read.

    Args:
        route: ``auto``, ``none`` or the name of a memory in the bank; a forced route never falls back.
        conversation: earlier turns, oldest first, for plain chat; the first may be a system text.
        whole: the conversation with the answers of procedures, for procedures that read it; None where plain chat
            sees those too. The same holds for earlier segments of this message.
        cache: keeps the keys and values of the conversation for its next turn.
        sampling: None decodes greedily.
        max_tokens: longest answer; None takes the default of the route's kind.
        cancelled: asked between tokens, and between the passes over a long text.
        shuns_repeats: plain chat that is about to repeat an earlier answer is answered without the conversation.
        asked: the form that the answer must have; the message is then answered as a whole.
        others: notes the tokens of the answer, each with so many of the likeliest in its place; None notes nothing.
        said: before the message, oldest first, by requests: what words of the message may refer to, besides its own
            earlier requests. None: words are taken as they stand.
        pool: computes steps together with those of other answers that take turns with this one; pieces may be empty
            then.

    Raises:
        NotFoundError: ``route`` names no memory of the bank.
        IncompatibleError: the message is longer than the context.
        InterruptedByUser: it was cancelled before there was a route.
    """
    if route not in (AUTO_ROUTE, NONE_ROUTE) and route not in bank.memories:
        raise NotFoundError(
            f"No trained and enabled procedure is called {route!r}.{did_you_mean(route, bank.memories)}",
            next_step="See 'tokmem-desk proc list'.",
        )
    began = time.perf_counter()
    timing = Timing()
    parts = deque(
        (
            yield from _parts(
                backbone,
                bank,
                message,
                route,
                timing,
                began,
                cancelled,
                whole=asked is not None,
                fills_in=said is not None,
            )
        )
    )
    first: Routed | None = None
    segments: list[AnswerSegment] = []
    logs: list[list[LoggedToken] | None] = []
    stopped, cut, whole_cut, context, prompt_tokens = "end", 0, 0, 0, 0
    without_history = False
    while parts:
        # Held by whoever answers it alone, who lets go of what is not needed any more.
        part = parts.popleft()
        if said is not None and asked is None and not part.routed.follows:
            known = [*said, *(Said(segment.part, segment.response) for segment in segments)]
            part = filled_in(backbone, bank, part, known)
        if segments:
            yield Piece(SEGMENT_BREAK)
        # Steps of chains stand between the requests of the message.
        part.routed = replace(part.routed, segment=len(segments))
        first = first or part.routed
        yield part.routed
        reads = part.routed.route in bank.conversation_aware
        before = conversation if not reads or whole is None else whole
        seen = [*before, *_turns(segments, plain=not reads and whole is not None)]
        answering = Answering(
            backbone, bank, part, seen, cache, sampling, max_tokens, cancelled, timing, began,
            shuns_repeats=shuns_repeats, asked=asked, others=others, pool=pool,
        )  # fmt: skip
        yield from answering.pieces()
        without_history = without_history or answering.without_history
        routed, sure = part.routed, answering.sure
        logs.append(None if answering.log is None else answering.log.tokens)
        segments.append(
            AnswerSegment(
                routed.route,
                routed.probability,
                routed.part,
                answering.response,
                answering.arguments,
                answering.problem,
                routed.follows,
                None if sure is None else _with_what_it_rests_on(sure.probability, routed, segments),
                [] if sure is None else list(sure.values),
                typed=routed.typed,
                filled=list(routed.filled),
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
        # An answer that the client holds to a form ends with that form.
        if answering.stopped == "end" and routed.route in bank.following and asked is None:
            if cancelled():  # an answer that its form leaves no choice does not ask
                stopped = "cancelled"
                break
            try:
                parts.appendleft(_next_step(backbone, bank, segments))
            except TokmemError as error:
                segments[-1].problem = f"The next step was not done: {error.message}"
    timing.total = time.perf_counter() - began
    response = SEGMENT_BREAK.join(segment.response for segment in segments)
    assert first is not None
    yield Answer(
        first, response, timing, stopped, segments, cut, whole_cut, context, prompt_tokens, without_history,
        _logged(segments, logs),
    )  # fmt: skip


def _logged(segments: Sequence[AnswerSegment], logs: Sequence[list[LoggedToken] | None]) -> list[LoggedToken] | None:
    """The tokens of all segments, with the breaks between them; None where some were not asked for or not generated."""
    if any(log is None or (segment.response and not log) for segment, log in zip(segments, logs, strict=True)):
        return None
    found: list[LoggedToken] = []
    for log in filter(None, logs):
        found += [LoggedToken(SEGMENT_BREAK, 0.0), *log] if found else log
    return found


def _with_what_it_rests_on(probability: float, routed: Routed, before: Sequence[AnswerSegment]) -> float | None:
    """The probability that an answer is right, with that of its route, or of the answer that it goes on with.

    None where nothing is known of the latter.
    """
    if routed.follows and before:
        rests_on = before[-1].answer_probability
        return None if rests_on is None else probability * rests_on
    return probability * (1.0 if routed.forced else routed.probability)


def _next_step(backbone: Backbone, bank: Bank, segments: Sequence[AnswerSegment]) -> Part:
    """The step of a chain that goes on with the last answer.

    Raises:
        NotFoundError: its procedure was removed, is not trained, or is switched off.
        GenerationError: the answer is empty, or is not what it has to be.
        IncompatibleError: the answer is longer than the context.
    """
    done = segments[-1]
    name = bank.following[done.route]
    if len(segments) >= MAX_CHAIN and all(segment.follows for segment in segments[1 - MAX_CHAIN :]):
        raise GenerationError(f"a chain has at most {MAX_CHAIN} steps.")
    if name not in bank.memories:
        which = f"{name!r} is not trained, or is switched off" if name else "its procedure was removed"
        raise NotFoundError(f"{which}.")
    if done.problem or not done.response.strip():
        raise GenerationError("there is no answer that it could go on with.")
    prefilled = backbone.prefill(
        [backbone.format.query(done.response)],
        feature_layers=bank.router.feature_layers,
        token_space=backbone.token_space,
    )
    routed = _forced(name, bank.router.candidates(prefilled)[0], done.response)
    return Part(replace(routed, follows=done.route), prefilled)


def _forced(route: str, candidates: list[Candidate], part: str) -> Routed:
    """A route that the text did not choose, with the probability that the router gives it."""
    known = {candidate.route: candidate.probability for candidate in candidates}
    return Routed(route, known.get(route, 0.0), candidates, forced=True, part=part)


def _turns(segments: Sequence[AnswerSegment], *, plain: bool) -> list[Turn]:
    """The earlier segments of a message with their answers as turns; with ``plain``, those of plain chat only."""
    seen = [segment for segment in segments if segment.response and (not plain or segment.route == NONE_ROUTE)]
    return [turn for segment in seen for turn in (Turn("user", segment.part), Turn("assistant", segment.response))]


def _parts(
    backbone: Backbone,
    bank: Bank,
    message: str,
    route: str,
    timing: Timing,
    began: float,
    cancelled: Callable[[], bool],
    *,
    whole: bool,
    fills_in: bool,
) -> Generator[Read, None, list[Part]]:
    """Run the message, find its segments unless it is answered as a whole, and choose their routes."""
    segment_tagger = bank.segment_tagger if route == AUTO_ROUTE and bank.memories and not whole else None
    query = backbone.format.query(message)
    steps = backbone.prefill_steps(
        [query],
        feature_layers=bank.router.feature_layers,
        token_space=backbone.token_space if bank.memories else None,
    )
    prefilled = yield from read(steps, "message", len(query), cancelled)
    timing.prefill = time.perf_counter() - began
    candidates = bank.router.candidates(prefilled)[0]
    if route == AUTO_ROUTE and bank.memories:
        candidates = route_inner(backbone, bank.router, [message], [candidates])[0]
    segments = []
    read_as = set[str]()
    cuts = None
    if segment_tagger is not None:
        cuts = propose_cuts(backbone, segment_tagger, message, prefilled.tokens[0])
    if segment_tagger is not None and cuts is not None:
        if fills_in:
            cuts, read_as = with_repeats(backbone, bank, message, cuts)
        steps = read_stretches(backbone, bank.router, segment_tagger, cuts)
        ran = yield from read(steps, "requests", cuts.token_count, cancelled)
        segments = choose_segments(bank.router, cuts, message, ran, candidates)
    timing.route = time.perf_counter() - began - timing.prefill
    if segments:
        return [
            Part(
                Routed(s.candidates[0].route, s.candidates[0].probability, s.candidates, False, i, s.text),
                None if s.text in read_as else s.prefilled,
            )
            for i, s in enumerate(segments)
        ]
    if route == AUTO_ROUTE:
        routed = Routed(candidates[0].route, candidates[0].probability, candidates, part=message)
    else:
        routed = _forced(route, candidates, message)
    return [Part(routed, prefilled)]
