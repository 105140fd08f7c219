"""Tools, forms of answers, and histories with tools: by the client that most programs use."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import BaseModel

from profiles.files.paths import AppPaths
from profiles.registry.registry import ProfileRegistry
from tests.serve.conftest import MILK, Served
from tests.serve.test_refusals import error_of, tool
from tests.tui.conftest import remember
from tokmem_desk.procedures import ExamplePair, Procedure

PLACE = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER, CLOCK = tool("weather", PLACE), tool("clock")
EVENT = tool(
    "add_event",
    {
        "type": "object",
        "properties": {"title": {"type": "string"}},
        "required": ["title"],
        "additionalProperties": False,
    },
)
HELLO = [{"role": "user", "content": "hello there"}]
PARTY = "put the party into my calendar"


@pytest.fixture
def calls(paths: AppPaths) -> None:
    """A procedure that answers with calls."""
    with ProfileRegistry(paths) as registry, registry.open(None) as store:
        schema = json.dumps(EVENT["function"]["parameters"])
        pairs = (ExamplePair(PARTY, '{"title": "party"}'),)
        store.procedures.add(Procedure("add_event", pairs, output_schema=schema), source="test")
        remember(store, "add_event")


async def both(served: Served, messages: list[dict[str, Any]], **more: Any) -> tuple[Any, Any]:
    """The message and the finish reason; the same whole and streamed."""
    async with served.openai() as client:
        options: dict[str, Any] = {"model": "auto", "messages": messages, **more}
        whole = (await client.chat.completions.create(**options)).choices[0]
        text, called, reason = "", None, None
        async for chunk in await client.chat.completions.create(**options, stream=True):
            delta = chunk.choices[0].delta
            text += delta.content or ""
            called = delta.tool_calls[0] if delta.tool_calls else called
            reason = chunk.choices[0].finish_reason or reason
    assert (whole.message.content or "", whole.finish_reason) == (text, reason)
    mine = whole.message.tool_calls[0].function if whole.message.tool_calls else None
    assert (mine is None) == (called is None)
    if mine is not None:
        assert called is not None and (called.function.name, called.function.arguments) == (mine.name, mine.arguments)
        assert whole.finish_reason == "tool_calls" and whole.message.content is None and called.id.startswith("call_")
    return mine or whole.message.content, whole.finish_reason


@pytest.mark.parametrize(
    ("choice", "text", "called"),
    [
        (None, "hello there", None),
        ("auto", "hello there !call", ("weather", '{"city": "word"}')),
        ("none", "hello there !call", None),
        ("required", "hello there", ("weather", '{"city": "word"}')),
        ({"type": "function", "function": {"name": "clock"}}, "hello there", ("clock", "{}")),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [CLOCK]}},
            "hello there",
            ("clock", "{}"),
        ),
    ],
)
async def test_tools_of_the_client_in_plain_chat(served: Served, choice: Any, text: str, called: Any) -> None:
    more = {} if choice is None else {"tool_choice": choice}
    messages = [{"role": "user", "content": text}]
    found, _ = await both(served, messages, tools=[WEATHER, CLOCK], **more)
    if called is None:
        assert found.startswith(f"You said: {text} (0 messages before)")
        assert ("weather" in found) == (choice != "none"), "plain chat is told what there is"
    else:
        assert (found.name, found.arguments) == called


@pytest.mark.parametrize("choice", ["auto", "required", {"type": "function", "function": {"name": "add_event"}}])
async def test_a_procedure_that_answers_with_calls_is_a_tool(served: Served, calls: None, choice: Any) -> None:
    found, _ = await both(served, [{"role": "user", "content": PARTY}], tools=[WEATHER, EVENT], tool_choice=choice)
    assert (found.name, found.arguments) == ("add_event", '{"title": "party"}')
    assert served.link.fields[-1]["route"] in ("auto", "add_event")


async def test_a_procedure_that_is_no_tool_of_the_client_answers_in_words(served: Served, calls: None) -> None:
    party = [{"role": "user", "content": PARTY}]
    assert await both(served, party, tools=[WEATHER]) == ('{"title": "party"}', "stop")
    assert await both(served, party) == ('{"title": "party"}', "stop"), "as ever, without tools"
    # The client's tool of that name wants other arguments: the grammar would hold, the procedure does not.
    other = tool("add_event", {"type": "object", "properties": {"title": {"type": "integer"}}})
    assert await both(served, party, tools=[other]) == ('{"title": "party"}', "stop")


async def test_a_tool_of_a_procedure_that_answers_in_words_is_called_by_plain_chat(served: Served) -> None:
    found, _ = await both(
        served, [{"role": "user", "content": MILK}], tools=[tool("todo_line", PLACE)], tool_choice="required"
    )
    assert (found.name, found.arguments) == ("todo_line", '{"city": "word"}')
    assert served.link.fields[-1]["route"] == "none"


async def test_turns_of_tools_and_empty_content_in_the_history(served: Served) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}
    messages = [
        {"role": "user", "content": "weather in Rome"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
    ]
    found, _ = await both(served, messages, tools=[WEATHER])
    fields = served.link.fields[-1]
    assert fields["text"] == "Result of weather: sunny" and fields["route"] == "none"
    assert [turn["content"] for turn in fields["conversation"][1:]] == [
        "weather in Rome",
        '{"name": "weather", "arguments": {"city": "Rome"}}',
    ]
    assert isinstance(found, str)
    await both(served, [*messages, {"role": "assistant", "content": "Sunny."}, {"role": "user", "content": "thanks"}])
    assert served.link.fields[-1]["text"] == "thanks" and served.link.fields[-1]["route"] == "auto"


async def test_the_call_of_a_procedure_comes_back_with_its_route(served: Served, calls: None) -> None:
    await both(served, [{"role": "user", "content": PARTY}], tools=[EVENT])
    call = {"id": "c1", "type": "function", "function": {"name": "add_event", "arguments": '{"title": "party"}'}}
    history = [
        {"role": "user", "content": PARTY},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "done"},
    ]
    await both(served, history)
    assert served.link.fields[-1]["conversation"][1]["route"] == "add_event"


async def test_a_system_text_alone_is_answered(served: Served) -> None:
    assert (await both(served, [{"role": "system", "content": "Say hello"}]))[
        0
    ] == "You said: Say hello (0 messages before)"


async def test_the_last_message_of_the_assistant_is_gone_on_with(served: Served) -> None:
    found, _ = await both(served, [*HELLO, {"role": "assistant", "content": "Well, "}])
    assert found == "You said: hello there (0 messages before)", "without what the client has"
    assert served.link.fields[-1]["asked"] == {"beginning": "Well, "} and served.link.fields[-1]["route"] == "none"
    await both(served, [*HELLO, {"role": "assistant", "content": ""}])
    assert "asked" not in served.link.fields[-1]


@pytest.mark.parametrize("text", ["hello there", MILK])
async def test_schemas_and_objects(served: Served, text: str) -> None:
    class City(BaseModel):
        city: str
        people: int

    async with served.openai() as client:
        messages: Any = [{"role": "user", "content": text}]
        parsed = await client.chat.completions.parse(model="auto", messages=messages, response_format=City)
        assert parsed.choices[0].message.parsed == City(city="word", people=1)
    found, _ = await both(served, messages, response_format={"type": "json_object"})
    assert json.loads(found) == {"said": text}
    assert (await both(served, HELLO, response_format={"type": "text"}))[0].startswith("You said")


async def test_what_other_clients_send_is_taken_or_named(served: Served) -> None:
    more = {
        "max_tokens": -1,
        "seed": 7.0,
        "n": None,
        "tools": None,
        "response_format": None,
        "stop": None,
        "logprobs": False,
    }
    answer = await served.ask("hello there", **more, top_k=5, user="me", reasoning_effort="low", min_p=0)
    assert answer["tokmem"]["ignored"] == ["top_k", "reasoning_effort"]
    assert served.link.fields[-1]["max_tokens"] is None and served.link.fields[-1]["seed"] == 7
    error_of(await served.post(messages=HELLO, seed=7.5), 400)
