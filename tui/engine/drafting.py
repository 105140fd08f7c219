"""The ``draft`` request: pairs the model suggests for a procedure. Nothing is stored; the person decides."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import TYPE_CHECKING

from profiles.store.pair_rules import pair_fault
from profiles.store.store import ProfileStore
from tokmem_desk.errors import BadInputError, UsageError
from tokmem_desk.generation.continuation import next_line
from tokmem_desk.generation.recall import Bank, Sampling, answer_batch, answer_messages
from tokmem_desk.procedures import ExamplePair, Procedure
from tokmem_desk.templates.json_schema import OutputSchema, read_schema
from tokmem_desk.templates.patterns import known_pattern
from trainer.evaluate import answer_tokens, demonstration_query

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone
    from tui.engine.request import Request

LEAST_PAIRS = 3
"""Fewer say too little about what the messages have in common."""

MOST_DRAFTS = 50
SHOWN_INPUTS = 8
"""Inputs the model sees before each draft, drawn anew each time so that drafts differ."""

ATTEMPTS_PER_DRAFT = 4
_TEMPERATURE = 0.8
_TOP_P = 0.95


def draft(request: Request, store: ProfileStore, backbone: Backbone, bank: Bank) -> Iterator[None]:
    """Send ``draft`` events with ``input``, ``response`` and ``fits``; ends with ``done``.

    An input is a line the model writes after inputs of the procedure. Its response is what the procedure's memory
    answers, or without a memory the model with the pairs as a conversation before it; held to the procedure's schema,
    or read off the message, as its answers are. ``fits`` says whether the response has the procedure's pattern and
    schema, null without either.

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
    known = {_plain(pair.input) for pair in (*procedure.pairs, *procedure.held_out)}
    made = attempts = 0
    while made < count and attempts < count * ATTEMPTS_PER_DRAFT and not request.cancelled.is_set():
        attempts += 1
        text = ""
        for step in _line(backbone, procedure, chance, request):
            if step is not None:
                text = step
            yield
        if not text or _plain(text) in known or request.cancelled.is_set():
            continue
        known.add(_plain(text))
        pair = ExamplePair(text, _response(backbone, bank, procedure, text))
        yield
        fits = _fits(procedure, pair.response)
        # One of the wrong form is shown only where the right form does not come.
        if pair_fault(pair) is None and (fits is not False or attempts > 2 * count):
            made += 1
            request.emit("draft", input=pair.input, response=pair.response, fits=fits)
            yield
    request.emit("done", result={"drafted": made, "attempts": attempts, "cancelled": request.cancelled.is_set()})


def _line(backbone: Backbone, procedure: Procedure, chance: random.Random, request: Request) -> Iterator[str | None]:
    pairs = chance.sample(procedure.pairs, min(SHOWN_INPUTS, len(procedure.pairs)))
    sampling = Sampling(_TEMPERATURE, _TOP_P, chance.randrange(2**31))
    inputs = [pair.input for pair in pairs]
    return next_line(backbone, inputs, sampling, cancelled=request.cancelled.is_set)


def _response(backbone: Backbone, bank: Bank, procedure: Procedure, text: str) -> str:
    limit = answer_tokens(backbone, procedure.pairs)
    schemas, memory = [_schema(procedure)], bank.memories.get(procedure.name)
    if memory is not None:
        return answer_messages(backbone, [text], [memory], schemas=schemas, max_tokens=limit, rows_at_once=1)[0]
    query, _ = demonstration_query(backbone, procedure, text)
    return answer_batch(backbone, [query], [None], schemas=schemas, max_tokens=limit)[0]


def _schema(procedure: Procedure) -> OutputSchema | None:
    return None if procedure.output_schema is None else read_schema(procedure.output_schema)


def _fits(procedure: Procedure, response: str) -> bool | None:
    """Whether a response has the form that the procedure asks for; None where it asks for none."""
    schema, pattern = _schema(procedure), known_pattern(procedure.pattern)
    if pattern is None and schema is None:
        return None
    if pattern is not None and pattern.fullmatch(response) is None:
        return False
    return schema is None or schema.fault(response) is None


def _plain(text: str) -> str:
    return " ".join(text.lower().split())
