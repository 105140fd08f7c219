"""One question to the engine, and its events in OpenAI's format: stop texts, chunks, usage, finish reason.

Knows the engine's link and no HTTP.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from tokmem_desk.procedures import AUTO_ROUTE, NONE_ROUTE
from tokmem_desk.templates.asked_form import AskedForm
from tui.engine_client.link import EngineLink
from tui.engine_client.protocol import Message
from tui.serve.errors import ApiError
from tui.serve.fields import wrong
from tui.serve.logprobs import chat_logprobs, shown_tokens
from tui.serve.messages import call_text
from tui.serve.requests import ChatRequest
from tui.serve.tools import ToolUse
from tui.shared.plan_runs import OpenStore, PlanAnswering

_KNOWN_ANSWERS = 2000
_REASONS = {"end": "stop", "length": "length", "repeats": "stop", "cancelled": "stop"}
_UNFIT = "content_filter"
"""The reason for an answer that does not fit its procedure's schema: clients that parse answers raise on it."""

_cancelling: set[asyncio.Task[None]] = set()  # so that no task is collected before it has run


class StopTexts:
    """Lets text through up to the first stop text; holds back what may be the beginning of one."""

    def __init__(self, stops: Sequence[str]) -> None:
        self.found = False
        self.text: str | None = None
        """The stop text that was found."""
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
            self.text = next(stop for stop in self._stops if text.startswith(stop, min(places)))
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
    link: EngineLink, known: KnownAnswers, profile: str, request: ChatRequest, open_store: OpenStore
) -> AsyncGenerator[Message, None]:
    """Ask the engine, and do plans; closing this generator before its end cancels the question there.

    No command runs. A plan that asks something waits, and the text says so.

    Yields:
        ``route``, ``token`` and ``done`` as in ``tui.engine_client.protocol``, cut at the first stop text. Where the
        answer is a call of one of the client's tools no token comes, and the result has ``call``: its name, its
        arguments.

    Raises:
        TokmemError: what the engine reported, or EngineError when it died.
    """
    tools = request.tools
    route = request.route
    if tools is not None and tools.must_call:
        route = await _calling_route(link, profile, request, tools)
    async with aclosing(_asked(link, known, profile, request, route, open_store)) as events:
        async for event in events:
            routed = event["event"] == "route" and event["route"] != NONE_ROUTE
            if routed and tools is not None and tools.must_call and not event.get("call"):
                break  # a procedure of a tool's name, which answers in words
            yield event
        else:
            return
    async with aclosing(_asked(link, known, profile, request, NONE_ROUTE, open_store)) as events:
        async for event in events:
            yield event


async def _calling_route(link: EngineLink, profile: str, request: ChatRequest, tools: ToolUse) -> str:
    """The route for an answer that must be a call: a procedure that is one of the tools, else plain chat.

    Raises:
        ApiError: the client's model is a procedure that is none of them.
    """
    if request.route not in (AUTO_ROUTE, NONE_ROUTE) and request.route not in tools.names:
        raise wrong("tool_choice", f"wants a call, and the model {request.route!r} is none of the tools.")
    if request.route != AUTO_ROUTE:
        return request.route
    handle = link.submit("route", profile=profile, texts=[request.message])
    async with aclosing(link.events(handle)) as events:
        async for event in events:
            if event["event"] == "done":
                best = event["result"]["routes"][0]
                known = [one["route"] for one in best["candidates"]]
                if best["route"] in tools.names:
                    return str(best["route"])
                return tools.names[0] if len(tools.names) == 1 and tools.names[0] in known else NONE_ROUTE
    return NONE_ROUTE


async def _asked(
    link: EngineLink, known: KnownAnswers, profile: str, request: ChatRequest, route: str, open_store: OpenStore
) -> AsyncGenerator[Message, None]:
    """The events of one question to the engine, plans done."""
    answering = PlanAnswering(link, profile, open_store, settings=request.settings)
    asked = answering.asked(
        request.message,
        route,
        conversation=known.with_routes(profile, request.conversation),
        sample=request.sample,
        seed=request.seed,
        max_tokens=request.max_tokens,
        **({} if request.asked is None else {"asked": request.asked}),
        **({} if request.others is None else {"others": request.others}),
    )
    shown, ended = _Shown(request), False
    try:
        async with aclosing(asked) as events:
            async for event in events:
                if event["event"] == "token":
                    if piece := shown.feed(event["text"]):
                        yield {"event": "token", "text": piece}
                    if shown.stopped:
                        await answering.cancel()
                elif event["event"] == "done":
                    ended = True
                    result = dict(event["result"])
                    if waits := waiting_words(result):
                        result["response"] += waits
                        if piece := shown.feed(waits):
                            yield {"event": "token", "text": piece}
                    result = shown.result(result)
                    call = result.get("call")
                    if call is None and (rest := shown.rest()):
                        yield {"event": "token", "text": rest}
                    said = result["response"] if call is None else call_text(call["name"], call["arguments"])
                    known.add(profile, request.message, said, result["route"])
                    yield {"event": "done", "result": result}
                elif event["event"] == "route":
                    shown.begin(event)
                    yield event
    finally:
        if not ended:
            _cancel_soon(answering)


class _Shown:
    """What of an answer is shown: nothing of its given beginning, nothing behind a stop text, no text of a call."""

    def __init__(self, request: ChatRequest) -> None:
        self._tools, self._beginning = request.tools, request.beginning
        self._stops = StopTexts(request.stop)
        self._left_out = len(request.beginning)
        self._holds = False
        self._held = self._said = self._rest = ""
        self._undecided = False
        self._form = None if request.asked is None else AskedForm.read(request.asked)

    @property
    def stopped(self) -> bool:
        """True behind a stop text."""
        return self._stops.found

    def begin(self, route: Message) -> None:
        """Note who answers: a procedure that is a tool answers with a call, plain chat perhaps."""
        if self._tools is not None:
            self._undecided = route["route"] == NONE_ROUTE
            self._holds = bool(route["route"] in self._tools.names and route.get("call"))

    def feed(self, text: str) -> str:
        """Take more text and return what may be shown now."""
        skipped = min(self._left_out, len(text))
        self._left_out -= skipped
        text = text[skipped:]
        if self._undecided and (self._held + text).strip():
            self._undecided = False
            self._holds = (self._held + text).lstrip().startswith("{")
        if self._undecided or self._holds:
            self._held += text
            return ""
        piece = self._stops.feed(self._held + text)
        self._held = ""
        self._said += piece
        return piece

    def result(self, result: Message) -> Message:
        """The end, as it is told to the client."""
        result["response"] = result["response"][len(self._beginning) :]
        call = None if self._tools is None else self._tools.call_of(result)
        if call is not None:
            result["call"] = {"name": call[0], "arguments": call[1]}
            return result
        self._rest = self._stops.feed(self._held) + self._stops.rest()
        self._said += self._rest
        if self.stopped:
            result.update(response=self._said, stopped="end", stop_text=self._stops.text)
        fault = None if self._form is None or result["stopped"] != "end" else self._form.fault(result["response"])
        if fault is not None:
            first, *others = result["segments"]
            result["segments"] = [{**first, "problem": first.get("problem") or fault}, *others]
        return result

    def rest(self) -> str:
        """Text that was held back and turned out to be none of what is not shown; after ``result``."""
        return self._rest


def waiting_words(result: Mapping[str, Any]) -> str:
    """What plans of an answer wait for, as its last lines; empty where none does."""
    waiting = [plan for plan in result.get("plans", ()) if plan["status"] == "waiting"]
    lines = [f"{plan['plan']} waits: {plan['words']} (tokmem-desk plan go-on {plan['run']})" for plan in waiting]
    return "".join(f"\n{line}" if result["response"] or place else line for place, line in enumerate(lines))


def _cancel_soon(answering: PlanAnswering) -> None:
    """Cancel without waiting: whoever closes the generator may itself be cancelled."""
    task = asyncio.get_running_loop().create_task(answering.cancel())
    _cancelling.add(task)
    task.add_done_callback(_cancelling.discard)


class Reply:
    """The objects that go back for one request.

    Args:
        request: what was asked.
        fingerprint: of the backbone.
    """

    closing = b"data: [DONE]\n\n"
    """What ends a stream."""

    def __init__(self, request: ChatRequest, fingerprint: str) -> None:
        self.request = request
        """What was asked."""
        self.choice = 0
        """The place of the answer that is being sent as a stream."""
        self._head = {
            "id": f"chatcmpl-{secrets.token_hex(12)}",
            "created": int(time.time()),
            "model": request.model,
            "system_fingerprint": fingerprint,
        }

    def whole(self, results: Sequence[Message]) -> dict[str, Any]:
        """A completion with all answers."""
        return {
            **self._head,
            "object": "chat.completion",
            "choices": [self._choice(place, result) for place, result in enumerate(results)],
            "usage": sum_of_usage(results),
            "tokmem": self._route(results[0]) | {"timing": results[0]["timing"]},
        }

    def _choice(self, place: int, result: Message) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": result["response"], "refusal": None}
        if "call" in result:
            message.update(content=None, tool_calls=[_tool_call(result["call"])])
        return {
            "index": place,
            "message": message,
            "logprobs": chat_logprobs(shown_tokens(self.request, result)),
            "finish_reason": finish_reason(result),
        }

    def first(self, route: Message) -> list[dict[str, Any]]:
        """The chunk that opens an answer, with the route."""
        return [self._chunk({"role": "assistant", "content": ""}) | {"tokmem": self._route(route)}]

    def piece(self, text: str) -> list[dict[str, Any]]:
        """A chunk of text."""
        return [self._chunk({"content": text})]

    def last(self, result: Message) -> list[dict[str, Any]]:
        """The chunks that end an answer: a call, and the reason with what is known of the tokens."""
        end = self._chunk({}, finish_reason(result), chat_logprobs(shown_tokens(self.request, result)))
        end["tokmem"] = self._route(result) | {"timing": result["timing"]}
        call = [self._chunk({"tool_calls": [{"index": 0, **_tool_call(result["call"])}]})] if "call" in result else []
        return [*call, end]

    def end(self, results: Sequence[Message]) -> list[dict[str, Any]]:
        """The chunks that end a stream: the usage where it was asked for."""
        if not self.request.include_usage:
            return []
        return [{**self._chunk({}), "choices": [], "usage": sum_of_usage(results)}]

    def line(self, value: dict[str, Any]) -> bytes:
        """A chunk as it is sent."""
        return b"data: " + json.dumps(value, ensure_ascii=False).encode("utf-8", "replace") + b"\n\n"

    def error(self, error: ApiError) -> dict[str, Any]:
        """An error on the way, as the last chunk."""
        return error.body()

    def _chunk(
        self, delta: dict[str, Any], reason: str | None = None, logprobs: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        choice = {"index": self.choice, "delta": delta, "logprobs": logprobs, "finish_reason": reason}
        chunk = {**self._head, "object": "chat.completion.chunk", "choices": [choice]}
        return {**chunk, "usage": None} if self.request.include_usage else chunk

    def _route(self, routed: Message) -> dict[str, Any]:
        ignored = list(self.request.ignored)
        copied = "segments" in routed and "call" not in routed and "tokens" not in routed
        if self.request.others is not None and copied:
            ignored.append("logprobs")  # nothing is known of tokens that were copied out of the message
        more: dict[str, Any] = {"ignored": ignored} if ignored else {}
        if "segments" in routed:  # the end: several procedures may have answered one message
            more["segments"] = routed["segments"]
            if "answer_probability" in routed:
                more["answer_probability"] = routed["answer_probability"]
        if "plans" in routed:
            more["plans"] = routed["plans"]
        if "ambiguous" in routed:
            more["ambiguous"] = routed["ambiguous"]
        if routed.get("without_history"):  # it was repeating an earlier answer
            more["without_history"] = True
        return {name: routed[name] for name in ("route", "probability", "candidates")} | more


def _tool_call(call: Mapping[str, str]) -> dict[str, Any]:
    function = {"name": call["name"], "arguments": call["arguments"]}
    return {"id": f"call_{secrets.token_hex(12)}", "type": "function", "function": function}


def finish_reason(result: Message) -> str:
    """Why an answer ended, in the protocol's words."""
    if "call" in result:
        return "tool_calls"
    reason = _REASONS[result["stopped"]]
    unfit = any(segment.get("problem") for segment in result["segments"])
    return _UNFIT if unfit and reason == "stop" else reason


def sum_of_usage(results: Sequence[Message]) -> dict[str, int]:
    """Tokens read and written for several answers; the message was read once."""
    counts = [usage(result) for result in results]
    read, written = counts[0]["prompt_tokens"], sum(one["completion_tokens"] for one in counts)
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def usage(result: Message) -> dict[str, int]:
    """Tokens read and written; a memory counts with the positions it takes."""
    read, written = int(result["prompt_tokens"]), int(result["timing"]["tokens"])
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
