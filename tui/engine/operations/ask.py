"""``ask``: answer one message. ``route`` and ``token`` events come on the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from profiles.settings.settings import Settings
from tokmem_desk.backbone.chat_format import Turn
from tokmem_desk.errors import UsageError
from tokmem_desk.generation.decoding import own_sampling
from tokmem_desk.generation.recall import Answer, Bank, Piece, Routed, Sampling, recall
from tokmem_desk.procedures import AUTO_ROUTE, NONE_ROUTE
from tui.engine.engine import Engine
from tui.engine.operation import ProfileFields, operation
from tui.engine.operations.route import route_fields
from tui.engine.request import Request
from tui.engine_client.protocol import AskResult

IMITATES_BELOW = 1_000_000_000
"""Models with fewer parameters copy the form of whatever answer stands before: after a contact card, the
capital of Norway became a contact card. They see plain chat alone."""


class AskFields(ProfileFields):
    """Fields of a request for an answer. Those that need not be there:

    ``route`` (text), ``conversation`` (list of {role, content, route}), ``max_tokens`` (whole number), ``sample``
    (true: by the settings' temperature), ``own_sampling`` (true: as the model's makers advise) and ``seed``.
    """

    text: str
    """The message."""


@operation("ask", fields=AskFields, result=AskResult)
def ask(engine: Engine, request: Request) -> Iterator[None]:
    """Answer the message; other answers take turns with it."""
    message = request.text("text")
    if not message.strip():
        raise UsageError("There is nothing to answer: the message is empty.", next_step="Type a message.")
    entries = request.fields.get("conversation") or []
    turns = _turns(entries)
    yield from engine.ready(request)
    backbone = engine.model.backbone
    imitates = backbone.parameter_count() < IMITATES_BELOW
    places = _plain_places(entries) if imitates else list(range(len(entries)))
    with engine.profile(request) as (store, settings):
        bank = engine.bank(store, settings)
        max_tokens = request.fields.get("max_tokens") or settings.whole("max_answer_tokens")
        sampling = _sampling(engine, request, settings)
        cache = engine.conversations.of(store, settings)
        for problem in engine.bank_cache.problems(store):
            request.report_phase("problem", None, problem)
    steps = recall(
        backbone,
        bank,
        message,
        route=request.text("route", AUTO_ROUTE),
        conversation=[turns[place] for place in places],
        whole=turns,
        cache=cache,
        sampling=sampling,
        max_tokens=max_tokens,
        cancelled=request.cancelled.is_set,
        shuns_repeats=imitates,
    )
    request.takes_turns = True
    for step in steps:
        if isinstance(step, Routed):
            request.emit(
                "route",
                **route_fields(step),
                forced=step.forced,
                segment=step.segment,
                part=step.part,
                call=step.route in bank.schemas,
                guest=step.route in bank.guests,
            )
        elif isinstance(step, Piece):
            request.emit("token", text=step.text)
        else:
            cut = _messages_cut(step, entries, places)
            request.emit("done", result=_result(step, bank, backbone.context_length, cut))
        yield


def _sampling(engine: Engine, request: Request, settings: Settings) -> Sampling | None:
    """How tokens are drawn; None takes the likeliest."""
    seed = request.fields.get("seed")
    if request.fields.get("sample"):
        return Sampling(settings.number("temperature"), settings.number("top_p"), seed)
    if request.fields.get("own_sampling"):
        return own_sampling(engine.model.backbone.generation, seed)
    return None


def _turns(entries: list[Any]) -> list[Turn]:
    """A conversation; only its first entry may be a system text.

    Raises:
        UsageError: an entry is none of a conversation.
    """
    roles = [("system", "user", "assistant"), *[("user", "assistant")] * len(entries)]
    turns = []
    for entry, known in zip(entries, roles, strict=False):
        if not isinstance(entry, dict) or entry.get("role") not in known:
            raise UsageError("A conversation is a list of {role: user|assistant, content}; system may come first.")
        turns.append(Turn(str(entry["role"]), str(entry.get("content", ""))))
    return turns


def _first_message(entries: list[dict[str, Any]]) -> int:
    """The place behind the system text, if there is one."""
    return 1 if entries and entries[0]["role"] == "system" else 0


def _plain_places(entries: list[dict[str, Any]]) -> list[int]:
    """The places of messages that no procedure answered: each answer goes with the message before it.

    A system text stays.
    """
    first = _first_message(entries)
    kept = list(range(first))
    for place in range(first, len(entries) - 1, 2):
        if entries[place + 1].get("route", NONE_ROUTE) == NONE_ROUTE:
            kept += [place, place + 1]
    return kept


def _messages_cut(answer: Answer, entries: list[dict[str, Any]], places: list[int]) -> int:
    """How many of the client's oldest messages did not fit, counted in its own conversation.

    Args:
        places: of the messages that plain chat was shown.
    """
    first = _first_message(entries)
    behind = [*places, len(entries)][first + answer.turns_cut]
    return max(behind - first if answer.turns_cut else 0, answer.whole_cut)


def _result(answer: Answer, bank: Bank, context_length: int, messages_cut: int) -> dict[str, Any]:
    memory = bank.memories.get(answer.routed.route)
    return {
        **route_fields(answer.routed),
        "response": answer.response,
        "timing": asdict(answer.timing),
        "segments": [segment.as_dict() for segment in answer.segments],
        "stopped": answer.stopped,
        "span": 0 if memory is None else memory.steering.span,
        "context": {"tokens": answer.context_tokens, "length": context_length, "messages_cut": messages_cut},
        "prompt_tokens": answer.prompt_tokens,
        # Said of those answers only.
        **({"without_history": True} if answer.without_history else {}),
    }
