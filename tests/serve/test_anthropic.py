"""Messages in Anthropic's form, by plain HTTP; its own library asks in ``tests/serve/clients``."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.serve.conftest import MILK, Served
from tests.serve.test_refusals import error_of

LINE = "( ) buy milk due:mon"
WEATHER = {
    "name": "weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


async def send(served: Served, text: Any, **more: Any) -> Any:
    messages = text if isinstance(text, list) else [{"role": "user", "content": text}]
    return await served.http.post(
        "/v1/messages", json={"model": "auto", "max_tokens": 50, "messages": messages, **more}
    )


async def events(served: Served, text: Any, **more: Any) -> list[Any]:
    blocks = (await send(served, text, stream=True, **more)).text.strip().split("\n\n")
    found = [json.loads(block.split("\ndata: ", 1)[1]) for block in blocks]
    assert [block.split("\n")[0] for block in blocks] == [f"event: {one['type']}" for one in found]
    return found


async def test_a_text_whole_and_streamed(served: Served) -> None:
    told = (await send(served, MILK)).json()
    assert told["content"] == [{"type": "text", "text": LINE}] and told["stop_reason"] == "end_turn"
    assert told["usage"] == {"input_tokens": 11, "output_tokens": 7} and told["tokmem"]["route"] == "todo_line"
    found = await events(served, MILK)
    kinds = [one["type"] for one in found]
    assert kinds[:2] == ["message_start", "content_block_start"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert "".join(one["delta"]["text"] for one in found if one["type"] == "content_block_delta") == LINE
    assert found[-2]["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}


async def test_the_token_as_its_clients_send_it(served: Served) -> None:
    served.http.headers.pop("authorization")
    assert (await send(served, MILK)).status_code == 401
    served.http.headers["x-api-key"] = served.token
    assert (await send(served, MILK)).status_code == 200


async def test_system_and_stop_sequences(served: Served) -> None:
    told = (await send(served, "hello there", system=[{"type": "text", "text": "Be brief."}])).json()
    assert told["content"][0]["text"].endswith("told: Be brief.")
    told = (await send(served, MILK, stop_sequences=["never", " milk"])).json()
    assert (told["content"][0]["text"], told["stop_reason"], told["stop_sequence"]) == (
        "( ) buy",
        "stop_sequence",
        " milk",
    )


async def test_tools_and_their_results(served: Served) -> None:
    options = {"tools": [WEATHER], "tool_choice": {"type": "any"}}
    told = (await send(served, "weather in Rome?", **options)).json()
    [call] = told["content"]
    assert (call["name"], call["input"], told["stop_reason"]) == ("weather", {"city": "word"}, "tool_use")
    found = await events(served, "weather in Rome?", **options)
    assert [one["delta"] for one in found if one["type"] == "content_block_delta"] == [
        {"type": "input_json_delta", "partial_json": '{"city": "word"}'}
    ]
    history = [
        {"role": "user", "content": "weather in Rome?"},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm"}, call]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call["id"], "content": "sunny"}]},
    ]
    told = (await send(served, history, tools=[WEATHER])).json()
    assert told["content"][0]["text"].startswith("You said: Result of weather: sunny")
    assert "weather" not in (await send(served, "hello", tools=[WEATHER], tool_choice={"type": "none"})).text


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"messages": "x"}, "messages"),
        ({"n": 2}, "n"),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "thinking"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0]"),
        ({"tools": [WEATHER], "tool_choice": {"type": "perhaps"}}, "tool_choice"),
        ({"output_format": {"type": "json_schema"}}, "output_format"),
        ({"stop_sequences": [1]}, "stop"),
    ],
)
async def test_what_is_not_kept_is_refused_by_name(served: Served, more: dict[str, Any], param: str) -> None:
    assert error_of(await send(served, "hello", **more), 400)["param"] == param


@pytest.mark.parametrize(
    ("send_it", "status", "kind", "code"),
    [
        ({"headers": {"authorization": ""}}, 401, "authentication_error", "missing_api_key"),
        ({"headers": {"authorization": "Bearer nobody"}}, 401, "authentication_error", "invalid_api_key"),
        ({"headers": {"host": "example.org"}}, 403, "permission_error", "host_not_allowed"),
        ({"method": "GET"}, 405, "invalid_request_error", "unknown_url"),
        ({"path": "/v1/messages/count_tokens"}, 404, "not_found_error", "unknown_url"),
        ({"content": b"{", "headers": {"content-type": "application/json"}}, 400, "invalid_request_error", None),
        ({"content": b"{}", "headers": {"content-type": "text/plain"}}, 415, "invalid_request_error", None),
        ({"json": {"messages": [{"role": "user", "content": "x" * (5 * 2**20)}]}}, 413, "request_too_large", None),
        ({"json": {"model": "nope", "max_tokens": 5}}, 404, "not_found_error", "model_not_found"),
        ({"json": {"max_tokens": 5, "messages": 1}}, 400, "invalid_request_error", None),
    ],
)
async def test_every_refusal_has_anthropics_form(
    served: Served, send_it: dict[str, Any], status: int, kind: str, code: str | None
) -> None:
    hello = {"messages": [{"role": "user", "content": "hello"}]}
    method, path = send_it.pop("method", "POST"), send_it.pop("path", "/v1/messages")
    if "json" in send_it:
        send_it["json"] = {**hello, **send_it["json"]}
    elif "content" not in send_it and method == "POST":
        send_it["json"] = {**hello, "max_tokens": 5}
    answered = await served.http.request(method, path, **send_it)
    told = answered.json()
    assert (answered.status_code, told["type"], told["error"]["type"]) == (status, "error", kind), answered.text
    assert told["error"]["message"] and (code is None or told["error"]["code"] == code)


async def test_a_model_that_has_no_room_is_overloaded(served: Served) -> None:
    answered = await send(served, "!oom at once")
    if answered.status_code != 200:
        assert (answered.status_code, answered.json()["error"]["type"]) == (503, "overloaded_error")
        assert answered.headers["retry-after"]
    served.api._open = 64
    answered = await send(served, "hello")
    assert (answered.status_code, answered.json()["error"]["type"]) == (429, "rate_limit_error")
    served.api._open = 0


async def test_its_own_library_raises_its_own_errors(served: Served) -> None:
    anthropic = pytest.importorskip("anthropic")
    hello = {"model": "auto", "max_tokens": 9, "messages": [{"role": "user", "content": "hello"}]}
    async with anthropic.AsyncAnthropic(base_url=served.url, api_key=served.token, max_retries=0) as client:
        with pytest.raises(anthropic.NotFoundError, match="nope"):
            await client.messages.create(**{**hello, "model": "nope"})
        with pytest.raises(anthropic.BadRequestError) as refused:
            await client.messages.create(**{**hello, "thinking": {"type": "enabled", "budget_tokens": 1024}})
        assert refused.value.type == "invalid_request_error" and refused.value.body["error"]["param"] == "thinking"
        with pytest.raises(anthropic.APIStatusError) as broken:
            stream = {**hello, "messages": [{"role": "user", "content": "!oom one two three"}]}
            async with client.messages.stream(**stream) as events:
                await events.get_final_message()
        assert broken.value.type == "overloaded_error"
    async with anthropic.AsyncAnthropic(base_url=served.url, api_key="tokmem-no", max_retries=0) as client:
        with pytest.raises(anthropic.AuthenticationError, match="opens nothing here"):
            await client.messages.create(**hello)


async def test_images_are_refused_and_errors_on_the_way_are_events(served: Served) -> None:
    image = [{"role": "user", "content": [{"type": "image", "source": {}}]}]
    assert error_of(await send(served, image), 400)["code"] == "unsupported_content"
    assert (await events(served, "!oom one two three"))[-1]["error"]["code"] == "out_of_memory"
