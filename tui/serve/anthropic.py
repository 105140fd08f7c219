"""``/v1/messages``: Anthropic's form of a request and its answer, for clients that speak it alone.

A request is translated into that of a chat completion; ``MessageReply`` writes its answer in this form.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from typing import Any

from tui.engine_client.protocol import Message
from tui.serve.answers import Reply, finish_reason, usage
from tui.serve.errors import ApiError
from tui.serve.fields import object_of, wrong
from tui.serve.requests import ChatRequest, read_body

_RENAMED = ("messages", "system", "tools", "tool_choice", "stop_sequences", "thinking")
_REFUSED = ("n", "logprobs", "top_logprobs", "response_format", "output_config", "output_format", "mcp_servers")
_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}


def read_message(body: dict[str, Any], backbone: str) -> ChatRequest:
    """Check a body.

    Raises:
        ApiError: 400, naming the field.
    """
    for name in _REFUSED:
        if body.get(name):
            raise wrong(name, "is not supported at this address.", code="unsupported_parameter")
    if object_of(body, "thinking").get("type") not in (None, "disabled"):
        raise wrong("thinking", "is not supported here.", code="unsupported_parameter")
    messages = _messages(body.get("messages"))
    if body.get("system"):
        messages.insert(0, {"role": "system", "content": body["system"]})
    chat = {
        **{name: value for name, value in body.items() if name not in _RENAMED},
        "messages": messages,
        "stop": body.get("stop_sequences"),
        "tools": _tools(body.get("tools")),
        "tool_choice": _choice(object_of(body, "tool_choice")) if body.get("tools") else None,
    }
    return read_body({name: value for name, value in chat.items() if value is not None}, backbone)


def _tools(tools: Any) -> Any:
    """The tools in OpenAI's form."""
    if not isinstance(tools, list):
        return tools
    made = []
    for place, tool in enumerate(tools):
        if not isinstance(tool, dict) or tool.get("type") not in (None, "custom"):
            raise wrong(f"tools[{place}]", "is none of the client's own; others are not supported.")
        function = {"name": tool.get("name"), "description": tool.get("description")}
        made.append({"type": "function", "function": {**function, "parameters": tool.get("input_schema")}})
    return made


def _choice(choice: dict[str, Any]) -> Any:
    if not choice:
        return None
    if choice.get("type") == "tool":
        return {"type": "function", "function": {"name": choice.get("name")}}
    kind = choice.get("type")
    if not isinstance(kind, str) or kind not in _CHOICES:
        raise wrong("tool_choice", "must be of the type auto, any, tool or none.")
    return _CHOICES[kind]


def _messages(messages: Any) -> list[dict[str, Any]]:
    """The messages in OpenAI's form: calls and results of tools stand beside the texts, not among them."""
    if not isinstance(messages, list):
        raise wrong("messages", "must be a list.")
    made: list[dict[str, Any]] = []
    for place, entry in enumerate(messages):
        content = entry.get("content") if isinstance(entry, dict) else None
        if not isinstance(content, list):
            made.append(entry)
            continue
        texts: list[Any] = []
        calls: list[dict[str, Any]] = []
        for part in content:
            kind = part.get("type") if isinstance(part, dict) else None
            if kind == "tool_use":
                function = {"name": part.get("name"), "arguments": _json(part.get("input"), f"messages[{place}]")}
                calls.append({"id": part.get("id"), "function": function})
            elif kind == "tool_result":
                result = part.get("content")
                said = {"tool_call_id": part.get("tool_use_id"), "content": "" if result is None else result}
                made.append({"role": "tool", **said})
            elif kind not in ("thinking", "redacted_thinking"):  # none of ours; clients send that of others back
                texts.append(part)
        if texts or calls:
            made.append({"role": entry.get("role"), "content": texts, **({"tool_calls": calls} if calls else {})})
    return made


def _json(value: Any, where: str) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except (ValueError, RecursionError):
        raise wrong(where, "holds a call whose input is no object.") from None


class MessageReply(Reply):
    """The object and the events that go back for one request."""

    closing = b""

    def __init__(self, request: ChatRequest, fingerprint: str) -> None:
        super().__init__(request, fingerprint)
        self._id = f"msg_{secrets.token_hex(12)}"
        self._opened = False

    def whole(self, results: Sequence[Message]) -> dict[str, Any]:
        """A message."""
        [result] = results
        content = self._call(result) if "call" in result else {"type": "text", "text": result["response"]}
        return {
            **self._message([content], *self._end(result)),
            "usage": _usage(result),
            "tokmem": self._route(result) | {"timing": result["timing"]},
        }

    def first(self, route: Message) -> list[dict[str, Any]]:
        """The event that opens a stream, with the route."""
        begun = self._message([], None, None) | {"usage": {"input_tokens": 0, "output_tokens": 0}}
        return [{"type": "message_start", "message": begun | {"tokmem": self._route(route)}}]

    def piece(self, text: str) -> list[dict[str, Any]]:
        """The events of a piece of text."""
        return [*self._open(), _delta({"type": "text_delta", "text": text})]

    def last(self, result: Message) -> list[dict[str, Any]]:
        """The events that end a stream."""
        if "call" in result:
            call = self._call(result)
            block = {"type": "content_block_start", "index": 0, "content_block": {**call, "input": {}}}
            shown = [block, _delta({"type": "input_json_delta", "partial_json": result["call"]["arguments"]})]
        else:
            shown = self._open()
        reason, stop = self._end(result)
        ended = {"delta": {"stop_reason": reason, "stop_sequence": stop}, "usage": _usage(result)}
        routed = {"tokmem": self._route(result) | {"timing": result["timing"]}}
        return [
            *shown,
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", **ended, **routed},
            {"type": "message_stop"},
        ]

    def end(self, results: Sequence[Message]) -> list[dict[str, Any]]:
        """Nothing: the last events have the usage."""
        return []

    def line(self, value: dict[str, Any]) -> bytes:
        """An event as it is sent."""
        return f"event: {value.get('type', 'error')}\n".encode() + super().line(value)

    def error(self, error: ApiError) -> dict[str, Any]:
        """An error on the way, as an event."""
        return error.anthropic_body()

    def _open(self) -> list[dict[str, Any]]:
        """The event before the first text."""
        if self._opened:
            return []
        self._opened = True
        return [{"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}]

    def _end(self, result: Message) -> tuple[str, str | None]:
        """Why it ended, and the stop text that ended it."""
        stop = result.get("stop_text")
        return ("stop_sequence", stop) if stop else (_REASONS[finish_reason(result)], None)

    def _message(self, content: list[dict[str, Any]], reason: str | None, stop: str | None) -> dict[str, Any]:
        head = {"id": self._id, "type": "message", "role": "assistant", "model": self.request.model}
        return {**head, "content": content, "stop_reason": reason, "stop_sequence": stop}

    def _call(self, result: Message) -> dict[str, Any]:
        call = result["call"]
        block = {"type": "tool_use", "id": f"toolu_{secrets.token_hex(12)}", "name": call["name"]}
        return {**block, "input": json.loads(call["arguments"])}


def _delta(delta: dict[str, Any]) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": 0, "delta": delta}


def _usage(result: Message) -> dict[str, int]:
    counts = usage(result)
    return {"input_tokens": counts["prompt_tokens"], "output_tokens": counts["completion_tokens"]}
