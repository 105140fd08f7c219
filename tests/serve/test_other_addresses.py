"""Completions of a prompt, responses and embeddings: by the client that most programs use."""

from __future__ import annotations

import json
import logging
import random
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from tests.serve.conftest import MILK, Served
from tests.serve.test_odd_requests import JSON_HEADERS, odd_value
from tests.serve.test_refusals import error_of

CITY: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER: Any = {"type": "function", "name": "weather", "parameters": CITY, "strict": True}


class City(BaseModel):
    city: str


async def test_a_prompt_is_completed_whole_and_streamed(served: Served) -> None:
    async with served.openai() as client:
        whole = await client.completions.create(model="auto", prompt=MILK, max_tokens=50)
        assert whole.choices[0].text == "( ) buy milk due:mon" and whole.choices[0].finish_reason == "stop"
        assert whole.usage is not None and whole.usage.total_tokens == 18
        assert whole.model_extra is not None and whole.model_extra["tokmem"]["route"] == "todo_line"
        stream = await client.completions.create(
            model="auto", prompt=[MILK], stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == "( ) buy milk due:mon"
    assert (
        chunks[-1].usage is not None and chunks[-1].usage.total_tokens == 18 and chunks[0].object == "text_completion"
    )


@pytest.mark.parametrize(
    ("address", "body", "param"),
    [
        ("completions", {}, "prompt"),
        ("completions", {"prompt": ["a", "b"]}, "prompt"),
        ("completions", {"prompt": [1, 2]}, "prompt"),
        ("completions", {"prompt": "a", "echo": True}, "echo"),
        ("completions", {"prompt": "a", "best_of": 2}, "best_of"),
        ("completions", {"prompt": "a", "suffix": "b"}, "suffix"),
        ("completions", {"prompt": "a", "logprobs": -1}, "logprobs"),
        ("completions", {"prompt": "a", "n": 2, "best_of": 3}, "best_of"),
        ("responses", {"input": "a", "n": 2}, "n"),
        ("responses", {}, "input"),
        ("responses", {"input": [3]}, "input[0]"),
        ("responses", {"input": [{"type": "image_generation_call"}]}, "input[0].type"),
        ("responses", {"input": "a", "previous_response_id": "resp_1"}, "previous_response_id"),
        ("responses", {"input": "a", "background": True}, "background"),
        ("responses", {"input": "a", "max_output_tokens": 0}, "max_completion_tokens"),
        ("responses", {"input": "a", "tools": [{"type": "web_search"}]}, "tools"),
        ("responses", {"input": "a", "text": {"format": {"type": "json_schema"}}}, "response_format"),
        ("embeddings", {}, "input"),
        ("embeddings", {"input": []}, "input"),
        ("embeddings", {"input": [[1, 2]]}, "input[0]"),
        ("embeddings", {"input": ["a", " "]}, "input[1]"),
        ("embeddings", {"input": "a", "dimensions": 8}, "dimensions"),
        ("embeddings", {"input": "a", "encoding_format": "int8"}, "encoding_format"),
    ],
)
async def test_bad_fields_are_named(served: Served, address: str, body: dict[str, Any], param: str) -> None:
    assert error_of(await served.http.post(f"/v1/{address}", json=body), 400)["param"] == param
    assert served.link.handles == []


@pytest.mark.parametrize("address", ["completions", "responses", "embeddings"])
async def test_nobody_without_a_token(served: Served, address: str) -> None:
    served.http.headers.pop("authorization")
    error_of(await served.http.post(f"/v1/{address}", json={"input": "a", "prompt": "a"}), 401)


async def test_responses(served: Served) -> None:
    async with served.openai() as client:
        whole = await client.responses.create(model="auto", input=MILK)
        assert whole.output_text == "( ) buy milk due:mon" and whole.status == "completed"
        assert whole.usage is not None and whole.usage.total_tokens == 18
        assert whole.model_extra is not None and whole.model_extra["tokmem"]["route"] == "todo_line"
        told = await client.responses.create(
            model="none", instructions="Be brief.", input=[{"role": "user", "content": "hello"}], max_output_tokens=9
        )
        assert told.output_text.endswith("told: Be brief.") and served.link.fields[-1]["max_tokens"] == 9
        parsed = await client.responses.parse(model="none", input="where?", text_format=City)
        assert parsed.output_parsed == City(city="word")


async def test_responses_stream(served: Served) -> None:
    async with served.openai() as client, client.responses.stream(model="auto", input=MILK) as stream:
        events = [event async for event in stream]
        final = await stream.get_final_response()
    assert final.output_text == "( ) buy milk due:mon"
    kinds = [event.type for event in events]
    assert kinds[:4] == [
        "response.created", "response.in_progress", "response.output_item.added", "response.content_part.added",
    ]  # fmt: skip
    assert kinds[-4:] == [
        "response.output_text.done", "response.content_part.done", "response.output_item.done", "response.completed",
    ]  # fmt: skip
    assert [event.sequence_number for event in events] == sorted({event.sequence_number for event in events})
    assert kinds.count("response.output_text.delta") > 3, "word by word"


async def test_tools_of_responses(served: Served) -> None:
    async with served.openai() as client:
        options: Any = {"model": "auto", "tools": [WEATHER], "tool_choice": "required"}
        called = (await client.responses.create(input="weather in Rome?", **options)).output[0]
        assert called.type == "function_call" and json.loads(called.arguments) == {"city": "word"}
        async with client.responses.stream(input="weather in Rome?", **options) as stream:
            kinds = [event.type async for event in stream]
            streamed = (await stream.get_final_response()).output[0]
        assert "response.function_call_arguments.done" in kinds
        assert streamed.type == "function_call" and streamed.arguments == called.arguments
        history: Any = [
            {"role": "user", "content": "weather in Rome?"},
            {"type": "reasoning", "summary": []},
            called.model_dump(),
            {"type": "function_call_output", "call_id": called.call_id, "output": "sunny"},
        ]
        answer = await client.responses.create(model="auto", input=history)
    assert answer.output_text.startswith("You said: Result of weather: sunny")
    said = served.link.fields[-1]["conversation"][-1]["content"]
    assert json.loads(said) == {"name": "weather", "arguments": {"city": "word"}}


async def test_a_response_that_fails_on_the_way_says_so(served: Served) -> None:
    async with served.openai() as client:
        with pytest.raises(openai.APIError, match="does not fit into memory"):
            async for _ in await client.responses.create(model="auto", input="!oom one two three", stream=True):
                pass


async def test_embeddings(served: Served) -> None:
    texts = ["a", "bb", "ccc"]
    async with served.openai() as client:
        # The client asks for base64 by itself.
        packed = await client.embeddings.create(model="auto", input=texts)
        plain = await client.embeddings.create(model="scripted/Tiny-Instruct", input=texts, encoding_format="float")
        assert [one.embedding for one in packed.data] == [one.embedding for one in plain.data]
        assert [one.embedding[1] for one in plain.data] == [len(text) / 128 for text in texts]
        assert packed.usage.total_tokens == 9 and [one.index for one in packed.data] == [0, 1, 2]
        with pytest.raises(openai.NotFoundError):
            await client.embeddings.create(model="text-embedding-3-small", input="a")
    assert served.api._open == 0


FIELDS = {
    "completions": ("prompt", "best_of", "echo", "suffix", "logprobs", "stream_options", "tools", "tool_choice"),
    "responses": ("input", "instructions", "text", "tools", "tool_choice", "store", "max_output_tokens", "reasoning"),
    "embeddings": ("input", "dimensions", "encoding_format", "user"),
    "chat/completions": ("messages", "tools", "tool_choice", "response_format", "grammar", "seed", "max_tokens"),
}
GOOD: dict[str, dict[str, Any]] = {
    "completions": {"prompt": "hello"},
    "responses": {"input": "hello"},
    "embeddings": {"input": "hello"},
    "chat/completions": {"messages": [{"role": "user", "content": "hello"}]},
}
ITEMS: tuple[dict[str, Any], ...] = (
    {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "1", "output": "x"},
    {"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{}"}}]},
    {"role": "tool", "tool_call_id": "1", "content": "x"},
    {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}},
    {"type": "json_schema", "json_schema": {"schema": {"type": "object"}}},
    {"format": {"type": "json_schema", "schema": {"type": "object"}}},
)


def odd(draw: random.Random) -> Any:
    """An odd value, or a good one of another place with one field spoilt."""
    if draw.random() < 0.4:
        return odd_value(draw)
    item = dict(draw.choice(ITEMS))
    if draw.random() < 0.6:
        item[draw.choice(list(item))] = odd_value(draw)
    return [item] * draw.randrange(3) if draw.random() < 0.6 else item


@pytest.mark.parametrize("address", GOOD)
async def test_odd_bodies(served: Served, caplog: pytest.LogCaptureFixture, address: str) -> None:
    draw = random.Random(address)
    for _ in range(120):
        body = dict(GOOD[address])
        for name in draw.sample((*FIELDS[address], "model", "stream"), draw.randrange(1, 4)):
            body[name] = odd(draw)
        data = json.dumps(body).encode("utf-8", "surrogatepass")
        response = await served.http.post(f"/v1/{address}", content=data, headers=JSON_HEADERS)
        assert response.status_code in (200, 400, 404), (body, response.text)
        if response.status_code != 200:
            error_of(response, response.status_code)
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR]
