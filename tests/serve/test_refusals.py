"""What is refused, and how: always in OpenAI's form, never with a traceback, never for a stranger."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import openai
import pytest

from profiles.files.paths import AppPaths
from profiles.registry.registry import ProfileRegistry
from tests.serve.conftest import Served
from tokmem_desk.errors import BusyError, ContextLengthError, IncompatibleError, TokmemError
from tui.serve import app as serve_app
from tui.serve.errors import api_error

HELLO = {"messages": [{"role": "user", "content": "hello"}]}


def tool(name: str, parameters: dict[str, Any] | None = None) -> dict[str, Any]:
    """A tool as clients send it."""
    return {"type": "function", "function": {"name": name, "parameters": parameters or {"type": "object"}}}


def error_of(response: Any, status: int) -> dict[str, Any]:
    """The error, checked for its form."""
    assert response.status_code == status, response.text
    body = response.json()
    assert set(body) - {"type"} == {"error"} and set(body["error"]) == {"message", "type", "param", "code"}
    assert body.get("type", "error") == "error"
    assert "Traceback" not in response.text
    return dict(body["error"])


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Basic abc", "Bearer tokmem-wrong"])
@pytest.mark.parametrize("address", ["/v1/models", "/v1/chat/completions"])
async def test_nobody_without_a_token(served: Served, authorization: str | None, address: str) -> None:
    served.http.headers.pop("authorization")
    headers = {} if authorization is None else {"Authorization": authorization}
    method = "GET" if address.endswith("models") else "POST"
    response = await served.http.request(method, address, headers=headers, json=HELLO if method == "POST" else None)
    assert error_of(response, 401)["type"] == "authentication_error"
    assert response.headers["www-authenticate"] == "Bearer"
    assert served.link.handles == [], "the engine hears nothing of it"


async def test_openai_client_knows_the_errors(served: Served) -> None:
    with pytest.raises(openai.AuthenticationError, match="opens nothing"):
        await served.openai("tokmem-wrong").models.list()
    with pytest.raises(openai.NotFoundError, match="gpt-4o"):
        await served.openai().chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "hi"}])
    with pytest.raises(openai.BadRequestError, match="n may be 16"):
        await served.openai().chat.completions.create(model="auto", messages=[{"role": "user", "content": "hi"}], n=17)


async def test_a_locked_profile_says_that_it_is_locked(served: Served, paths: AppPaths) -> None:
    with ProfileRegistry(paths) as registry:
        registry.locks.add("anna", "a long passphrase")
    headers = {"Authorization": f"Bearer {served.annas_token}"}
    for stream in (False, True):
        body = {**HELLO, "stream": stream}
        response = await served.http.post("/v1/chat/completions", json=body, headers=headers)
        assert error_of(response, 423)["code"] == "profile_locked"
    error_of(await served.http.get("/v1/models", headers=headers), 423)
    assert (await served.post(**HELLO)).status_code == 200, "the other profile is open"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "192.168.1.5", ""])
async def test_other_host_names(served: Served, host: str) -> None:
    assert error_of(await served.http.get("/v1/models", headers={"Host": host}), 403)["code"] == "host_not_allowed"


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:9999", "[::1]:80"])
async def test_names_of_this_computer(served: Served, host: str) -> None:
    assert (await served.http.get("/v1/models", headers={"Host": host})).status_code == 200


async def test_web_pages_get_no_leave(served: Served) -> None:
    origin = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    asked = await served.http.options("/v1/chat/completions", headers=origin)
    error_of(asked, 405)
    answered = await served.http.get("/v1/models", headers=origin)
    for response in (asked, answered):
        assert not [name for name in response.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": ["hello"]}, "messages[0]"),
        ({"messages": [{"role": "narrator", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"id": "1"}]}]}, "messages[0].tool_calls"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": "a\0b"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": " "}]}, "messages"),
        ({"messages": [{"role": "system", "content": " "}]}, "messages"),
        ({"messages": [{"role": "assistant", "content": "y"}]}, "messages"),
        ({**HELLO, "model": 4}, "model"),
        ({**HELLO, "stream": "yes"}, "stream"),
        ({**HELLO, "temperature": 3}, "temperature"),
        ({**HELLO, "temperature": True}, "temperature"),
        ({**HELLO, "top_p": -0.1}, "top_p"),
        ({**HELLO, "seed": 1.5}, "seed"),
        ({**HELLO, "seed": 2**70}, "seed"),
        ({**HELLO, "max_tokens": 0}, "max_tokens"),
        ({**HELLO, "max_completion_tokens": "many"}, "max_completion_tokens"),
        ({**HELLO, "stop": list("abcde")}, "stop"),
        ({**HELLO, "stop": [1]}, "stop"),
        ({**HELLO, "n": 17}, "n"),
        ({**HELLO, "top_logprobs": 1}, "top_logprobs"),
        ({**HELLO, "logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({**HELLO, "tools": [{"type": "function"}]}, "tools"),
        ({**HELLO, "logprobs": 1}, "logprobs"),
        ({**HELLO, "response_format": {"type": "grammar"}}, "response_format"),
        ({**HELLO, "response_format": {"type": "json_schema"}}, "response_format"),
        (
            {**HELLO, "response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "x"}}}},
            "response_format",
        ),
        ({**HELLO, "response_format": {"type": "json_object"}, "tools": [tool("x")]}, "response_format"),
        ({**HELLO, "tools": "x"}, "tools"),
        ({**HELLO, "tools": [{"type": "web_search"}]}, "tools"),
        ({**HELLO, "tools": [tool("x", {"type": "x"})]}, "tools"),
        ({**HELLO, "tool_choice": "required"}, "tool_choice"),
        (
            {**HELLO, "tools": [tool("x")], "tool_choice": {"type": "function", "function": {"name": "y"}}},
            "tool_choice",
        ),
        ({**HELLO, "tools": [tool("x")], "tool_choice": "perhaps"}, "tool_choice"),
        ({**HELLO, "tools": [tool("x")], "tool_choice": "required", "model": "mood_log"}, "tool_choice"),
        *(
            ({**HELLO, name: {"type": "object"}}, name)
            for name in ("guided_json", "guided_choice", "guided_regex", "grammar", "structured_outputs", "format")
        ),
        ({**HELLO, "model": "nothing_of_that_name"}, "model"),
    ],
)
async def test_bad_fields_are_named(served: Served, body: dict[str, Any], param: str) -> None:
    response = await served.http.post(
        "/v1/chat/completions", content=json.dumps(body), headers={"Content-Type": "application/json"}
    )
    error = error_of(response, 404 if param == "model" and isinstance(body["model"], str) else 400)
    assert error["param"] == param and error["type"] == "invalid_request_error"


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'"text"', b"\xff\xfe", b"[" * 100_000])
async def test_bodies_that_are_no_json_object(served: Served, content: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    error_of(await served.http.post("/v1/chat/completions", content=content, headers=headers), 400)


async def test_other_kinds_of_content(served: Served) -> None:
    error_of(await served.http.post("/v1/chat/completions", content=b"x", headers={"Content-Type": "text/plain"}), 415)
    error_of(await served.http.get("/v1/chat/completions"), 405)
    for address in ("/v1/nothing", "/chat/completions", "/"):
        assert "begin with /v1" in error_of(await served.http.get(address), 404)["message"]


@pytest.mark.parametrize("chunked", [False, True])
async def test_bodies_that_are_too_large(served: Served, chunked: bool) -> None:
    piece, count = b"x" * 65536, serve_app.BODY_LIMIT // 65536 + 1

    async def pieces() -> Any:
        for _ in range(count):
            yield piece

    content = pieces() if chunked else piece * count
    response = await served.http.post(
        "/v1/chat/completions", content=content, headers={"Content-Type": "application/json"}
    )
    error_of(response, 413)


async def test_too_many_at_once(served: Served, until, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve_app, "OPEN_LIMIT", 2)
    slow = [asyncio.create_task(served.post(messages=[{"role": "user", "content": "!slow"}])) for _ in range(2)]
    await until(lambda: served.api._open == 2)
    refused = await served.post(**HELLO)
    assert error_of(refused, 429)["code"] == "too_many_requests" and refused.headers["retry-after"]
    for task in slow:
        task.cancel()
    await asyncio.gather(*slow, return_exceptions=True)
    await until(lambda: served.api._open == 0)
    assert (await served.post(**HELLO)).status_code == 200


async def test_an_engine_that_dies_is_told_without_its_log_and_comes_back(served: Served) -> None:
    crash = [{"role": "user", "content": "!crash one two three"}]
    error = error_of(await served.post(messages=crash), 500)
    assert error["code"] == "engine_stopped" and "scripted crash" not in error["message"]
    assert (await served.post(**HELLO)).status_code == 200


async def test_a_stream_that_fails_says_so_in_its_last_event(served: Served) -> None:
    async with served.openai() as client:
        stream = await client.chat.completions.create(
            model="auto", messages=[{"role": "user", "content": "!oom one two three"}], stream=True
        )
        got = ""
        with pytest.raises(openai.APIError, match="does not fit into memory"):
            async for chunk in stream:
                got += chunk.choices[0].delta.content or ""
        assert got, "what came before is not lost"


async def test_running_out_of_memory_is_worth_another_try(served: Served) -> None:
    response = await served.post(messages=[{"role": "user", "content": "!oom one two three"}])
    assert error_of(response, 503)["code"] == "out_of_memory" and response.headers["retry-after"]


async def test_mistakes_of_ours_show_no_inside(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("private inside")

    monkeypatch.setattr(serve_app, "read_request", broken)
    response = await served.post(**HELLO)
    error_of(response, 500)
    assert "private inside" not in response.text


def test_every_kind_of_error_has_a_status() -> None:
    too_long = api_error(ContextLengthError("The text has 9 tokens.")).body()["error"]
    assert too_long["code"] == "context_length_exceeded" and "maximum context length" in too_long["message"]
    assert api_error(IncompatibleError("too long")).body()["error"]["code"] == "context_length_exceeded"
    assert api_error(BusyError("later")).status == 503
    assert api_error(TokmemError("odd")).status == 500
