"""Generate the answer to one segment of a message, under a procedure's memory or as plain chat.

Chooses between decoding token by token, beam search within a template, and extraction from the message. The segments
and their routes are chosen in ``recall``.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from tokmem_desk.backbone.chat_format import Turn
from tokmem_desk.backbone.conversation_cache import OwnedCache, fit_conversation
from tokmem_desk.errors import GenerationError, InterruptedByUser
from tokmem_desk.generation.beam import BeamSearch, search_width, width_within_memory
from tokmem_desk.generation.confidence import Signals, Sure, copied_signals, generated_signals, shift_in, sure_of
from tokmem_desk.generation.constrained import (
    CLOSING_TOKENS,
    ClosingConstraint,
    Constraint,
    FormConstraint,
    SchemaConstraint,
    constraint_of,
    reads_tokens,
    vocabulary_of,
)
from tokmem_desk.generation.decoding import (
    CHAT_TOKENS,
    PROCEDURE_TOKENS,
    Chooser,
    Sampling,
    TextStream,
    goes_in_circles,
    start_memory,
    step_each,
)
from tokmem_desk.generation.extraction import can_extract, extract
from tokmem_desk.generation.reading import read
from tokmem_desk.generation.repetition import RepetitionWatch, answers_to_other_questions
from tokmem_desk.generation.steps_together import StepPool
from tokmem_desk.generation.token_log import TokenLog
from tokmem_desk.generation.trace import Trace, trace_of
from tokmem_desk.generation.types import Bank, Piece, Read, Routed, Timing
from tokmem_desk.templates.answer_values import value_places
from tokmem_desk.templates.asked_form import AskedForm

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone
    from tokmem_desk.backbone.kv_state import JoinedBatch
    from tokmem_desk.backbone.prefill import Prefilled
    from tokmem_desk.memory.memory import Memory


@dataclass(slots=True)
class Part:
    """A segment to be answered.

    Attributes:
        routed: its route, and its words.
        prefilled: its query, run; None where it is to be run when it is needed.
    """

    routed: Routed
    prefilled: Prefilled | None

    def take(self) -> Prefilled | None:
        """Hand over what was run: keys and values of a long text are in memory no longer than they are needed."""
        taken, self.prefilled = self.prefilled, None
        return taken


class Answering:
    """Generates the answer to one segment; afterwards ``response``, ``stopped`` and the like hold the outcome."""

    def __init__(
        self,
        backbone: Backbone,
        bank: Bank,
        part: Part,
        conversation: Sequence[Turn],
        cache: OwnedCache | None,
        sampling: Sampling | None,
        max_tokens: int | None,
        cancelled: Callable[[], bool],
        timing: Timing,
        began: float,
        *,
        shuns_repeats: bool = False,
        asked: AskedForm | None = None,
        others: int | None = None,
        pool: StepPool | None = None,
    ) -> None:
        self._backbone, self._part, self._cancelled = backbone, part, cancelled
        self._pool = pool
        self._memory = bank.memories.get(part.routed.route)
        self._schema = None if self._memory is None else bank.schemas.get(part.routed.route)
        self._asked = None if asked is not None and asked.plain_only and self._memory is not None else asked
        if self._asked is not None:
            self._schema = None
        is_plan = self._memory is not None and asked is None and part.routed.route in bank.plans
        self._steps = bank.plans[part.routed.route] if is_plan else ""
        self._steps_grammar = bank.steps_grammar if is_plan else ""
        reads = part.routed.route in bank.conversation_aware
        # A system text is for plain chat: a procedure was trained without one.
        self._conversation = (
            conversation if self._memory is None else [turn for turn in conversation if turn.role != "system" and reads]
        )
        self._cache = cache
        self._ids: list[int] = []
        self._sampling, self._max_tokens = sampling, max_tokens
        self._timing, self._began = timing, began
        self._watch = RepetitionWatch(self._said_before()) if shuns_repeats and self._memory is None else None
        self.without_history = False
        """True after an answer that repeated an earlier one was started again without the conversation."""
        self.response = ""
        self.stopped = "length"
        self.turns_cut = 0
        self.context_tokens = self.prompt_tokens = 0
        self.arguments: dict[str, object] | None = None
        self.problem = ""
        self.sure: Sure | None = None
        """How probable it is that a procedure's answer is right; None in plain chat, and where it is not whole."""
        self.signals: Signals | None = None
        """What ``sure`` was found from."""
        self._trace: Trace | None = None
        self.log = None if others is None else TokenLog(others, backbone.format.decode)
        """The answer's tokens, where they are asked for; they stay empty where it is copied."""

    def _said_before(self) -> list[str]:
        """Earlier answers in the conversation to other questions than this one."""
        turns = [turn for turn in self._conversation if turn.role != "system"]
        said = [
            (question.content, answer.content)
            for question, answer in itertools.pairwise(turns)
            if question.role == "user" and answer.role == "assistant"
        ]
        return answers_to_other_questions(said, self._part.routed.part)

    def _forget_history(self) -> None:
        """Start again with the system text alone, because the answer repeated an earlier one."""
        self.without_history, self._watch = True, None
        self._conversation = [turn for turn in self._conversation if turn.role == "system"]
        self._ids, self.turns_cut, self.stopped = [], 0, "length"
        if self.log is not None:
            self.log.tokens.clear()

    def _read_part(self, *, tokens: bool = False) -> Generator[Read, None, Prefilled]:
        """The part of the message as a query of its own, which has mostly been run to find its route.

        Args:
            tokens: with its tokens in the backbone's token space.
        """
        prefilled = self._part.take()
        if prefilled is not None:
            return prefilled
        query = self._backbone.format.query(self._part.routed.part)
        steps = self._backbone.prefill_steps([query], token_space=self._backbone.token_space if tokens else None)
        return (yield from read(steps, "message", len(query), self._cancelled))

    def _start(self, limit: int) -> Generator[Read, None, tuple[JoinedBatch, Tensor]]:
        """The batch to extend, and the [v] logits of the first token."""
        backbone = self._backbone
        if self._conversation:
            self._part.take()
            turns = [*self._conversation, Turn("user", self._part.routed.part)]
            room = limit + (0 if self._memory is None else self._memory.steering.span)
            self._ids, self.turns_cut = fit_conversation(backbone, turns, room=room)
            steps = None if self._cache is None else self._cache.run_steps(self._ids)
            if steps is None:
                steps = backbone.prefill_steps([self._ids])
            prefilled = yield from read(steps, "conversation", len(self._ids), self._cancelled)
        else:
            prefilled = yield from self._read_part()
            if self._memory is None and self._cache is not None:
                # The first turn of a conversation has been run to find its route.
                self._ids = backbone.format.query(self._part.routed.part)
        if self._memory is not None:
            return start_memory(backbone, self._memory, prefilled)
        return backbone.layout.join(prefilled.states, [None]), backbone.logits(prefilled.last_hidden)[0]

    def pieces(self) -> Iterator[Read | Piece]:
        """Generate until the end, the limit, or a stop."""
        try:
            yield from self._pieces()
        except InterruptedByUser:
            self.stopped = "cancelled"

    def _pieces(self) -> Iterator[Read | Piece]:
        backbone = self._backbone
        usual = CHAT_TOKENS if self._memory is None else PROCEDURE_TOKENS
        limit = usual if self._max_tokens is None else self._max_tokens
        if self._steps:  # a plan that a person has written: there is nothing to generate
            self.response, self.stopped = self._steps, "end"
            yield Piece(self._steps)
            return
        has_conversation = bool(self._conversation)
        if (
            self._memory is not None
            and self._asked is None
            and can_extract(backbone, self._memory, conversation=has_conversation)
        ):
            copied = yield from self._copy(self._memory, limit)
            if copied is not None:
                yield copied
                return
        # Values of an answer that reads the conversation may come from there.
        message = None if has_conversation else self._part.routed.part
        tokens = None if message is None else (yield from self._tokens())
        constraint = constraint_of(backbone, self._memory, self._schema, message, self._asked, tokens)
        if constraint is None and self._steps_grammar:
            constraint = Constraint(vocabulary_of(backbone), self._steps_grammar)
        generate = self._search if search_width(backbone, constraint) > 1 else self._token_by_token
        count = self._timing.tokens
        yield from self._generate(generate, constraint, limit)
        if self._watch is not None and self._watch.found:
            self._forget_history()
            self._timing.tokens = count  # those tokens were not shown
            yield from self._generate(generate, constraint, limit)
        # What a client holds an answer to says nothing of the values that the pairs have.
        whole = self.stopped == "end" and not self.problem and self._asked is None
        if self._memory is not None and self._trace is not None and whole:
            self._judge(self._memory, self._trace, constraint)

    def _tokens(self) -> Generator[Read, None, Tensor | None]:
        """[t x k] float32 tokens of the message in the backbone's token space, where the form points at values."""
        if not reads_tokens(self._memory):
            return None
        prefilled = yield from self._read_part(tokens=True)
        self._part.prefilled = prefilled
        return prefilled.tokens[0] if prefilled.tokens else None

    def _judge(self, memory: Memory, trace: Trace, constraint: Constraint | None) -> None:
        """Say how probable it is that a generated answer is right."""
        form = memory.answer_template if isinstance(constraint, FormConstraint) and constraint.followed else None
        places = value_places(form, self._part.routed.part, self.response)
        decode = self._backbone.format.decode if constraint is None else constraint.decode
        self.signals = generated_signals(trace, places, decode)
        self.sure = sure_of(self.signals, places, self.response, shift_in(memory.settings))

    def _generate(
        self, generate: Callable[..., Iterator[Piece]], constraint: Constraint | None, limit: int
    ) -> Iterator[Read | Piece]:
        backbone = self._backbone
        batch, logits = yield from self._start(limit)
        self.context_tokens = self.prompt_tokens = int(batch.lengths[0])
        room = backbone.context_length - self.prompt_tokens
        limit = min(limit, room if self._schema is None and self._asked is None else max(1, room - CLOSING_TOKENS))
        stream = TextStream(backbone.format.decode if constraint is None else constraint.decode)
        if self.log is not None:
            self.log.decode = stream.decode
        yield from generate(batch, logits, constraint, stream, limit)

    def _token_by_token(
        self, batch: JoinedBatch, logits: Tensor, constraint: Constraint | None, stream: TextStream, limit: int
    ) -> Iterator[Piece]:
        """Decode token by token: plain chat, free answers, and answers held to a schema. Greedy, or sampled."""
        backbone = self._backbone
        stop_text = backbone.format.stop_text if self._memory is None else None
        closing = constraint if isinstance(constraint, ClosingConstraint) else None
        schema = constraint if isinstance(constraint, SchemaConstraint) else None
        chooser = Chooser(self._sampling, greedy=self._memory is not None)
        logs: list[float] = []
        end = 0.0
        try:
            for length in range(limit if closing is None else limit + CLOSING_TOKENS):
                if self._cancelled():
                    self.stopped = "cancelled"
                    break
                if constraint is not None:
                    if length == limit and closing is not None:
                        closing.close()
                    logits = constraint.mask(logits)
                token = chooser.pick(logits, self._ids or stream.ids)
                self._count(1)
                wanted = self._memory is not None or self.log is not None
                log = float(logits.float().log_softmax(dim=-1)[token]) if wanted else 0.0
                if token in backbone.format.stop_ids:
                    end = log
                    self.stopped = "end" if length < limit else "length"
                    break
                tokens = [token] if constraint is None else [token, *constraint.take(token)]
                logs += [log, *(0.0 for _ in tokens[1:])]
                others = () if self.log is None else self.log.others_of(logits, stream.ids)
                pieces = [stream.add(token_id) for token_id in tokens]
                piece = "".join(pieces)
                if self.log is not None:
                    self.log.add(pieces[0], log, others)
                    for forced in pieces[1:]:
                        self.log.add(forced, 0.0, ((forced, 0.0),) if others else ())
                self._count(len(tokens) - 1)
                if stop_text is not None and stop_text in stream.shown:
                    self.stopped = "end"
                    break
                if piece and self._watch is not None:
                    piece = self._watch.add(piece)
                    if self._watch.found:
                        return
                complete = constraint is not None and constraint.complete
                circling = not complete and self._memory is None and goes_in_circles(stream.ids)
                if complete or circling:
                    if piece:
                        yield Piece(piece)
                    self.stopped = "repeats" if circling else "end" if length < limit else "length"
                    break
                logits = (yield from self._step(batch, [tokens], piece))[0]
                self._ids += tokens
        except GenerationError as error:
            self.problem = str(error)
        rest = stream.finish()
        if self._watch is not None:
            rest = self._watch.add(rest)
            if self.stopped != "cancelled":
                self._watch.end()
                if self._watch.found:
                    return
            rest = self._watch.release() + rest
        if self._cache is not None and self._memory is None:
            self._cache.keep_answer(self._ids, batch)
        if rest:
            yield Piece(rest)
        self.response = stream.shown
        if stop_text is not None:
            self.response = self.response.split(stop_text)[0].rstrip()
        if schema is not None and not self.problem and self.stopped != "cancelled":
            self._read_arguments(schema)
        self._trace = Trace(self.response, tuple(stream.ids), tuple(logs), end)

    def _step(self, batch: JoinedBatch, tokens: Sequence[Sequence[int]], piece: str) -> Generator[Piece, None, Tensor]:
        """Show a piece, which gives others a turn, and append tokens to each sample; [b x v] logits of the next.

        With a pool the step is asked for first, so that it can be computed with those of the others; and where there is
        nothing to show, an empty piece gives them their turn.
        """
        if self._pool is None:
            if piece:
                yield Piece(piece)
            return step_each(self._backbone, batch, tokens)
        ahead = self._pool.ask(batch, tokens)
        try:
            yield Piece(piece)
            return self._pool.take(ahead)
        finally:
            self._pool.drop(ahead)

    def _search(
        self, batch: JoinedBatch, logits: Tensor, constraint: Constraint | None, stream: TextStream, limit: int
    ) -> Iterator[Piece]:
        """Decode by beam search; a piece is emitted as soon as all remaining answers begin with it."""
        backbone = self._backbone
        width = width_within_memory(batch)
        search = BeamSearch(constraint, backbone.format.stop_ids, width=width, ahead=True)
        logits = logits[None]
        self.stopped = "end"
        while grown := search.advance(logits):
            piece = self._take_in(stream, search.settled)
            if search.length >= limit or self._cancelled():
                if piece:
                    yield Piece(piece)
                self.stopped = "cancelled" if self._cancelled() else "end" if search.finished else "length"
                break
            batch.select([answer.row for answer in grown])
            logits = yield from self._step(batch, [answer.tokens for answer in grown], piece)
            if self._cancelled():
                self.stopped = "cancelled"
                break
        if self.stopped != "cancelled" and (piece := self._take_in(stream, search.best.ids)):
            yield Piece(piece)
        if rest := stream.finish():
            yield Piece(rest)
        self.response = stream.shown
        self._trace = trace_of(search, self.response)
        if self.log is not None:
            self.log.add_all(self._trace.ids, self._trace.logs)

    def _take_in(self, stream: TextStream, ids: Sequence[int]) -> str:
        """The text of the new part of an answer that begins with these tokens."""
        new = ids[len(stream.ids) :]
        self._count(len(new))
        return "".join(stream.add(token_id) for token_id in new)

    def _count(self, tokens: int) -> None:
        """Count generated tokens."""
        if tokens and self._timing.tokens == 0:
            self._timing.first_token = time.perf_counter() - self._began
        self._timing.tokens += tokens
        self.context_tokens += tokens

    def _copy(self, memory: Memory, limit: int) -> Generator[Read, None, Piece | None]:
        """The answer of a memory with an extractor, all of it at once.

        Returns:
            The answer; None where it is to be generated, since no words of the message make one that fits the schema
            and the limit.
        """
        backbone, timing, part = self._backbone, self._timing, self._part
        prefilled = yield from self._read_part(tokens=True)
        copied = extract(backbone, memory, part.routed.part, prefilled, limit=limit, schema=self._schema)
        if copied is None:
            part.prefilled = prefilled
            return None
        self.response = copied.text
        if copied.whole:
            self.stopped = "end"
            places = value_places(None, part.routed.part, copied.text)
            self.signals = copied_signals(copied.logs, copied.others, places)
            self.sure = sure_of(self.signals, places, copied.text, shift_in(memory.settings))
        self.prompt_tokens = len(backbone.format.query(part.routed.part))
        self.context_tokens = self.prompt_tokens + copied.tokens
        if timing.tokens == 0:
            timing.first_token = time.perf_counter() - self._began
        timing.tokens += copied.tokens
        if self._schema is not None:
            self._read_arguments(SchemaConstraint(vocabulary_of(backbone), self._schema))
            if self.problem:
                self.sure = None
        return Piece(copied.text)

    def _read_arguments(self, constraint: SchemaConstraint) -> None:
        try:
            self.arguments = constraint.arguments(self.response)
        except GenerationError as error:
            self.problem = str(error)
