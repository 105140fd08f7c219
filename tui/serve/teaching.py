"""Learning over HTTP: ``/v1/feedback`` and ``/v1/procedures``. Knows the store and the engine's link, and no HTTP.

Only a token that the person made for teaching comes here, and nothing else of a request is kept. Pairs and verdicts
are what the app's own keys make, so the app shows them and takes them back. Trainings are queued; the app works the
queue off, and what comes out waits there for a decision.
"""

from __future__ import annotations

import json
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from profiles.pair_files.lint import lint_pairs
from profiles.store.feedback import CHAT_SOURCE
from profiles.store.pair_rules import pair_fault, text_fault
from profiles.store.procedures import ProcedureRecord
from profiles.store.store import ProfileStore
from tokmem_desk.errors import UsageError
from tokmem_desk.procedures import NONE_ROUTE, ExamplePair, Procedure, check_name
from tui.engine_client.link import EngineLink
from tui.engine_client.protocol import Message
from tui.serve.fields import flag_of, object_of, text_of, wrong

SOURCE = "api"
"""The source of procedures that came this way."""

MOST_PAIRS = 5000
"""Pairs of one request."""


@dataclass(frozen=True, slots=True)
class FeedbackRequest:
    """A verdict on the route of a message, the right answer to it, or both."""

    message: str
    route: str
    """The right one."""
    got: str | None
    """The route that the message got; None: the one that it would get now."""
    answer: str | None
    """The right answer."""


@dataclass(frozen=True, slots=True)
class NewProcedure:
    """A procedure, and whether it is to be trained."""

    procedure: Procedure
    train: bool


def read_feedback(body: dict[str, Any]) -> FeedbackRequest:
    """Check a body.

    Raises:
        ApiError: 400, naming the field.
    """
    _only(body, ("message", "route", "got", "answer"))
    message, route = text_of(body, "message"), text_of(body, "route")
    got, answer = (text_of(body, name) if body.get(name) is not None else None for name in ("got", "answer"))
    for name, text in (("message", message), ("route", route)):
        if not text.strip():
            raise wrong(name, "must be text, and not empty.")
    if fault := text_fault(message):
        raise wrong("message", f"{fault}.")
    if answer is not None:
        if route == NONE_ROUTE:
            raise wrong("answer", "teaches a procedure: route must name one.")
        if fault := pair_fault(ExamplePair(message, answer)):
            raise wrong("answer", f"{fault}.")
    return FeedbackRequest(message, route, got, answer)


async def route_now(link: EngineLink, profile: str, message: str) -> str:
    """The route that a message would get.

    Raises:
        TokmemError: what the engine reported.
    """
    handle = link.submit("route", profile=profile, texts=[message])
    found: Message = {}
    try:
        async with aclosing(link.events(handle)) as events:
            async for event in events:
                if event["event"] == "done":
                    found = event["result"]["routes"][0]
    finally:
        if not found:
            await handle.cancel()
    return str(found["route"])


def keep_feedback(store: ProfileStore, feedback: FeedbackRequest, got: str) -> dict[str, Any]:
    """Keep a verdict where the route was another one, and a pair where there is an answer.

    Args:
        got: the route that the message got.

    Raises:
        NotFoundError: a route names no procedure; nothing is kept then.
    """
    route = feedback.route
    if route != NONE_ROUTE:
        store.procedures.get(route)
    verdict = None if got == route else store.corrections.add(feedback.message, got, route)
    pair = None
    if feedback.answer is not None:
        [kept] = store.pairs.add(route, [ExamplePair(feedback.message, feedback.answer)], source=CHAT_SOURCE)
        pair = kept.id
    return {"object": "feedback", "route": route, "got": got, "correction": verdict, "pair": pair}


def read_procedure(body: dict[str, Any]) -> NewProcedure:
    """Check a body.

    Raises:
        ApiError: 400, naming the field.
    """
    _only(body, ("name", "description", "pairs", "schema", "train"))
    try:
        name = check_name(text_of(body, "name"))
    except UsageError as caught:
        raise wrong("name", f"is not allowed: {caught}") from None
    description = text_of(body, "description")
    if fault := text_fault(description):
        raise wrong("description", f"{fault}.")
    rows = body.get("pairs")
    if not isinstance(rows, list) or not 0 < len(rows) <= MOST_PAIRS:
        raise wrong("pairs", f"must be a list of 1 to {MOST_PAIRS} objects with input and response.")
    pairs = tuple(_pair(row, f"pairs[{place}]") for place, row in enumerate(rows))
    schema = json.dumps(object_of(body, "schema")) if body.get("schema") is not None else None
    return NewProcedure(Procedure(name, pairs, description=description, output_schema=schema), flag_of(body, "train"))


def add_procedure(store: ProfileStore, new: NewProcedure, fingerprint: str) -> dict[str, Any]:
    """Define a procedure and queue its training where that was asked for.

    Raises:
        ConflictError: there is one of that name.
        BadInputError: its schema cannot be used, or pairs do not fit it.
    """
    record = store.procedures.add(new.procedure, source=SOURCE)
    findings = lint_pairs(new.procedure.pairs, output_schema=record.output_schema)
    jobs = store.jobs.queue([record.name], {}) if new.train else []
    told = procedure_entry(store, record, fingerprint)
    return {**told, "findings": [finding.text for finding in findings], "queued": bool(jobs)}


def procedure_entries(store: ProfileStore, fingerprint: str) -> dict[str, Any]:
    """All procedures of a profile."""
    return {
        "object": "list",
        "data": [procedure_entry(store, record, fingerprint) for record in store.procedures.list()],
    }


def procedure_entry(store: ProfileStore, record: ProcedureRecord, fingerprint: str) -> dict[str, Any]:
    """One procedure."""
    return {
        "object": "procedure",
        "name": record.name,
        "description": record.description,
        "pairs": record.pair_count,
        "enabled": record.enabled,
        "schema": None if record.output_schema is None else json.loads(record.output_schema),
        "trained": store.memories.active(record.name, fingerprint) is not None,
    }


def _pair(row: Any, where: str) -> ExamplePair:
    texts = [row.get(name) for name in ("input", "response")] if isinstance(row, dict) else [None, None]
    if not all(isinstance(text, str) for text in texts):
        raise wrong(where, "must be an object with input and response, as text.")
    pair = ExamplePair(str(texts[0]), str(texts[1]))
    if fault := pair_fault(pair):
        raise wrong(where, f"{fault}.")
    return pair


def _only(body: dict[str, Any], known: tuple[str, ...]) -> None:
    """Nothing that a program wants to teach is dropped silently."""
    for name in body:
        if name not in known:
            raise wrong(name, f"is not known here; {', '.join(known)} are.", code="unknown_parameter")
