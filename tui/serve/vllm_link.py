"""The way to an engine whose answers a vLLM server generates. Everything else is asked of the engine here.

The engine here reads a message on its processor, to find its route and what vLLM is to be asked
(``tui.engine.operations.vllm_prompt``). What vLLM cannot carry it answers itself. Whoever asks sees the events of
``ask`` either way. Knows no HTTP.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from tokmem_desk.errors import ContextLengthError, TokmemError
from tokmem_desk.templates.json_schema import read_schema
from tui.engine_client.client import RequestHandle
from tui.engine_client.link import EngineLink
from tui.engine_client.protocol import CancelHow, Message
from tui.serve.vllm_server import Stopped, VllmServer

_STOPPED = {"stop": "end", "length": "length", "repetition": "repeats"}
_CIRCLES = {"max_pattern_size": 64, "min_pattern_size": 16, "min_count": 4}
"""Ends plain chat that repeats itself, about where our own engine does (``generation.decoding.goes_in_circles``)."""
_GREEDY = {"temperature": 0, "top_p": 1, "top_k": 0, "min_p": 0, "repetition_penalty": 1}
"""All of them, since a model's own settings take the place of what is not said."""


class VllmAsk(RequestHandle):
    """One ``ask`` that a vLLM server answers."""

    def __init__(self, reading: RequestHandle, fields: Mapping[str, Any]) -> None:
        super().__init__(reading.client, reading._request)
        self.fields = fields
        """Of the ``ask``."""
        self.here: RequestHandle | None = None
        """The ``ask`` that the engine here answers after all."""
        self.stop = asyncio.Event()

    async def cancel(self, how: CancelHow = "keep") -> None:
        """End it: in the engine, and at the server."""
        self.stop.set()
        await super().cancel(how)
        if self.here is not None:
            await self.here.cancel(how)


class VllmLink(EngineLink):
    """An engine's link, but for answers.

    Args:
        own: the link to the engine here, loaded; its client is used, and closed by whoever has it.
        server: that answers.
        banks: folder or URL where the server's connector finds memories.
    """

    def __init__(self, own: EngineLink, server: VllmServer, banks: str) -> None:
        super().__init__(own.client, lambda _: None)
        self.state, self.may_fetch = own.state, own.may_fetch
        own.share_keys(self)
        self._server, self._banks = server, banks

    def submit(self, op: str, **fields: Any) -> RequestHandle:
        """As ``EngineLink.submit``; of an ``ask`` vLLM's prompt is asked for first."""
        if op != "ask":
            return super().submit(op, **fields)
        return VllmAsk(super().submit("vllm_prompt", **{**fields, "banks": self._banks}), fields)

    async def events(self, handle: RequestHandle) -> AsyncGenerator[Message, None]:
        """As ``EngineLink.events``.

        Raises:
            VllmError: the server did not answer.
            TokmemError: what the engine reported.
        """
        if not isinstance(handle, VllmAsk):
            events = super().events(handle)
        else:
            events = self._asked(handle)
        async with aclosing(events):
            async for event in events:
                yield event

    async def _asked(self, handle: VllmAsk) -> AsyncGenerator[Message, None]:
        began = time.perf_counter()
        prompt: Message = {}
        async with aclosing(super().events(handle)) as events:
            async for event in events:
                if event["event"] == "done":
                    prompt = event["result"]
                else:
                    yield event
        if prompt["here"]:
            handle.here = super().submit("ask", **handle.fields)
            if handle.cancelled:
                await handle.here.cancel()
            async with aclosing(super().events(handle.here)) as events:
                async for event in events:
                    yield event
            return
        timing = {"prefill": time.perf_counter() - began, "route": 0.0, "first_token": 0.0, "total": 0.0, "tokens": 0}
        yield {"event": "route", **prompt["routed"]}
        said, stopped = prompt.get("text", ""), "end"
        if "text" in prompt:
            yield {"event": "token", "text": said}
        else:
            stopped = "cancelled"
            try:
                await self._server.check()
                prompt["limit"] = min(prompt["limit"], _room(prompt, self._server.length))
                if "reading" in prompt:
                    await self._server.read(prompt["ids"], prompt["reading"], handle.stop)
                async with aclosing(self._server.answer(_body(prompt), handle.stop)) as deltas:
                    async for delta in deltas:
                        if delta.text:
                            timing["first_token"] = timing["first_token"] or time.perf_counter() - began
                            said += delta.text
                            yield {"event": "token", "text": delta.text}
                        if delta.finish:
                            stopped, timing["tokens"] = _STOPPED[delta.finish], delta.tokens
            except Stopped:
                pass
        timing["total"] = time.perf_counter() - began
        yield {"event": "done", "result": _result(prompt, said, stopped, timing)}


def _room(prompt: Message, length: int) -> int:
    """Tokens that the server has left for an answer.

    Raises:
        ContextLengthError: none.
    """
    room = length - len(prompt["ids"]) - int(prompt["span"])
    if room < 1:
        raise ContextLengthError(
            f"The message has {len(prompt['ids']):,} tokens; the vLLM server reads {length:,}.",
            next_step="Send a shorter one, or start it with a larger --max-model-len.",
        )
    return room


def _body(prompt: Message) -> dict[str, Any]:
    """The fields of the request that answers, as ``/v1/completions`` has them."""
    steered = prompt.get("steered")
    asked = (
        {"prompt": prompt["ids"]}
        if steered is None
        else {
            "prompt_embeds": steered["embeds"],
            "cache_salt": steered["salt"],
            "kv_transfer_params": steered["params"],
        }
    )
    return {
        **asked,
        **_GREEDY,
        **prompt.get("draw", {}),
        **({"repetition_detection": _CIRCLES} if steered is None else {}),
        "max_tokens": prompt["limit"],
        "stop_token_ids": prompt["stop_ids"],
        **({"stop": [prompt["stop_text"]]} if prompt["stop_text"] else {}),
        **({"structured_outputs": prompt["structured"]} if "structured" in prompt else {}),
    }


def _result(prompt: Message, said: str, stopped: str, timing: dict[str, Any]) -> Message:
    """The result of ``ask``, without what is not known of an answer that another engine has generated."""
    routed = prompt["routed"]
    arguments, problem = None, ""
    if "schema" in prompt and stopped != "cancelled":
        try:
            arguments = read_schema(prompt["schema"]).read(said)
        except TokmemError as caught:
            problem = f"The answer does not fit the procedure's schema: {caught.message}."
    segment = {
        **{name: routed[name] for name in ("route", "probability", "part")},
        **{name: routed[name] for name in ("typed", "filled") if name in routed},
        "response": said,
        "arguments": arguments,
        "problem": problem,
    }
    read = len(prompt.get("ids", ())) + prompt.get("span", 0)
    return {
        **{name: routed[name] for name in ("route", "probability", "candidates", "ambiguous") if name in routed},
        "response": said,
        "timing": timing,
        "segments": [segment],
        "stopped": stopped,
        "span": prompt.get("span", 0),
        "context": {
            "tokens": read + timing["tokens"],
            "length": prompt.get("length", 0),
            "messages_cut": prompt.get("messages_cut", 0),
        },
        "prompt_tokens": read,
    }
