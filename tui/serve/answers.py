"""One question to the engine, and its events in OpenAI's format: stop texts, chunks, usage, finish reason.

Knows the engine's link and no HTTP.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from tui.engine_client.client import RequestHandle
from tui.engine_client.link import EngineLink
from tui.engine_client.protocol import Message
from tui.serve.requests import ChatRequest

_KNOWN_ANSWERS = 2000
_REASONS = {"end": "stop", "length": "length", "repeats": "stop", "cancelled": "stop"}
_UNFIT = "content_filter"
"""The reason for an answer that does not fit its procedure's schema: clients that parse answers raise on it."""

_cancelling: set[asyncio.Task[None]] = set()  # so that no task is collected before it has run


class StopTexts:
    """Lets text through up to the first stop text; holds back what may be the beginning of one."""

    def __init__(self, stops: Sequence[str]) -> None:
        self.found = False
        self._stops = tuple(stops)
        self._held = ""

    def feed(self, text: str) -> str:
        """Take more text and return what may be shown now."""
        if self.found:
            return ""
        text = self._held + text
        places = [place for place in (text.find(stop) for stop in self._stops) if place >= 0]
        if places:
            self.found, self._held = True, ""
            return text[: min(places)]
        kept = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - kept :]
        return text[: len(text) - kept]

    def rest(self) -> str:
        """Text that was held back and turned out to be no stop text."""
        return "" if self.found else self._held


def _overlap(text: str, stop: str) -> int:
    """The length of the longest end of ``text`` with which ``stop`` begins."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:n])), 0)


class KnownAnswers:
    """Which answers procedures gave lately. Only digests are kept, and only in memory.

    Clients send a conversation back without routes, and small models must not see what procedures answered: they copy
    its form (see ``tui.engine.operations.ask``).
    """

    def __init__(self) -> None:
        self._routes: OrderedDict[str, str] = OrderedDict()

    def add(self, profile: str, question: str, answer: str, route: str) -> None:
        """Remember one answer; the oldest are forgotten."""
        self._routes[_digest(profile, question, answer)] = route
        if len(self._routes) > _KNOWN_ANSWERS:
            self._routes.popitem(last=False)

    def with_routes(self, profile: str, conversation: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
        """The conversation with the routes of answers that were given here."""
        told, question = [], ""
        for entry in conversation:
            route = self._routes.get(_digest(profile, question, entry["content"]))
            told.append(dict(entry) if route is None else {**entry, "route": route})
            question = entry["content"]
        return told


def _digest(*texts: str) -> str:
    # Stripped, since clients trim what they show.
    return hashlib.sha256("\0".join(text.strip() for text in texts).encode()).hexdigest()


async def answer(
    link: EngineLink, known: KnownAnswers, profile: str, request: ChatRequest
) -> AsyncGenerator[Message, None]:
    """Ask the engine; closing this generator before its end cancels the question there.

    Yields:
        ``route``, ``token`` and ``done`` as in ``tui.engine_client.protocol``, cut at the first stop text.

    Raises:
        TokmemError: what the engine reported, or EngineError when it died.
    """
    handle = link.submit(
        "ask",
        profile=profile,
        text=request.message,
        route=request.route,
        conversation=known.with_routes(profile, request.conversation),
        sample=request.sample,
        seed=request.seed,
        max_tokens=request.max_tokens,
        settings=request.settings,
    )
    stops, said, ended = StopTexts(request.stop), "", False
    try:
        async with aclosing(link.events(handle)) as events:
            async for event in events:
                if event["event"] == "token":
                    if piece := stops.feed(event["text"]):
                        said += piece
                        yield {"event": "token", "text": piece}
                    if stops.found:
                        await handle.cancel()
                elif event["event"] == "done":
                    ended = True
                    if rest := stops.rest():
                        yield {"event": "token", "text": rest}
                    result = dict(event["result"])
                    if stops.found:
                        result.update(response=said, stopped="end")
                    known.add(profile, request.message, result["response"], result["route"])
                    yield {"event": "done", "result": result}
                elif event["event"] == "route":
                    yield event
    finally:
        if not ended:
            _cancel_soon(handle)


def _cancel_soon(handle: RequestHandle) -> None:
    """Cancel without waiting: whoever closes the generator may itself be cancelled."""
    task = asyncio.get_running_loop().create_task(handle.cancel())
    _cancelling.add(task)
    task.add_done_callback(_cancelling.discard)


class Reply:
    """The objects that go back for one request.

    Args:
        request: what was asked.
        fingerprint: of the backbone.
    """

    def __init__(self, request: ChatRequest, fingerprint: str) -> None:
        self._request = request
        self._head = {
            "id": f"chatcmpl-{secrets.token_hex(12)}",
            "created": int(time.time()),
            "model": request.model,
            "system_fingerprint": fingerprint,
        }

    def whole(self, result: Message) -> dict[str, Any]:
        """A completion."""
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": result["response"], "refusal": None},
            "logprobs": None,
            "finish_reason": _finish_reason(result),
        }
        return {
            **self._head,
            "object": "chat.completion",
            "choices": [choice],
            "usage": usage(result),
            "tokmem": self._route(result) | {"timing": result["timing"]},
        }

    def first(self, route: Message) -> dict[str, Any]:
        """The chunk that opens a stream, with the route."""
        return self._chunk({"role": "assistant", "content": ""}) | {"tokmem": self._route(route)}

    def piece(self, text: str) -> dict[str, Any]:
        """A chunk of text."""
        return self._chunk({"content": text})

    def last(self, result: Message) -> list[dict[str, Any]]:
        """The chunks that end a stream: the reason, and the usage where it was asked for."""
        end = self._chunk({}, _finish_reason(result))
        end["tokmem"] = self._route(result) | {"timing": result["timing"]}
        if not self._request.include_usage:
            return [end]
        return [end, {**self._chunk({}), "choices": [], "usage": usage(result)}]

    def _chunk(self, delta: dict[str, str], reason: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        chunk = {**self._head, "object": "chat.completion.chunk", "choices": [choice]}
        return {**chunk, "usage": None} if self._request.include_usage else chunk

    def _route(self, routed: Message) -> dict[str, Any]:
        more: dict[str, Any] = {"ignored": list(self._request.ignored)} if self._request.ignored else {}
        if "segments" in routed:  # the end: several procedures may have answered one message
            more["segments"] = routed["segments"]
        if routed.get("without_history"):  # it was repeating an earlier answer
            more["without_history"] = True
        return {name: routed[name] for name in ("route", "probability", "candidates")} | more


def _finish_reason(result: Message) -> str:
    """Why an answer ended, in the protocol's words."""
    reason = _REASONS[result["stopped"]]
    unfit = any(segment.get("problem") for segment in result["segments"])
    return _UNFIT if unfit and reason == "stop" else reason


def usage(result: Message) -> dict[str, int]:
    """Tokens read and written; a memory counts with the positions it takes."""
    read, written = int(result["prompt_tokens"]), int(result["timing"]["tokens"])
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
