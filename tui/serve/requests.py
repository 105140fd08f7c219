"""Reads the body of a chat completion, checks it, and translates it for the engine.

What cannot be honoured and would change the answer's form (tools, several choices, JSON mode) is refused; what only
colours its wording is named in ``ignored``, so that a client can tell.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from profiles.store.pair_rules import text_fault
from tokmem_desk.procedures import AUTO_ROUTE
from tui.serve.errors import ApiError

_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
_MOST_STOPS = 4
_LEAST_TOP_P = 0.01
_COLOURS = ("frequency_penalty", "presence_penalty", "logit_bias")
_MOST_PENALTY = 2
_MOST_BIAS = 100
_SEED_LIMIT = 2**63


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One request, as the engine wants it."""

    model: str
    route: str
    message: str
    """All that the person has said since the last answer."""
    conversation: list[dict[str, str]]
    """What was said before, a system text first."""
    stream: bool = False
    include_usage: bool = False
    max_tokens: int | None = None
    sample: bool = False
    settings: dict[str, float] = field(default_factory=dict)
    """Sampling, by the names of the settings."""
    seed: int | None = None
    stop: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()


def read_request(data: bytes, backbone: str) -> ChatRequest:
    """Check a body.

    Args:
        data: JSON.
        backbone: the id of the loaded one.

    Raises:
        ApiError: 400, naming the field.
    """
    try:
        body = json.loads(data)  # a whole number of more than 4,300 digits is a ValueError, too
    except (ValueError, RecursionError):
        raise ApiError(400, "The body is not JSON.", code="invalid_json") from None
    if not isinstance(body, dict):
        raise ApiError(400, "The body must be a JSON object.", code="invalid_json")
    _refuse_unknown_forms(body)
    model = _text(body, "model") or AUTO_ROUTE
    conversation, message = _said(body.get("messages"))
    temperature, top_p = _number(body, "temperature", 0, 2), _number(body, "top_p", 0, 1)
    settings = {}
    if temperature is not None:
        settings["temperature"] = temperature
    if top_p is not None:
        settings["top_p"] = max(top_p, _LEAST_TOP_P)
    _check_colours(body)
    most_tokens = [_whole(body, name, 1) for name in ("max_completion_tokens", "max_tokens")]
    options = _object(body, "stream_options")
    return ChatRequest(
        model=model,
        route=route_of(model, backbone),
        message=message,
        conversation=conversation,
        stream=_flag(body, "stream"),
        include_usage=_flag(options, "include_usage"),
        max_tokens=most_tokens[0] or most_tokens[1],
        sample=bool(settings) and temperature != 0,
        settings=settings,
        seed=_whole(body, "seed", -_SEED_LIMIT),
        stop=_stops(body.get("stop")),
        ignored=tuple(name for name in _COLOURS if body.get(name)),
    )


def route_of(model: str, backbone: str) -> str:
    """``auto``, ``none`` or a procedure's name; the backbone's own id routes by itself, ``ID:NAME`` names a route."""
    if model in (backbone, "default"):
        return AUTO_ROUTE
    return model.removeprefix(f"{backbone}:")


def _refuse_unknown_forms(body: dict[str, Any]) -> None:
    form = _object(body, "response_format")
    choices = _whole(body, "n", 1)
    refused = {
        "tools": bool(body.get("tools")),
        "functions": bool(body.get("functions")),
        "n": choices not in (None, 1),
        "logprobs": bool(body.get("logprobs")),
        "response_format": bool(form) and form.get("type") != "text",
        "modalities": body.get("modalities") not in (None, ["text"]),
    }
    for name, given in refused.items():
        if given:
            raise _wrong(name, "is not supported here: one answer, as text.", code="unsupported_parameter")


def _check_colours(body: dict[str, Any]) -> None:
    """Check fields that are ignored, too: a client that sends a malformed one should be told."""
    for name in ("frequency_penalty", "presence_penalty"):
        _number(body, name, -_MOST_PENALTY, _MOST_PENALTY)
    bias = _object(body, "logit_bias")
    for token in bias:
        _number(bias, token, -_MOST_BIAS, _MOST_BIAS, "logit_bias")
    _whole(body, "top_logprobs", 0)


def _said(messages: Any) -> tuple[list[dict[str, str]], str]:
    """The conversation before and the message. Several texts of one side in a row become one, a blank line between."""
    if not isinstance(messages, list) or not messages:
        raise _wrong("messages", "must be a list of at least one message.")
    system: list[str] = []
    sides: list[tuple[str, list[str]]] = []  # joined at the end: adding text to text is slow for many messages
    for place, entry in enumerate(messages):
        where = f"messages[{place}]"
        if not isinstance(entry, dict) or not isinstance(entry.get("role"), str):
            raise _wrong(where, "must be an object with role and content.")
        role = _ROLES.get(entry["role"])
        if role is None:
            raise _wrong(f"{where}.role", f"is {entry['role']!r}; known are {', '.join(_ROLES)}.")
        text = _content(entry.get("content"), f"{where}.content")
        if role == "system":
            system.append(text)
        elif sides and sides[-1][0] == role:
            sides[-1][1].append(text)
        else:
            sides.append((role, [text]))
    turns = [{"role": role, "content": "\n\n".join(texts)} for role, texts in sides]
    if turns and turns[0]["role"] == "assistant":  # a greeting that the client put there itself
        turns.insert(0, {"role": "user", "content": ""})
    if not turns or turns[-1]["role"] != "user":
        raise _wrong("messages", "must end with a message of the user.")
    message = turns.pop()["content"]
    if not message.strip():
        raise _wrong("messages", "ends with an empty message.")
    if system:
        turns.insert(0, {"role": "system", "content": "\n\n".join(system)})
    return turns, message


def _content(content: Any, where: str) -> str:
    """A text, or the texts of a list of parts."""
    if isinstance(content, list):
        parts = []
        for part in content:
            if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
                raise _wrong(where, "holds a part that is not text.", code="unsupported_content")
            parts.append(part["text"])
        content = "\n".join(parts)
    if not isinstance(content, str):
        raise _wrong(where, "must be text.")
    if content and (fault := text_fault(content)):
        raise _wrong(where, f"{fault}.")
    return content


def _stops(value: Any) -> tuple[str, ...]:
    stops = [value] if isinstance(value, str) else value
    if stops is None:
        return ()
    if not isinstance(stops, list) or len(stops) > _MOST_STOPS or not all(isinstance(one, str) for one in stops):
        raise _wrong("stop", f"must be a text or a list of at most {_MOST_STOPS} texts.")
    return tuple(one for one in stops if one)


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name, "")
    if not isinstance(value, str):
        raise _wrong(name, "must be text.")
    return value


def _object(body: dict[str, Any], name: str) -> dict[str, Any]:
    value = body.get(name)
    if value is not None and not isinstance(value, dict):
        raise _wrong(name, "must be an object.")
    return value or {}


def _flag(body: dict[str, Any], name: str) -> bool:
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise _wrong(name, "must be true or false.")
    return bool(value)


def _number(body: dict[str, Any], name: str, least: float, most: float, param: str = "") -> float | None:
    value = body.get(name)
    if value is None:
        return None
    # Compared before anything is made a float of it: a whole number of a thousand digits is none.
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not least <= value <= most:
        raise _wrong(param or name, f"must be a number from {least:g} to {most:g}.")
    return float(value)


def _whole(body: dict[str, Any], name: str, least: int) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value < _SEED_LIMIT:
        raise _wrong(name, "must be a whole number" + (f" of {least} or more." if least > 0 else "."))
    return value


def _wrong(param: str, fault: str, *, code: str = "invalid_value") -> ApiError:
    return ApiError(400, f"{param} {fault}", code=code, param=param)
