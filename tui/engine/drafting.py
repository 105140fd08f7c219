"""The ``draft`` request: pairs the model suggests for a procedure. Nothing is stored; the person decides."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from profiles.store.pair_rules import pair_fault
from profiles.store.store import ProfileStore
from tokmem_desk.errors import BadInputError, UsageError
from tokmem_desk.generation.continuation import next_line
from tokmem_desk.generation.recall import Sampling, answer_batch, answer_messages
from tokmem_desk.procedures import ExamplePair, Procedure
from tokmem_desk.templates.induction import induce_form
from tokmem_desk.templates.json_schema import read_schema
from tokmem_desk.templates.patterns import known_pattern
from trainer.evaluate import answer_tokens, demonstration_query

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone
    from tokmem_desk.memory.memory import Memory
    from tokmem_desk.templates.template import AnswerTemplate
    from tui.engine.request import Request

LEAST_PAIRS = 3
"""Fewer say too little about what the messages have in common."""

MOST_DRAFTS = 50
SHOWN_INPUTS = 8
"""Inputs the model sees before each draft, drawn anew each time so that drafts differ."""

ATTEMPTS_PER_DRAFT = 4
_TEMPERATURE = 0.8
_TOP_P = 0.95


def draft(request: Request, store: ProfileStore, backbone: Backbone, memory: Memory | None) -> Iterator[None]:
    """Send ``draft`` events with ``input``, ``response``, ``fits`` and ``sure``; ends with ``done``.

    An input is a line the model writes after inputs of the procedure. Its response is what the procedure's memory
    answers, or without a memory the model with the pairs as a conversation before it; held to the procedure's schema,
    or read off the message, as its answers are. ``fits`` says whether the response has the procedure's pattern and
    schema, and without either the form that its pairs share; null where there is none of these. ``sure`` says whether
    the model answers the same when the pairs stand before the message the other way round; null under a memory.

    Args:
        memory: what answers for the procedure on this model, which may be one that only drafts.

    Raises:
        NotFoundError: no procedure of that name.
        BadInputError: too few pairs to imitate.
    """
    procedure = store.procedures.with_pairs(request.text("name"))
    count = request.fields.get("count", 5)
    if not isinstance(count, int) or not 1 <= count <= MOST_DRAFTS:
        raise UsageError(f"{count} is no number of drafts.", next_step=f"Ask for 1 to {MOST_DRAFTS}.")
    if len(procedure.pairs) < LEAST_PAIRS:
        raise BadInputError(
            f"{procedure.name!r} has too few pairs to imitate.", next_step=f"Write at least {LEAST_PAIRS} yourself."
        )
    chance = random.Random(request.fields.get("seed"))
    made = attempts = 0
    for step in drafts(backbone, procedure, memory, count, chance, request.cancelled.is_set):
        if step is not None:
            attempts = step.attempts
            if step.pair is not None:
                made += 1
                pair = step.pair
                request.emit("draft", input=pair.input, response=pair.response, fits=step.fits, sure=step.sure)
        yield
    request.emit("done", result={"drafted": made, "attempts": attempts, "cancelled": request.cancelled.is_set()})


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at a draft.

    Attributes:
        attempts: how many there were so far.
        pair: what came of it; None where it was of no use.
        fits, sure: see ``draft``.
    """

    attempts: int
    pair: ExamplePair | None = None
    fits: bool | None = None
    sure: bool | None = None


def drafts(
    backbone: Backbone,
    procedure: Procedure,
    memory: Memory | None,
    count: int,
    chance: random.Random,
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[Attempt | None]:
    """Draft pairs for a procedure; yields None between steps, and each attempt.

    Args:
        procedure: with ``LEAST_PAIRS`` pairs or more.
        memory: what answers; None for the model with the pairs before the message.
        count: how many drafts.
        chance: draws the pairs that are shown, and the words.
        cancelled: asked between steps.
    """
    known = {_plain(pair.input) for pair in (*procedure.pairs, *procedure.held_out)}
    answers = Answers(backbone, procedure, memory)
    made = attempts = 0
    while made < count and attempts < count * ATTEMPTS_PER_DRAFT and not cancelled():
        attempts += 1
        text = ""
        for step in _line(backbone, procedure, chance, cancelled):
            if step is not None:
                text = step
            yield None
        if not text or _plain(text) in known or cancelled():
            yield Attempt(attempts)
            continue
        known.add(_plain(text))
        pair = ExamplePair(text, answers.to(text))
        yield None
        fits = answers.fit(pair)
        # One of the wrong form is shown only where the right form does not come.
        if pair_fault(pair) is None and (fits is not False or attempts > 2 * count):
            made += 1
            yield Attempt(attempts, pair, fits, answers.again(pair) if fits is not False else None)
        else:
            yield Attempt(attempts)


def _line(
    backbone: Backbone, procedure: Procedure, chance: random.Random, cancelled: Callable[[], bool]
) -> Iterator[str | None]:
    pairs = chance.sample(procedure.pairs, min(SHOWN_INPUTS, len(procedure.pairs)))
    sampling = Sampling(_TEMPERATURE, _TOP_P, chance.randrange(2**31))
    inputs = [pair.input for pair in pairs]
    return next_line(backbone, inputs, sampling, cancelled=cancelled)


class Answers:
    """Answers to drafted inputs, and what speaks for them.

    Args:
        backbone: the model that drafts.
        procedure: with its pairs.
        memory: what answers; None for the model with the pairs before the message.
    """

    def __init__(self, backbone: Backbone, procedure: Procedure, memory: Memory | None) -> None:
        self._backbone, self._procedure, self._memory = backbone, procedure, memory
        self._schema = None if procedure.output_schema is None else read_schema(procedure.output_schema)
        self._pattern = known_pattern(procedure.pattern)
        self._limit = answer_tokens(backbone, procedure.pairs)
        declared = self._schema is not None or self._pattern is not None
        self._form: AnswerTemplate | None = None if declared else induce_form(procedure.pairs)

    def to(self, text: str) -> str:
        """The answer to a message."""
        if self._memory is None:
            return self._from_pairs(self._procedure, text)
        return answer_messages(
            self._backbone, [text], [self._memory], schemas=[self._schema], max_tokens=self._limit, rows_at_once=1
        )[0]

    def fit(self, pair: ExamplePair) -> bool | None:
        """Whether an answer has the form that is asked for, or that the pairs share; None where there is none."""
        if self._form is not None:
            return self._form.accepts(pair.input, pair.response)
        if self._pattern is None and self._schema is None:
            return None
        if self._pattern is not None and self._pattern.fullmatch(pair.response) is None:
            return False
        return self._schema is None or self._schema.fault(pair.response) is None

    def again(self, pair: ExamplePair) -> bool | None:
        """Whether the same answer comes with the pairs the other way round; None under a memory.

        What stands last before a message counts most for a model. An answer that changes with it came of the order.
        """
        if self._memory is not None:
            return None
        reversed_pairs = replace(self._procedure, pairs=tuple(reversed(self._procedure.pairs)))
        return _plain(self._from_pairs(reversed_pairs, pair.input)) == _plain(pair.response)

    def _from_pairs(self, procedure: Procedure, text: str) -> str:
        query, _ = demonstration_query(self._backbone, procedure, text)
        return answer_batch(self._backbone, [query], [None], schemas=[self._schema], max_tokens=self._limit)[0]


def _plain(text: str) -> str:
    return " ".join(text.lower().split())
