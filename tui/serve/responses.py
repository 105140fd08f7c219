"""``/v1/responses``: OpenAI's newer form of a request and its answer.

Nothing is stored, so no response can be gone on with by its id. A request is translated into that of a chat
completion; ``ResponseReply`` writes its answer in this form.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Sequence
from typing import Any

from tui.engine_client.protocol import Message
from tui.serve.answers import Reply, finish_reason, usage
from tui.serve.errors import ApiError
from tui.serve.fields import flag_of, object_of, text_of, wrong
from tui.serve.logprobs import shown_tokens, token_entries
from tui.serve.requests import ChatRequest, read_body

_REFUSED = ("previous_response_id", "conversation", "prompt", "background")
_RENAMED = ("input", "instructions", "text", "max_output_tokens", "tools", "tool_choice", "messages", *_REFUSED)
_LOGPROBS = "message.output_text.logprobs"
_NEUTRAL = ("include", "truncation", "reasoning", "max_tool_calls")
"""Fields without influence here: there is no reasoning, and a text that is too long is refused."""


def read_response(body: dict[str, Any], backbone: str) -> ChatRequest:
    """Check a body.

    Raises:
        ApiError: 400, naming the field.
    """
    for name in _REFUSED:
        if body.get(name):
            raise wrong(name, "is not supported here: nothing is stored.", code="unsupported_parameter")
    if body.get("n") not in (None, 1):
        raise wrong("n", "is not supported here: a response has one answer.", code="unsupported_parameter")
    messages = _messages(body.get("input"))
    if instructions := text_of(body, "instructions"):
        messages.insert(0, {"role": "system", "content": instructions})
    form = object_of(object_of(body, "text"), "format")
    if form.get("type") == "json_schema":
        form = {"type": "json_schema", "json_schema": {"name": form.get("name"), "schema": form.get("schema")}}
    rest = {name: value for name, value in body.items() if name not in (*_RENAMED, *_NEUTRAL)}
    chat = {
        **rest,
        "messages": messages,
        "max_completion_tokens": body.get("max_output_tokens"),
        "tools": body.get("tools"),
        "tool_choice": body.get("tool_choice"),
        "response_format": form or None,
    }
    included = body.get("include")
    if body.get("top_logprobs") or (isinstance(included, list) and _LOGPROBS in included):
        chat["logprobs"] = True
    flag_of(body, "store")
    return read_body({name: value for name, value in chat.items() if value is not None}, backbone)


def _messages(items: Any) -> list[dict[str, Any]]:
    """The messages of ``input``: a text, or a list of messages, calls and their results."""
    if isinstance(items, str):
        return [{"role": "user", "content": items}]
    if not isinstance(items, list):
        raise wrong("input", "must be a text or a list.")
    messages: list[dict[str, Any]] = []
    for place, item in enumerate(items):
        if not isinstance(item, dict):
            raise wrong(f"input[{place}]", "must be an object.")
        kind = item.get("type", "message")
        if kind == "message":
            messages.append({"role": item.get("role"), "content": item.get("content")})
        elif kind == "function_call":
            function = {"name": item.get("name"), "arguments": item.get("arguments")}
            messages.append({"role": "assistant", "tool_calls": [{"id": item.get("call_id"), "function": function}]})
        elif kind == "function_call_output":
            result = {"role": "tool", "tool_call_id": item.get("call_id"), "content": item.get("output")}
            messages.append(result)
        elif kind != "reasoning":  # there is none here, and clients send that of others back
            raise wrong(
                f"input[{place}].type", f"is {kind!r}, which is not supported here.", code="unsupported_content"
            )
    return messages


class ResponseReply(Reply):
    """The object and the events that go back for one request."""

    closing = b""

    def __init__(self, request: ChatRequest, fingerprint: str) -> None:
        super().__init__(request, fingerprint)
        self._id = f"resp_{secrets.token_hex(16)}"
        self._item = f"msg_{secrets.token_hex(16)}"
        self._created = int(time.time())
        self._number = 0
        self._said = ""
        self._opened = False

    def whole(self, results: Sequence[Message]) -> dict[str, Any]:
        """A finished response."""
        [result] = results
        short = finish_reason(result) == "length"
        told = usage(result)
        read, written = told["prompt_tokens"], told["completion_tokens"]
        counts = {
            "input_tokens": read,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": written,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": read + written,
        }
        made = self._response("incomplete" if short else "completed", [self._output(result)], counts)
        made["incomplete_details"] = {"reason": "max_output_tokens"} if short else None
        return {**made, "tokmem": self._route(result) | {"timing": result["timing"]}}

    def first(self, route: Message) -> list[dict[str, Any]]:
        """The events that open a stream, with the route."""
        begun = self._response("in_progress", [], None) | {"tokmem": self._route(route)}
        return [self._event("response.created", response=begun), self._event("response.in_progress", response=begun)]

    def piece(self, text: str) -> list[dict[str, Any]]:
        """The events of a piece of text."""
        self._said += text
        return [*self._open(), self._event("response.output_text.delta", **self._place, delta=text, logprobs=[])]

    def last(self, result: Message) -> list[dict[str, Any]]:
        """The events that end a stream."""
        made = self.whole([result])
        [item] = made["output"]
        if "call" in result:
            call = {**item, "arguments": "", "status": "in_progress"}
            at = {"item_id": item["id"], "output_index": 0}
            events = [
                self._event("response.output_item.added", output_index=0, item=call),
                self._event("response.function_call_arguments.delta", **at, delta=item["arguments"]),
                self._event(
                    "response.function_call_arguments.done", **at, name=item["name"], arguments=item["arguments"]
                ),
            ]
        else:
            part = item["content"][0]
            events = [
                *self._open(),
                self._event("response.output_text.done", **self._place, text=self._said, logprobs=part["logprobs"]),
                self._event("response.content_part.done", **self._place, part={**part, "text": self._said}),
            ]
        ended = "response.completed" if made["status"] == "completed" else "response.incomplete"
        return [
            *events,
            self._event("response.output_item.done", output_index=0, item=item),
            self._event(ended, response=made),
        ]

    def end(self, results: Sequence[Message]) -> list[dict[str, Any]]:
        """Nothing: the last event has the usage."""
        return []

    def line(self, value: dict[str, Any]) -> bytes:
        """An event as it is sent."""
        return f"event: {value.get('type', 'error')}\n".encode() + super().line(value)

    def error(self, error: ApiError) -> dict[str, Any]:
        """An error on the way, as an event."""
        body = error.body()
        told = body["error"]
        return self._event("error", **{name: told[name] for name in ("code", "message", "param")}) | body

    @property
    def _place(self) -> dict[str, Any]:
        return {"item_id": self._item, "output_index": 0, "content_index": 0}

    def _open(self) -> list[dict[str, Any]]:
        """The events before the first text."""
        if self._opened:
            return []
        self._opened = True
        item = {"id": self._item, "type": "message", "status": "in_progress", "role": "assistant", "content": []}
        part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        return [
            self._event("response.output_item.added", output_index=0, item=item),
            self._event("response.content_part.added", **self._place, part=part),
        ]

    def _event(self, kind: str, **fields: Any) -> dict[str, Any]:
        self._number += 1
        return {"type": kind, "sequence_number": self._number - 1, **fields}

    def _output(self, result: Message) -> dict[str, Any]:
        if "call" in result:
            call = result["call"]
            return {
                "id": f"fc_{secrets.token_hex(16)}",
                "type": "function_call",
                "status": "completed",
                "call_id": f"call_{secrets.token_hex(12)}",
                "name": call["name"],
                "arguments": call["arguments"],
            }
        logprobs = token_entries(shown_tokens(self.request, result) or ())
        part = {"type": "output_text", "text": result["response"], "annotations": [], "logprobs": logprobs}
        return {
            "id": self._item,
            "type": "message",
            "status": "incomplete" if finish_reason(result) == "length" else "completed",
            "role": "assistant",
            "content": [part],
        }

    def _response(self, status: str, output: list[dict[str, Any]], counts: dict[str, Any] | None) -> dict[str, Any]:
        asked = self.request
        tools = () if asked.tools is None else asked.tools.descriptions
        return {
            "id": self._id,
            "object": "response",
            "created_at": self._created,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "instructions": None,
            "metadata": {},
            "model": asked.model,
            "output": output,
            "parallel_tool_calls": False,
            "temperature": asked.settings.get("temperature"),
            "tool_choice": "required" if asked.tools is not None and asked.tools.must_call else "auto",
            "tools": [{"type": "function", "strict": True, "parameters": {}, **json.loads(one)} for one in tools],
            "top_p": asked.settings.get("top_p"),
            "store": False,
            "usage": counts,
        }
