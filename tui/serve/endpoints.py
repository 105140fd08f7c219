"""The addresses of ``serve``: each is declared once, and routes, tokens' scopes and ``/openapi.json`` follow.

Knows what is sent and what comes back as JSON schemas, and answers nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

from profiles.store.scopes import ASK, READ, TEACH, TokenScope
from tokmem_desk.generation.token_log import MOST_OTHERS
from tui.serve.embeddings import MOST_TEXTS
from tui.serve.requests import MOST_CHOICES
from tui.serve.teaching import MOST_PAIRS

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string", "minLength": 1, "pattern": "\\S"}
_OR_NULL = "null"


def _maybe(kind: str, **more: Any) -> Schema:
    return {"type": [kind, _OR_NULL], **more}


def _object(required: tuple[str, ...], **properties: Schema) -> Schema:
    return {"type": "object", "required": list(required), "properties": properties}


def _closed(required: tuple[str, ...], **properties: Schema) -> Schema:
    return {**_object(required, **properties), "additionalProperties": False}


_LIST: Schema = {"type": "array", "items": {"type": "object"}}
_MESSAGE = _object(
    ("role", "content"),
    role={"type": "string", "enum": ["system", "developer", "user", "assistant", "tool"]},
    content={"anyOf": [{"type": "string"}, {"type": "array"}, {"type": "null"}]},
)
_USAGE = _object(("prompt_tokens", "total_tokens"), prompt_tokens={"type": "integer"}, total_tokens={"type": "integer"})
_SAMPLING: dict[str, Schema] = {
    "model": {"type": "string", "description": "auto, none, or a procedure's name; auto where it is not given"},
    "stream": _maybe("boolean"),
    "temperature": _maybe("number", minimum=0, maximum=2),
    "top_p": _maybe("number", minimum=0, maximum=1),
    "seed": _maybe("integer", minimum=-(2**62), maximum=2**62),
}
_DRAWN: dict[str, Schema] = {
    **_SAMPLING,
    "max_tokens": _maybe("integer", minimum=1, maximum=2**31),
    "n": _maybe("integer", minimum=1, maximum=MOST_CHOICES),
    "stop": {"anyOf": [{"type": ["string", "null"]}, {"type": "array", "items": {"type": "string"}, "maxItems": 4}]},
}
_CHAT = _object(
    ("messages",),
    messages={"type": "array", "minItems": 1, "items": _MESSAGE},
    logprobs=_maybe("boolean"),
    top_logprobs=_maybe("integer", minimum=0, maximum=MOST_OTHERS),
    tools=_maybe("array", items={"type": "object"}),
    tool_choice={"anyOf": [{"type": ["string", "null"]}, {"type": "object"}]},
    response_format=_maybe("object"),
    **_DRAWN,
)
_PROMPT = _object(
    ("prompt",),
    prompt=_TEXT,
    logprobs=_maybe("integer", minimum=0, maximum=MOST_OTHERS),
    **_DRAWN,
)
_RESPONSE = _object(
    ("input",),
    input={"anyOf": [_TEXT, {"type": "array", "items": {"type": "object"}}]},
    instructions=_maybe("string"),
    max_output_tokens=_maybe("integer", minimum=1, maximum=2**31),
    **_SAMPLING,
)
_MESSAGES = _object(
    ("messages", "max_tokens"),
    messages={"type": "array", "minItems": 1, "items": _MESSAGE},
    max_tokens={"type": "integer", "minimum": 1, "maximum": 2**31},
    system={"anyOf": [{"type": ["string", "null"]}, {"type": "array", "items": {"type": "object"}}]},
    stop_sequences=_maybe("array", items={"type": "string"}, maxItems=4),
    tools=_maybe("array", items={"type": "object"}),
    tool_choice=_maybe("object"),
    **_SAMPLING,
)
_EMBEDDINGS = _object(
    ("input",),
    input={"anyOf": [_TEXT, {"type": "array", "items": _TEXT, "minItems": 1, "maxItems": MOST_TEXTS}]},
    model={"type": "string"},
    encoding_format={"type": ["string", "null"], "enum": ["float", "base64", None]},
)
_FEEDBACK = _closed(
    ("message", "route"),
    message=_TEXT,
    route={**_TEXT, "description": "the right one"},
    got=_maybe("string", description="the route that it got; without it the one that it would get now"),
    answer=_maybe("string", description="the right answer; it becomes an example pair"),
)
_NEW_PROCEDURE = _closed(
    ("name", "pairs"),
    name={"type": "string", "pattern": "^[a-z0-9_-]{1,40}$"},
    description={"type": "string"},
    pairs={
        "type": "array",
        "minItems": 1,
        "maxItems": MOST_PAIRS,
        "items": _object(("input", "response"), input=_TEXT, response=_TEXT),
    },
    schema=_maybe("object", description="a JSON schema that its answers are held to"),
    train={"type": "boolean", "description": "queue its training; the app works the queue off"},
)
_PROCEDURE = _object(
    ("object", "name", "pairs", "trained"),
    object={"const": "procedure"},
    name={"type": "string"},
    pairs={"type": "integer"},
    trained={"type": "boolean"},
)
_MODEL = _object(("id", "object"), id={"type": "string"}, object={"const": "model"})
_MODELS = _object(("object", "data"), object={"const": "list"}, data={"type": "array", "items": _MODEL})


def _answer(kind: str, **more: Schema) -> Schema:
    return _object(("id", "object", "model", *more), id={"type": "string"}, object={"const": kind}, **more)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address."""

    method: str
    path: str
    handler: str
    """The method of ``tui.serve.app.ApiServer`` that answers it."""
    scope: TokenScope | None
    """What a token must be made for; None asks for no token."""
    summary: str
    answer: Schema
    body: Schema | None = None
    status: int = 200
    example: Schema | None = None
    """A body that is answered in any profile, as it stands."""
    streams: bool = False
    parameters: Mapping[str, str] = field(default_factory=dict)
    """Of the path, in order, each with an example."""
    errors: str = "Error"
    """The form of a refusal, among the document's schemas."""


_HELLO: Schema = {"role": "user", "content": "Hello"}

ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        "POST", "/v1/chat/completions", "complete", ASK, "Answer a conversation.",
        _answer("chat.completion", choices=_LIST, usage=_USAGE), _CHAT,
        example={"model": "auto", "messages": [_HELLO]}, streams=True,
    ),
    Endpoint(
        "POST", "/v1/completions", "complete_prompt", ASK, "Answer a prompt.",
        _answer("text_completion", choices=_LIST, usage=_USAGE), _PROMPT,
        example={"model": "auto", "prompt": "Hello"}, streams=True,
    ),
    Endpoint(
        "POST", "/v1/responses", "respond", ASK, "Answer in OpenAI's newer form; nothing is stored.",
        _answer("response", output=_LIST), _RESPONSE, example={"model": "auto", "input": "Hello"}, streams=True,
    ),
    Endpoint(
        "POST", "/v1/messages", "message", ASK, "Answer in Anthropic's form.",
        _object(("id", "type", "content"), type={"const": "message"}, content=_LIST), _MESSAGES,
        example={"model": "auto", "max_tokens": 100, "messages": [_HELLO]}, streams=True, errors="AnthropicError",
    ),
    Endpoint(
        "POST", "/v1/embeddings", "embeddings", READ, "Where texts lie in the router's space.",
        _object(("object", "data", "usage"), object={"const": "list"}, data=_LIST, usage=_USAGE), _EMBEDDINGS,
        example={"input": ["Hello", "Good morning"]},
    ),
    Endpoint("GET", "/v1/models", "models", READ, "The routes of the token's profile, and the model.", _MODELS),
    Endpoint("GET", "/v1/models/{model:path}", "model", READ, "One of them.", _MODEL, parameters={"model": "auto"}),
    Endpoint(
        "GET", "/v1/procedures", "procedures", READ, "The procedures of the token's profile.",
        _object(("object", "data"), object={"const": "list"}, data={"type": "array", "items": _PROCEDURE}),
    ),
    Endpoint(
        "POST", "/v1/procedures", "add_procedure", TEACH, "Define a procedure from example pairs.",
        _PROCEDURE, _NEW_PROCEDURE, status=201,
        example={
            "name": "shopping",
            "description": "Put what is to be bought on a list.",
            "pairs": [
                {"input": "we are out of milk", "response": "- milk"},
                {"input": "two lemons and rice, please", "response": "- lemons (2)\n- rice"},
            ],
        },
    ),
    Endpoint(
        "POST", "/v1/feedback", "feedback", TEACH, "Say the right route of a message, and the right answer.",
        _object(("object", "route", "got"), object={"const": "feedback"}), _FEEDBACK,
        example={"message": "How are you?", "route": "none"},
    ),
    Endpoint("GET", "/openapi.json", "openapi", None, "This document.", {"type": "object"}),
)  # fmt: skip

_REASON = _closed(
    ("message", "type", "param", "code"),
    message={"type": "string"},
    type={"type": "string"},
    param=_maybe("string"),
    code={"type": "string"},
)
_ERRORS = {
    "Error": _closed(("error",), error=_REASON),
    "AnthropicError": _closed(("type", "error"), type={"const": "error"}, error=_REASON),
}


def document() -> Schema:
    """The OpenAPI document (3.1)."""
    paths: dict[str, Schema] = {}
    for one in ENDPOINTS:
        paths.setdefault(one.path.replace(":path", ""), {})[one.method.lower()] = _operation(one)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "tokmem-desk serve",
            "version": version("tokmem-desk"),
            "description": "Procedures and plain chat of one profile, on this computer.",
        },
        "paths": paths,
        "components": {
            "schemas": _ERRORS,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(one: Endpoint) -> Schema:
    content: Schema = {"application/json": {"schema": one.answer}}
    if one.streams:
        content["text/event-stream"] = {}  # a schema would be of each event, and those differ
    refusal = {"application/json": {"schema": {"$ref": f"#/components/schemas/{one.errors}"}}}
    made: Schema = {
        "operationId": one.handler,
        "summary": one.summary,
        "security": [] if one.scope is None else [{"token": []}],
        "responses": {
            str(one.status): {"description": "What was asked for.", "content": content},
            "4XX": {"description": "A refusal, which says what to do.", "content": refusal},
            "5XX": {"description": "It did not work here; 503 is worth another try.", "content": refusal},
        },
    }
    if one.scope is not None:
        made["description"] = f"Needs a token of the scope {one.scope}, or of one that includes it."
    if one.parameters:
        made["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}, "example": example}
            for name, example in one.parameters.items()
        ]
    if one.body is not None:
        body = {"schema": one.body, "example": one.example}
        made["requestBody"] = {"required": True, "content": {"application/json": body}}
    return made
