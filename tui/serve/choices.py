"""Several answers to one request. Knows no HTTP."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from tokmem_desk.procedures import NONE_ROUTE
from tui.engine_client.link import EngineLink
from tui.engine_client.protocol import Message
from tui.serve.answers import KnownAnswers, answer
from tui.serve.fields import NUMBER_LIMIT
from tui.serve.requests import ChatRequest
from tui.shared.plan_runs import OpenStore


async def answers(
    link: EngineLink, known: KnownAnswers, profile: str, request: ChatRequest, open_store: OpenStore
) -> AsyncGenerator[Message, None]:
    """The answers that a request wants, one after the other; closing this generator cancels what is asked.

    Where nothing is drawn, as in answers of procedures, the model is asked once: each answer is the same.

    Yields:
        For each answer ``route`` once, ``token`` and ``done`` as in ``tui.serve.answers.answer``, with ``choice``: its
        place.

    Raises:
        TokmemError: what the engine reported.
    """
    route: Message = {}
    result: Message = {}
    for place in range(request.choices):
        if result and not _is_drawn(request, result):
            yield {**route, "choice": place}
            if "call" not in result:
                yield {"event": "token", "text": result["response"], "choice": place}
            yield {"event": "done", "result": result, "choice": place}
            continue
        begun = False
        async with aclosing(answer(link, known, profile, _seeded(request, place), open_store)) as events:
            async for event in events:
                if event["event"] == "route":
                    if begun:  # of a further part of the message
                        continue
                    begun, route = True, event
                elif event["event"] == "done":
                    result = event["result"]
                yield {**event, "choice": place}


def _is_drawn(request: ChatRequest, result: Message) -> bool:
    """Whether the same request may be answered otherwise: plain chat, and not by the likeliest words.

    A plan is done once.
    """
    return (
        request.sample
        and not result.get("plans")
        and any(segment["route"] == NONE_ROUTE for segment in result["segments"])
    )


def _seeded(request: ChatRequest, place: int) -> ChatRequest:
    """The request for one of several answers: one seed would draw the same answer each time."""
    if request.seed is None or not place:
        return request
    return replace(request, seed=(request.seed + place) % NUMBER_LIMIT)
