"""``ask``: answer one message. ``route`` and ``token`` events come on the way, of long messages ``progress`` before."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from profiles.settings.settings import Settings
from tokmem_desk.backbone.chat_format import Turn
from tokmem_desk.background.referring import Said
from tokmem_desk.errors import UsageError
from tokmem_desk.generation.answer_segment import all_right
from tokmem_desk.generation.decoding import own_sampling
from tokmem_desk.generation.recall import Answer, Bank, Piece, Read, Routed, Sampling, recall
from tokmem_desk.models.expectations import SMALL_BELOW
from tokmem_desk.procedures import AUTO_ROUTE, NONE_ROUTE
from tokmem_desk.templates.asked_form import AskedForm
from tui.engine.engine import Engine
from tui.engine.operation import ProfileFields, operation
from tui.engine.operations.route import route_fields
from tui.engine.request import Request
from tui.engine_client.protocol import AskResult

_READING = {
    "message": "reading",
    "requests": "looking for requests,",
    "conversation": "reading the conversation,",
}


class AskFields(ProfileFields):
    """Fields of a request for an answer. Those that need not be there:

    ``route`` (text), ``conversation`` (list of {role, content, route, parts}; the parts of an answer are the requests
    as they were read and what was answered to each, as pairs of texts), ``references`` (false: words are taken as they
    stand, nothing that they refer to is filled in), ``max_tokens`` (whole number), ``sample``
    (true: by the settings' temperature), ``own_sampling`` (true: as the model's makers advise), ``seed``, ``asked``
    (the form that the answer must have, as ``AskedForm.read`` takes it), and ``others`` (whole number: the result has
    the answer's tokens, each with so many of the likeliest in its place).
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
    turns = turns_of(entries)
    wanted = request.fields.get("asked")
    asked = None if wanted is None else AskedForm.read(wanted)
    yield from engine.ready_to_answer(request)
    backbone = engine.model.backbone
    imitates = backbone.parameter_count() < SMALL_BELOW
    places = plain_places(entries) if imitates else list(range(len(entries)))
    with engine.profile(request) as (store, settings):
        bank = engine.bank(store, settings)
        max_tokens = request.fields.get("max_tokens") or settings.whole("max_answer_tokens")
        sampling = sampling_of(engine, request, settings)
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
        shuns_repeats=imitates and asked is None,
        asked=asked,
        others=request.fields.get("others"),
        said=None if request.fields.get("references") is False else said_in(entries),
        pool=engine.step_pool,
    )
    request.takes_turns = True
    for step in steps:
        if isinstance(step, Routed):
            request.emit("route", **routed_fields(step, bank, held=asked is not None))
        elif isinstance(step, Piece):
            if step.text:  # an empty one only gives others their turn
                request.emit("token", text=step.text)
        elif isinstance(step, Read):
            words = f"{_READING[step.what]} {step.done:,} of {step.total:,} tokens"
            request.report_phase("read", step.done / step.total, words)
        else:
            cut = max(messages_cut_of(step.turns_cut, entries, places), step.whole_cut)
            request.emit("done", result=_result(step, bank, backbone.context_length, cut))
        yield


def routed_fields(step: Routed, bank: Bank, *, held: bool) -> dict[str, Any]:
    """The fields of a ``route`` event.

    Args:
        held: the request says what form the answer must have.
    """
    return {
        **route_fields(step),
        "forced": step.forced,
        "segment": step.segment,
        "part": step.part,
        **({"follows": step.follows} if step.follows else {}),
        **({"typed": step.typed, "filled": [one.as_dict() for one in step.filled]} if step.filled else {}),
        "call": step.route in bank.schemas,
        "guest": step.route in bank.guests,
        **({"plan": True} if step.route in bank.plans and not held else {}),
    }


def sampling_of(engine: Engine, request: Request, settings: Settings) -> Sampling | None:
    """How tokens are drawn; None takes the likeliest."""
    seed = request.fields.get("seed")
    if request.fields.get("sample"):
        return Sampling(settings.number("temperature"), settings.number("top_p"), seed)
    if request.fields.get("own_sampling"):
        return own_sampling(engine.model.backbone.generation, seed)
    return None


def turns_of(entries: list[Any]) -> list[Turn]:
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


def said_in(entries: list[dict[str, Any]]) -> list[Said]:
    """What was said before, by requests where the client knows them."""
    said: list[Said] = []
    for question, answer in itertools.pairwise(entries):
        if question["role"] != "user" or answer["role"] != "assistant":
            continue
        parts = answer.get("parts")
        if isinstance(parts, list) and parts and all(isinstance(part, list) and len(part) == 2 for part in parts):
            said += [Said(str(part), str(response)) for part, response in parts]
        else:
            said.append(Said(str(question.get("content", "")), str(answer.get("content", ""))))
    return said


def _first_message(entries: list[dict[str, Any]]) -> int:
    """The place behind the system text, if there is one."""
    return 1 if entries and entries[0]["role"] == "system" else 0


def plain_places(entries: list[dict[str, Any]]) -> list[int]:
    """The places of messages that no procedure answered: each answer goes with the message before it.

    A system text stays.
    """
    first = _first_message(entries)
    kept = list(range(first))
    for place in range(first, len(entries) - 1, 2):
        if entries[place + 1].get("route", NONE_ROUTE) == NONE_ROUTE:
            kept += [place, place + 1]
    return kept


def messages_cut_of(turns_cut: int, entries: list[dict[str, Any]], places: Sequence[int]) -> int:
    """How many of the client's oldest messages did not fit, counted in its own conversation.

    Args:
        turns_cut: of the turns at ``places``.
        places: of the messages that the model was shown.
    """
    first = _first_message(entries)
    behind = [*places, len(entries)][first + turns_cut]
    return behind - first if turns_cut else 0


def _result(answer: Answer, bank: Bank, context_length: int, messages_cut: int) -> dict[str, Any]:
    memory = bank.memories.get(answer.routed.route)
    sure = all_right(answer.segments)
    routed = route_fields(answer.routed)
    if len(answer.segments) > 1:
        # What is offered instead is another answer to the whole message.
        routed.pop("ambiguous", None)
    return {
        **routed,
        "response": answer.response,
        # That all of it is right, which plain chat never says of itself.
        **({} if sure is None else {"answer_probability": sure}),
        "timing": asdict(answer.timing),
        "segments": [segment.as_dict() for segment in answer.segments],
        "stopped": answer.stopped,
        "span": 0 if memory is None else memory.steering.span,
        "context": {"tokens": answer.context_tokens, "length": context_length, "messages_cut": messages_cut},
        "prompt_tokens": answer.prompt_tokens,
        # Said of those answers only.
        **({"without_history": True} if answer.without_history else {}),
        **({} if answer.tokens is None else {"tokens": [token.as_dict() for token in answer.tokens]}),
    }
