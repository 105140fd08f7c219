"""Generate the answer to one segment of a message, under a procedure's memory or as plain chat.

Chooses between decoding token by token, beam search within a template, and extraction from the message. The segments
and their routes are chosen in ``recall``.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from tokmem_desk.backbone.chat_format import Turn
from tokmem_desk.backbone.conversation_cache import OwnedCache, fit_conversation
from tokmem_desk.errors import GenerationError
from tokmem_desk.generation.beam import BeamSearch, search_width
from tokmem_desk.generation.constrained import CLOSING_TOKENS, SchemaConstraint, constraint_of, vocabulary_of
from tokmem_desk.generation.decoding import (
    CHAT_TOKENS,
    PROCEDURE_TOKENS,
    Chooser,
    Sampling,
    TextStream,
    goes_in_circles,
    start_memory,
    step,
    step_each,
)
from tokmem_desk.generation.extraction import can_extract, extract
from tokmem_desk.generation.repetition import RepetitionWatch, answers_to_other_questions
from tokmem_desk.generation.types import Bank, Piece, Routed, Timing

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone
    from tokmem_desk.backbone.kv_state import JoinedBatch
    from tokmem_desk.backbone.prefill import Prefilled
    from tokmem_desk.generation.constrained import Constraint
    from tokmem_desk.memory.memory import Memory


@dataclass(frozen=True, slots=True)
class Part:
    """A segment to be answered: its route, and the prefill of its query."""

    routed: Routed
    prefilled: Prefilled


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
    ) -> None:
        self._backbone, self._part, self._cancelled = backbone, part, cancelled
        self._memory = bank.memories.get(part.routed.route)
        self._schema = None if self._memory is None else bank.schemas.get(part.routed.route)
        reads = self._memory is None or part.routed.route in bank.conversation_aware
        self._conversation = conversation if reads else ()
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

    def _start(self, limit: int) -> tuple[JoinedBatch, Tensor]:
        """The batch to extend, and the [v] logits of the first token."""
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
        backbone = self._backbone
        usual = CHAT_TOKENS if self._memory is None else PROCEDURE_TOKENS
        limit = usual if self._max_tokens is None else self._max_tokens
        has_conversation = bool(self._conversation)
        if self._memory is not None and can_extract(backbone, self._memory, conversation=has_conversation):
            copied = self._copy(self._memory, limit)
            if copied is not None:
                yield copied
                return
        # Values of an answer that reads the conversation may come from there.
        message = None if has_conversation else self._part.routed.part
        constraint = constraint_of(backbone, self._memory, self._schema, message)
        generate = self._search if search_width(backbone, constraint) > 1 else self._token_by_token
        tokens = self._timing.tokens
        yield from self._generate(generate, constraint, limit)
        if self._watch is not None and self._watch.found:
            self._forget_history()
            self._timing.tokens = tokens  # those tokens were not shown
            yield from self._generate(generate, constraint, limit)

    def _generate(
        self, generate: Callable[..., Iterator[Piece]], constraint: Constraint | None, limit: int
    ) -> Iterator[Piece]:
        backbone = self._backbone
        batch, logits = self._start(limit)
        self.context_tokens = self.prompt_tokens = int(batch.lengths[0])
        room = backbone.context_length - self.prompt_tokens
        limit = min(limit, room if self._schema is None else max(1, room - CLOSING_TOKENS))
        stream = TextStream(backbone.format.decode if constraint is None else constraint.decode)
        yield from generate(batch, logits, constraint, stream, limit)

    def _token_by_token(
        self, batch: JoinedBatch, logits: Tensor, constraint: Constraint | None, stream: TextStream, limit: int
    ) -> Iterator[Piece]:
        """Decode token by token: plain chat, free answers, and answers held to a schema. Greedy, or sampled."""
        backbone = self._backbone
        stop_text = backbone.format.stop_text if self._memory is None else None
        schema = constraint if isinstance(constraint, SchemaConstraint) else None
        chooser = Chooser(self._sampling, greedy=self._memory is not None)
        try:
            for length in range(limit if schema is None else limit + CLOSING_TOKENS):
                if self._cancelled():
                    self.stopped = "cancelled"
                    break
                if constraint is not None:
                    if length == limit and schema is not None:
                        schema.close()
                    logits = constraint.mask(logits)
                token = chooser.pick(logits, self._ids or stream.ids)
                self._count(1)
                if token in backbone.format.stop_ids:
                    self.stopped = "end" if length < limit else "length"
                    break
                tokens = [token] if constraint is None else [token, *constraint.take(token)]
                piece = "".join(stream.add(token_id) for token_id in tokens)
                self._count(len(tokens) - 1)
                if stop_text is not None and stop_text in stream.shown:
                    self.stopped = "end"
                    break
                if piece and self._watch is not None:
                    piece = self._watch.add(piece)
                    if self._watch.found:
                        return
                if piece:
                    yield Piece(piece)
                if constraint is not None and constraint.complete:
                    self.stopped = "end" if length < limit else "length"
                    break
                if self._memory is None and goes_in_circles(stream.ids):
                    self.stopped = "repeats"
                    break
                logits = step(backbone, batch, *tokens)
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

    def _search(
        self, batch: JoinedBatch, logits: Tensor, constraint: Constraint | None, stream: TextStream, limit: int
    ) -> Iterator[Piece]:
        """Decode by beam search; a piece is emitted as soon as all remaining answers begin with it."""
        backbone = self._backbone
        search = BeamSearch(constraint, backbone.format.stop_ids, ahead=True)
        logits = logits[None]
        self.stopped = "end"
        while grown := search.advance(logits):
            yield from self._emit(stream, search.settled)
            if self._cancelled():
                self.stopped = "cancelled"
                break
            if search.length >= limit:
                self.stopped = "end" if search.finished else "length"
                break
            batch.select([answer.row for answer in grown])
            logits = step_each(backbone, batch, [answer.tokens for answer in grown])
        if self.stopped != "cancelled":
            yield from self._emit(stream, search.best.ids)
        if rest := stream.finish():
            yield Piece(rest)
        self.response = stream.shown

    def _emit(self, stream: TextStream, ids: Sequence[int]) -> Iterator[Piece]:
        """Emit the new part of an answer that begins with these tokens."""
        new = ids[len(stream.ids) :]
        self._count(len(new))
        if piece := "".join(stream.add(token_id) for token_id in new):
            yield Piece(piece)

    def _count(self, tokens: int) -> None:
        """Count generated tokens."""
        if tokens and self._timing.tokens == 0:
            self._timing.first_token = time.perf_counter() - self._began
        self._timing.tokens += tokens
        self.context_tokens += tokens

    def _copy(self, memory: Memory, limit: int) -> Piece | None:
        """The answer of a memory with an extractor, all of it at once.

        Returns:
            The answer; None where it is to be generated, since no words of the message make one that fits the schema
            and the limit.
        """
        backbone, timing, part = self._backbone, self._timing, self._part
        copied = extract(backbone, memory, part.routed.part, part.prefilled, limit=limit, schema=self._schema)
        if copied is None:
            return None
        self.response = copied.text
        if copied.whole:
            self.stopped = "end"
        self.prompt_tokens = len(backbone.format.query(part.routed.part))
        self.context_tokens = self.prompt_tokens + copied.tokens
        if timing.tokens == 0:
            timing.first_token = time.perf_counter() - self._began
        timing.tokens += copied.tokens
        if self._schema is not None:
            self._read_arguments(SchemaConstraint(vocabulary_of(backbone), self._schema))
        return Piece(copied.text)

    def _read_arguments(self, constraint: SchemaConstraint) -> None:
        try:
            self.arguments = constraint.arguments(self.response)
        except GenerationError as error:
            self.problem = str(error)
