"""Recall: read the message once, choose a memory or none, answer under it.

An answer is a list of segments, most often one: each has its route, its own part of the message and its
explicit end, and memories are chosen between segments only.

One prefill of the query serves the router and the answer. A procedure sees the current message alone;
``none`` is plain chat in the model's own template and sees the conversation. Memory tokens never stand in
the softmax of an answer, so none can appear inside one. Banks come as arguments; nothing is kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tokmem_desk.chat_format import Turn
from tokmem_desk.constrained import CLOSING_TOKENS, Constraint
from tokmem_desk.conversation import OwnedCache, fit_conversation
from tokmem_desk.errors import GenerationError, NotFoundError, did_you_mean
from tokmem_desk.procedures import AUTO_ROUTE, NONE_ROUTE
from tokmem_desk.requests import find_requests

if TYPE_CHECKING:
    from tokmem_desk.backbone import Backbone
    from tokmem_desk.memory import Memory
    from tokmem_desk.output_schema import OutputSchema
    from tokmem_desk.prefill import Prefilled
    from tokmem_desk.query_state import JoinedBatch
    from tokmem_desk.routing import Candidate, Router
    from tokmem_desk.splitting import Splitter

PROCEDURE_TOKENS = 256
CHAT_TOKENS = 512
"""Longest answers (of one segment), in tokens, unless a caller says otherwise."""

SEGMENT_BREAK = "\n"
"""Stands between the responses of two segments."""


@dataclass(frozen=True, slots=True)
class Bank:
    """A profile's memories that may answer now, with the router over them.

    ``memories`` are the enabled ones; their names are the routes. ``schemas`` has those of procedures whose
    answers must have a form, ``readers`` the names of those that read the conversation. Without a ``splitter`` every
    message is one request.
    """

    memories: dict[str, Memory]
    router: Router
    schemas: Mapping[str, OutputSchema] = field(default_factory=dict)
    readers: frozenset[str] = frozenset()
    splitter: Splitter | None = None


@dataclass(frozen=True, slots=True)
class Sampling:
    """How plain chat picks tokens. Procedures always decode greedily unless ``everywhere``."""

    temperature: float = 0.0
    """0 is greedy."""
    top_p: float = 0.95
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Routed:
    """The route of a segment; ``candidates`` best first, ``none`` among them.

    Attributes:
        segment: place in the answer, from 0.
        part: what of the message the segment answers; all of it when the answer has one segment.
    """

    route: str
    probability: float
    candidates: list[Candidate]
    forced: bool = False
    segment: int = 0
    part: str = ""


@dataclass(frozen=True, slots=True)
class Piece:
    """Text that has just been generated."""

    text: str


@dataclass(frozen=True, slots=True)
class Segment:
    """One procedure's share of an answer, or plain chat's.

    Attributes:
        part: what of the message it answers.
        arguments: the response as a call's arguments, where the procedure has a schema; else None.
        problem: why there are no arguments although the procedure has a schema, or an empty string.
    """

    route: str
    probability: float
    part: str
    response: str
    arguments: dict[str, object] | None = None
    problem: str = ""


@dataclass(slots=True)
class Timing:
    """Seconds since the start of recall; ``tokens`` counts generated ones."""

    prefill: float = 0.0
    route: float = 0.0
    first_token: float = 0.0
    total: float = 0.0
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """The end of a recall. ``stopped`` is ``end``, ``length`` or ``cancelled``.

    Attributes:
        routed: the route of the first segment.
        response: the responses of all segments, a line break between them.
        segments: in the order in which they were answered, at least one.
        turns_cut: how many of the oldest messages no longer fitted the context.
        context_tokens: positions of the context that the largest segment took, answer included.
        prompt_tokens: positions before the first token, of all segments together, those of memories included.
    """

    routed: Routed
    response: str
    timing: Timing
    stopped: str
    segments: list[Segment]
    turns_cut: int = 0
    context_tokens: int = 0
    prompt_tokens: int = 0


@dataclass(slots=True)
class _Stream:
    """Turns ids into text piece by piece, never cutting a character in two."""

    decode: Callable[[list[int]], str]
    ids: list[int] = field(default_factory=list)
    shown: str = ""

    def add(self, token: int) -> str:
        self.ids.append(token)
        text = self.decode(self.ids)
        return "" if text.endswith("\ufffd") else self._show(text)

    def finish(self) -> str:
        """What was held back because it might have become a whole character."""
        return self._show(self.decode(self.ids))

    def _show(self, text: str) -> str:
        piece, self.shown = text[len(self.shown) :], text
        return piece


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
) -> Iterator[Routed | Piece | Answer]:
    """Answer one message; yields, for each segment, its route and pieces of text, and at last the whole.

    Args:
        route: ``auto``, ``none`` or the name of a memory in the bank; a forced route never falls back.
        conversation: earlier turns, oldest first, for plain chat; the first may be a system text.
        whole: the conversation as procedures see it that read it; the same one when None.
        cache: keeps what of the conversation has been run for its next turn.
        sampling: None decodes greedily.
        max_tokens: longest answer; None takes the default of the route's kind.
        cancelled: asked between tokens.

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
    segments: list[Segment] = []
    stopped, cut, context, prompt_tokens = "end", 0, 0, 0
    for part in parts:
        if segments:
            yield Piece(SEGMENT_BREAK)
        yield part.routed
        reads = part.routed.route in bank.readers
        seen = conversation if not reads or whole is None else whole
        answering = _Answering(backbone, bank, part, seen, cache, sampling, max_tokens, cancelled, timing, began)
        yield from answering.pieces()
        routed = part.routed
        segments.append(
            Segment(
                routed.route,
                routed.probability,
                routed.part,
                answering.response,
                answering.arguments,
                answering.problem,
            )
        )
        cut, context = max(cut, answering.turns_cut), max(context, answering.context_tokens)
        prompt_tokens += answering.prompt_tokens
        if answering.stopped != "end":
            stopped = answering.stopped
        if stopped == "cancelled":
            break
    timing.total = time.perf_counter() - began
    response = SEGMENT_BREAK.join(segment.response for segment in segments)
    yield Answer(parts[0].routed, response, timing, stopped, segments, cut, context, prompt_tokens)


@dataclass(frozen=True, slots=True)
class _Part:
    """What one segment answers: its route, and its query, run."""

    routed: Routed
    prefilled: Prefilled


def _parts(backbone: Backbone, bank: Bank, message: str, route: str, timing: Timing, began: float) -> list[_Part]:
    """Run the message, find its requests and choose their routes."""
    splitter = bank.splitter if route == AUTO_ROUTE and bank.memories else None
    prefilled = backbone.prefill(
        [backbone.format.query(message)],
        feature_layers=bank.router.feature_layers,
        token_layers=backbone.token_space.layers if backbone.token_space and bank.memories else (),
    )
    timing.prefill = time.perf_counter() - began
    candidates = bank.router.candidates(prefilled)[0]
    requests = []
    if splitter is not None:
        requests = find_requests(backbone, bank.router, splitter, message, prefilled.tokens[0], candidates)
    timing.route = time.perf_counter() - began - timing.prefill
    if requests:
        return [
            _Part(
                Routed(r.candidates[0].route, r.candidates[0].probability, r.candidates, False, i, r.text), r.prefilled
            )
            for i, r in enumerate(requests)
        ]
    if route == AUTO_ROUTE:
        routed = Routed(candidates[0].route, candidates[0].probability, candidates, part=message)
    else:
        known = {c.route: c.probability for c in candidates}
        routed = Routed(route, known.get(route, 0.0), candidates, forced=True, part=message)
    return [_Part(routed, prefilled)]


class _Answering:
    """Generates one segment; afterwards ``response``, ``stopped`` and the like tell what came of it."""

    def __init__(
        self,
        backbone: Backbone,
        bank: Bank,
        part: _Part,
        conversation: Sequence[Turn],
        cache: OwnedCache | None,
        sampling: Sampling | None,
        max_tokens: int | None,
        cancelled: Callable[[], bool],
        timing: Timing,
        began: float,
    ) -> None:
        self._backbone, self._part, self._cancelled = backbone, part, cancelled
        self._memory = bank.memories.get(part.routed.route)
        self._schema = None if self._memory is None else bank.schemas.get(part.routed.route)
        reads = self._memory is None or part.routed.route in bank.readers
        self._conversation = conversation if reads else ()
        self._cache = cache
        self._ids: list[int] = []
        self._sampling, self._max_tokens = sampling, max_tokens
        self._timing, self._began = timing, began
        self.response = ""
        self.stopped = "length"
        self.turns_cut = 0
        self.context_tokens = self.prompt_tokens = 0
        self.arguments: dict[str, object] | None = None
        self.problem = ""

    def _start(self, limit: int) -> tuple[JoinedBatch, Tensor]:
        """The batch to extend, and the logits of the first token."""
        backbone, prefilled = self._backbone, self._part.prefilled
        if self._conversation:
            turns = [*self._conversation, Turn("user", self._part.routed.part)]
            room = limit + (0 if self._memory is None else self._memory.steering.span)
            self._ids, self.turns_cut = fit_conversation(backbone, turns, room=room)
            kept = None if self._cache is None else self._cache.run(self._ids)
            prefilled = backbone.prefill([self._ids]) if kept is None else kept
        elif self._memory is None and self._cache is not None:
            # The first turn of a conversation has been run to find its route.
            self._ids = backbone.format.query(self._part.routed.part)
        if self._memory is not None:
            return start_memory(backbone, self._memory, prefilled)
        return backbone.layout.join(prefilled.states, [None]), backbone.logits(prefilled.last_hidden)[0]

    def pieces(self) -> Iterator[Piece]:
        """Generate until the end, the limit, or a stop."""
        backbone, timing = self._backbone, self._timing
        usual = CHAT_TOKENS if self._memory is None else PROCEDURE_TOKENS
        limit = usual if self._max_tokens is None else self._max_tokens
        stop_text = backbone.format.stop_text if self._memory is None else None
        if self._memory is not None and not self._conversation and can_read(backbone, self._memory):
            yield self._read(self._memory)
            return
        batch, logits = self._start(limit)
        self.context_tokens = self.prompt_tokens = int(batch.lengths[0])
        room = backbone.context_length - self.prompt_tokens
        limit = min(limit, room if self._schema is None else max(1, room - CLOSING_TOKENS))
        constraint = None if self._schema is None else Constraint(backbone.vocabulary, self._schema)
        stream = _Stream(backbone.format.decode if constraint is None else constraint.decode)
        chooser = Chooser(self._sampling, greedy=self._memory is not None)
        try:
            for place in range(limit if constraint is None else limit + CLOSING_TOKENS):
                if self._cancelled():
                    self.stopped = "cancelled"
                    break
                if constraint is not None:
                    if place == limit:
                        constraint.close()
                    logits = constraint.mask(logits)
                token = chooser.pick(logits)
                if timing.tokens == 0:
                    timing.first_token = time.perf_counter() - self._began
                timing.tokens += 1
                self.context_tokens += 1
                if token in backbone.format.stop_ids:
                    self.stopped = "end" if place < limit else "length"
                    break
                tokens = [token] if constraint is None else [token, *constraint.take(token)]
                piece = "".join(stream.add(one) for one in tokens)
                timing.tokens += len(tokens) - 1
                self.context_tokens += len(tokens) - 1
                if stop_text is not None and stop_text in stream.shown:
                    self.stopped = "end"
                    break
                if piece:
                    yield Piece(piece)
                if constraint is not None and constraint.complete:
                    self.stopped = "end" if place < limit else "length"
                    break
                logits = step(backbone, batch, *tokens)
                self._ids += tokens
        except GenerationError as error:
            self.problem = str(error)
        if self._cache is not None and self._memory is None:
            self._cache.keep_answer(self._ids, batch)
        if rest := stream.finish():
            yield Piece(rest)
        self.response = stream.shown
        if stop_text is not None:
            self.response = self.response.split(stop_text)[0].rstrip()
        if constraint is not None and not self.problem and self.stopped != "cancelled":
            self._read_arguments(constraint)

    def _read(self, memory: Memory) -> Piece:
        """The answer of a memory with a reader: all of it at once."""
        backbone, timing = self._backbone, self._timing
        self.response = read(backbone, memory, self._part.routed.part, self._part.prefilled)
        self.stopped = "end"
        tokens = len(backbone.format.encode_text(self.response))
        self.prompt_tokens = len(backbone.format.query(self._part.routed.part))
        self.context_tokens = self.prompt_tokens + tokens
        if timing.tokens == 0:
            timing.first_token = time.perf_counter() - self._began
        timing.tokens += tokens
        if self._schema is not None:
            self._read_arguments(Constraint(backbone.vocabulary, self._schema))
        return Piece(self.response)

    def _read_arguments(self, constraint: Constraint) -> None:
        try:
            self.arguments = constraint.arguments(self.response)
        except GenerationError as error:
            self.problem = str(error)


def can_read(backbone: Backbone, memory: Memory) -> bool:
    """Whether a memory's reader answers here."""
    reader, space = memory.steering.reader, backbone.token_space
    return reader is not None and space is not None and reader.space == space.digest


def read(backbone: Backbone, memory: Memory, message: str, prefilled: Prefilled) -> str:
    """The response that a memory reads off a message; only where ``can_read``.

    Args:
        prefilled: the message run alone, with the token space's layers.
    """
    reader, space = memory.steering.reader, backbone.token_space
    assert reader is not None and space is not None
    return reader.response(reader.read(message, backbone.format.places(message), prefilled.tokens[0], space))


@torch.no_grad()
def start_memory(backbone: Backbone, memory: Memory, prefilled: Prefilled) -> tuple[JoinedBatch, Tensor]:
    """Put a memory behind one prefilled query; returns the batch and the [v] logits of the first token."""
    state = prefilled.states[0]
    batch = backbone.layout.join([state], [memory.steering.layer_rows(backbone, state.length)])
    with backbone.forms.decoding():
        hidden = backbone.extend(batch, backbone.embed_rows(memory.steering.rows)[None])
    return batch, backbone.logits(hidden[0, -1])


@torch.no_grad()
def step(backbone: Backbone, batch: JoinedBatch, *tokens: int) -> Tensor:
    """Append tokens, most often one, to a batch of one; returns the [v] logits of the next."""
    ids = torch.tensor([tokens], device=backbone.torch_device)
    with backbone.forms.decoding():
        hidden = backbone.extend(batch, backbone.embed_ids(ids))
    return backbone.logits(hidden[0, -1])


def answer_messages(
    backbone: Backbone,
    messages: Sequence[str],
    memories: Sequence[Memory | None],
    *,
    max_tokens: int,
    rows_at_once: int,
    schemas: Sequence[OutputSchema | None] = (),
) -> list[str]:
    """Answers to messages, each under its own memory: read where it has a reader, else greedy, see ``answer_batch``."""
    answers = [""] * len(messages)
    reading = [i for i, memory in enumerate(memories) if memory is not None and can_read(backbone, memory)]
    for start in range(0, len(reading), rows_at_once):
        rows = reading[start : start + rows_at_once]
        space = backbone.token_space
        assert space is not None
        done = backbone.prefill(
            [backbone.format.query(messages[i]) for i in rows], keep_states=False, token_layers=space.layers
        )
        for place, i in enumerate(rows):
            memory = memories[i]
            assert memory is not None
            answers[i] = read(backbone, memory, messages[i], done.row(place))
    others = [i for i in range(len(messages)) if i not in set(reading)]
    queries = [backbone.format.query(messages[i]) for i in others]
    texts = answer_batch(
        backbone,
        queries,
        [memories[i] for i in others],
        schemas=[schemas[i] for i in others] if schemas else (),
        max_tokens=max_tokens,
        rows_at_once=rows_at_once,
    )
    for i, text in zip(others, texts, strict=True):
        answers[i] = text
    return answers


@torch.no_grad()
def answer_batch(
    backbone: Backbone,
    messages: Sequence[Sequence[int]],
    memories: Sequence[Memory | None],
    *,
    schemas: Sequence[OutputSchema | None] = (),
    max_tokens: int = PROCEDURE_TOKENS,
    rows_at_once: int = 16,
    between: Callable[[], None] = lambda: None,
) -> list[str]:
    """Greedy answers to many queries, each under its own memory (None: the untrained backbone).

    For evaluation: stored weights throughout, several queries in a batch.

    Args:
        messages: token ids of each query.
        memories: one per query; a batch may mix them.
        schemas: one per query where answers must have a form; none of them when empty.
        between: called after every token, so that others get a turn.
    """
    order = sorted(range(len(messages)), key=lambda i: len(messages[i]))
    answers = [""] * len(messages)
    forms = schemas or [None] * len(messages)
    for start in range(0, len(order), rows_at_once):
        rows = order[start : start + rows_at_once]
        # A batch has one number of input rows; plain queries and memories of other shapes go apart.
        by_rows: dict[int, list[int]] = {}
        for i in rows:
            memory = memories[i]
            by_rows.setdefault(0 if memory is None else memory.steering.rows.shape[0], []).append(i)
        for count, members in by_rows.items():
            texts = _answer_part(
                backbone,
                [messages[i] for i in members],
                [memories[i] for i in members],
                [forms[i] for i in members],
                count,
                max_tokens,
                between,
            )
            for i, text in zip(members, texts, strict=True):
                answers[i] = text
    return answers


def _answer_part(
    backbone: Backbone,
    queries: Sequence[Sequence[int]],
    memories: Sequence[Memory | None],
    schemas: Sequence[OutputSchema | None],
    row_count: int,
    max_tokens: int,
    between: Callable[[], None],
) -> list[str]:
    done = backbone.prefill(queries)
    rows = [
        None if m is None else m.steering.layer_rows(backbone, s.length)
        for m, s in zip(memories, done.states, strict=True)
    ]
    batch = backbone.layout.join(done.states, rows)
    if row_count:
        inputs = torch.stack([backbone.embed_rows(m.steering.rows) for m in memories if m is not None])
        last = backbone.extend(batch, inputs)[:, -1]
    else:
        last = done.last_hidden
    constraints = [None if schema is None else Constraint(backbone.vocabulary, schema) for schema in schemas]
    ids: list[list[int]] = [[] for _ in queries]
    open_rows = set(range(len(queries)))
    for _ in range(max_tokens):
        logits = backbone.logits(last)
        for i, constraint in enumerate(constraints):
            if constraint is not None and i in open_rows:
                try:
                    logits[i] = constraint.mask(logits[i])
                except GenerationError:  # what came so far is what is measured
                    open_rows.discard(i)
        tokens = logits.argmax(dim=-1)
        for i, token in enumerate(tokens.tolist()):
            if i in open_rows:
                if token in backbone.format.stop_ids:
                    open_rows.discard(i)
                else:
                    ids[i].append(token)
                    if (constraint := constraints[i]) is not None:
                        constraint.take(token, ahead=False)
                        if constraint.complete:
                            open_rows.discard(i)
        between()
        if not open_rows:
            break
        last = backbone.extend(batch, backbone.embed_ids(tokens[:, None]))[:, -1]
    texts = [backbone.format.decode(answer) for answer in ids]
    stop_text = backbone.format.stop_text
    return [text.split(stop_text)[0].rstrip() if stop_text and not row_count else text for text in texts]


class Chooser:
    """Picks the next token: greedy, or by temperature and nucleus."""

    def __init__(self, sampling: Sampling | None, *, greedy: bool) -> None:
        self._sampling = None if greedy or sampling is None or sampling.temperature <= 0 else sampling
        self._generator = torch.Generator()
        if self._sampling is not None and self._sampling.seed is not None:
            self._generator.manual_seed(self._sampling.seed)
        else:
            self._generator.seed()

    def pick(self, logits: Tensor) -> int:
        if self._sampling is None:
            return int(logits.argmax())
        probabilities = torch.softmax(logits.float().cpu() / self._sampling.temperature, dim=-1)
        ordered, ids = probabilities.sort(descending=True)
        # The nucleus: the fewest tokens whose mass reaches top_p, never less than one.
        beyond = ordered.cumsum(0) - ordered >= self._sampling.top_p
        ordered = ordered.masked_fill(beyond, 0.0)
        return int(ids[torch.multinomial(ordered, 1, generator=self._generator)])
