"""Reads the body of a chat completion, checks it, and translates it for the engine.

What cannot be kept and would change the answer's form (other grammars) is refused; what only colours
its wording, and any field that is not known, is named in ``ignored``, so that a client can tell.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from tokmem_desk.errors import TokmemError
from tokmem_desk.generation.token_log import MOST_OTHERS
from tokmem_desk.procedures import AUTO_ROUTE, NONE_ROUTE
from tokmem_desk.templates.asked_form import AskedForm
from tui.serve.errors import ApiError
from tui.serve.fields import NUMBER_LIMIT, flag_of, number_of, object_of, text_of, whole_of, wrong
from tui.serve.messages import Said, read_messages
from tui.serve.tools import ToolUse, read_tools

_MOST_STOPS = 4
_LEAST_TOP_P = 0.01
_READ = (
    "model", "messages", "temperature", "top_p", "max_tokens", "max_completion_tokens", "stream", "stream_options",
    "seed", "stop", "response_format", "tools", "tool_choice", "n", "logprobs", "modalities", "top_logprobs",
)  # fmt: skip
_NEUTRAL = (
    "user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention",
    "parallel_tool_calls",
)  # fmt: skip
"""Fields that have no influence on an answer here, and need none: there is one call an answer at most."""
_OTHER_FORMS = (
    "guided_json", "guided_choice", "guided_regex", "guided_grammar", "grammar", "structured_outputs", "format",
    "json_schema", "functions", "function_call", "audio", "web_search_options",
)  # fmt: skip
"""Ways of other servers to ask for a form; ``response_format`` and ``tools`` are what is kept here."""
MOST_CHOICES = 16
"""Answers to one request."""
_MOST_PENALTY = 2
_MOST_BIAS = 100


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
    asked: dict[str, Any] | None = None
    """The form that the answer must have, as ``AskedForm.read`` takes it."""
    tools: ToolUse | None = None
    choices: int = 1
    """How many answers are wanted."""
    others: int | None = None
    """The tokens of the answer are wanted, each with so many of the likeliest in its place."""
    beginning: str = ""
    """Text that the client has begun the answer with; it is not sent again."""


def read_object(data: bytes) -> dict[str, Any]:
    """The JSON object that a body is.

    Raises:
        ApiError: 400: it is none.
    """
    try:
        body = json.loads(data)  # a whole number of more than 4,300 digits is a ValueError, too
    except (ValueError, RecursionError):
        raise ApiError(400, "The body is not JSON.", code="invalid_json") from None
    if not isinstance(body, dict):
        raise ApiError(400, "The body must be a JSON object.", code="invalid_json")
    return body


def read_request(data: bytes, backbone: str) -> ChatRequest:
    """Check the body of a chat completion.

    Args:
        data: JSON.
        backbone: the id of the loaded one.

    Raises:
        ApiError: 400, naming the field.
    """
    return read_body(read_object(data), backbone)


def read_body(body: dict[str, Any], backbone: str) -> ChatRequest:
    """Check the fields of a chat completion; see ``read_request``."""
    _refuse_other_forms(body)
    model = text_of(body, "model") or AUTO_ROUTE
    said = read_messages(body.get("messages"))
    tools = read_tools(body)
    asked = _asked(body, tools, said)
    route = route_of(model, backbone)
    if route == AUTO_ROUTE and (said.answers_tool or said.beginning):
        route = NONE_ROUTE  # neither is a message of the person that a procedure could answer
    conversation = said.conversation
    if tools is not None:
        conversation = _told(conversation, tools.instruction)
    temperature, top_p = number_of(body, "temperature", 0, 2), number_of(body, "top_p", 0, 1)
    settings = {}
    if temperature is not None:
        settings["temperature"] = temperature
    if top_p is not None:
        settings["top_p"] = max(top_p, _LEAST_TOP_P)
    _check_colours(body)
    most_tokens = [_most_tokens(body, name) for name in ("max_completion_tokens", "max_tokens")]
    options = object_of(body, "stream_options")
    return ChatRequest(
        model=model,
        route=route,
        message=said.message,
        conversation=conversation,
        stream=flag_of(body, "stream"),
        include_usage=flag_of(options, "include_usage"),
        max_tokens=most_tokens[0] or most_tokens[1],
        sample=bool(settings) and temperature != 0,
        settings=settings,
        seed=whole_of(body, "seed", -NUMBER_LIMIT),
        stop=_stops(body.get("stop")),
        ignored=tuple(name for name in body if name not in (*_READ, *_NEUTRAL) and body[name]),
        asked=asked,
        tools=tools,
        choices=_choices(body),
        others=_others(body),
        beginning=said.beginning,
    )


def _choices(body: dict[str, Any]) -> int:
    wanted = whole_of(body, "n", 1) or 1
    if wanted > MOST_CHOICES:
        raise wrong("n", f"may be {MOST_CHOICES} at most.")
    return wanted


def _others(body: dict[str, Any]) -> int | None:
    """How many likely tokens are wanted with each token; None where tokens are not."""
    wanted, others = flag_of(body, "logprobs"), whole_of(body, "top_logprobs", 0) or 0
    if others > MOST_OTHERS:
        raise wrong("top_logprobs", f"may be {MOST_OTHERS} at most.")
    if others and not wanted:
        raise wrong("top_logprobs", "needs logprobs, which must be true.")
    return others if wanted else None


def _told(conversation: list[dict[str, str]], instruction: str) -> list[dict[str, str]]:
    """The conversation with a further system text."""
    if conversation and conversation[0]["role"] == "system":
        first = {"role": "system", "content": f"{conversation[0]['content']}\n\n{instruction}"}
        return [first, *conversation[1:]]
    return [{"role": "system", "content": instruction}, *conversation]


def _most_tokens(body: dict[str, Any], name: str) -> int | None:
    """The longest answer; -1 says no limit of the client's, as with other local servers."""
    return None if body.get(name) == -1 and not isinstance(body[name], bool) else whole_of(body, name, 1)


def _asked(body: dict[str, Any], tools: ToolUse | None, said: Said) -> dict[str, Any] | None:
    """The form that the answer must have.

    Raises:
        ApiError: 400: it cannot be kept, or there are two.
    """
    wanted = object_of(body, "response_format")
    kind = wanted.get("type", "text") if wanted else "text"
    fields: dict[str, Any] | None = None
    if kind == "json_object":
        fields = {"json_object": True}
    elif kind == "json_schema":
        form = wanted.get("json_schema")
        schema = form.get("schema") if isinstance(form, dict) else None
        if not isinstance(schema, dict):
            raise wrong("response_format", "must have json_schema with a schema, which is an object.")
        fields = {"schema": schema}
    elif kind != "text":
        raise wrong("response_format", "may be text, json_object or json_schema here.", code="unsupported_parameter")
    forms = [form for form in (fields, None if tools is None else tools.fields) if form is not None]
    if said.beginning:
        forms.append({"beginning": said.beginning})
    if len(forms) > 1:
        raise wrong(
            "response_format" if fields is not None else "messages",
            "cannot be kept together with tools, or with a last message of the assistant.",
            code="unsupported_parameter",
        )
    if not forms:
        return None
    try:
        _ = AskedForm.read(forms[0]).grammar
    except TokmemError as caught:
        raise wrong("response_format" if fields is not None else "messages", f"cannot be kept: {caught}") from None
    return forms[0]


def route_of(model: str, backbone: str) -> str:
    """``auto``, ``none`` or a procedure's name; the backbone's own id routes by itself, ``ID:NAME`` names a route."""
    if model in (backbone, "default"):
        return AUTO_ROUTE
    return model.removeprefix(f"{backbone}:")


def _refuse_other_forms(body: dict[str, Any]) -> None:
    refused = {
        "modalities": body.get("modalities") not in (None, ["text"]),
        **{name: bool(body.get(name)) for name in _OTHER_FORMS},
    }
    for name, given in refused.items():
        if given:
            how = ": use response_format or tools." if name in _OTHER_FORMS else ": answers are text."
            raise wrong(name, f"is not supported here{how}", code="unsupported_parameter")


def _check_colours(body: dict[str, Any]) -> None:
    """Check fields that are ignored, too: a client that sends a malformed one should be told."""
    for name in ("frequency_penalty", "presence_penalty"):
        number_of(body, name, -_MOST_PENALTY, _MOST_PENALTY)
    bias = object_of(body, "logit_bias")
    for token in bias:
        number_of(bias, token, -_MOST_BIAS, _MOST_BIAS, "logit_bias")


def _stops(value: Any) -> tuple[str, ...]:
    stops = [value] if isinstance(value, str) else value
    if stops is None:
        return ()
    if not isinstance(stops, list) or len(stops) > _MOST_STOPS or not all(isinstance(one, str) for one in stops):
        raise wrong("stop", f"must be a text or a list of at most {_MOST_STOPS} texts.")
    return tuple(one for one in stops if one)
