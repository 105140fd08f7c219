"""``mcp`` as an editor starts it, by the official client."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from profiles.files.paths import AppPaths
from profiles.registry.registry import ProfileRegistry
from tests.cli.conftest import CommandLine, scripted_at

needs_sdk = pytest.mark.skipif(importlib.util.find_spec("mcp") is None, reason="the extra 'mcp' is not installed")


@pytest.mark.skipif(importlib.util.find_spec("mcp") is not None, reason="the extra 'mcp' is installed")
def test_without_the_sdk_it_says_what_to_install(tokmem: CommandLine) -> None:
    ended = tokmem("mcp")
    assert ended.code == 2 and "tokmem-desk[mcp]" in ended.err


@pytest.fixture
def taught(scripted: CommandLine, pairs_file: Path, tmp_path: Path) -> Path:
    """A home with two trained procedures, one of which answers with calls, and one that is not trained."""
    schema = tmp_path / "schema.json"
    schema.write_text('{"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]}')
    calls = tmp_path / "calls.jsonl"
    calls.write_text(json.dumps({"input": "put the party into my calendar", "response": '{"title": "party"}'}))
    scripted("proc", "add", "todo", "--pairs", str(pairs_file))
    scripted("proc", "add", "ask", "--pairs", str(calls), "--schema", str(schema))
    scripted("train")
    scripted("proc", "add", "later", "--pairs", str(calls))
    return scripted.home


@needs_sdk
async def test_tools_and_prompts(taught: Path) -> None:
    from mcp import Client, StdioServerParameters

    command = scripted_at(taught, "--yes", warm=False)
    server = StdioServerParameters(command=command.begin[0], args=[*command.begin[1:], "mcp"], env=command.environment)
    async with Client(server) as session:
        tools = {tool.name: tool for tool in (await session.list_tools()).tools}
        assert list(tools) == ["ask", "route", "ask_", "todo"], "not what cannot answer yet"
        assert tools["todo"].description == "One to-do line" and "learned from examples" in (
            tools["ask_"].description or ""
        )

        async def call(name: str, **arguments: Any) -> Any:
            return await session.call_tool(name, arguments)

        answer = await call("ask", message="I need to buy milk on Monday")
        assert answer.content[0].text == "( ) buy milk due:mon" and not answer.is_error
        assert (await call("ask", message="hello", route="none")).content[0].text.startswith("You said: hello")
        assert (await call("todo", message="I need to call mum on Friday")).content[0].text == "( ) call mum due:fri"
        routed = await call("route", message="I need to buy milk on Monday")
        assert routed.structured_content["route"] == "todo" and routed.structured_content["probability"] == 0.96
        held = await call("ask_", message="put the party into my calendar")
        assert held.structured_content == {"title": "party"} == json.loads(held.content[0].text)
        for wrong in (("later", {"message": "x"}), ("todo", {}), ("ask", {"message": "x", "route": "nobody"})):
            assert (await session.call_tool(*wrong)).is_error

        prompts = (await session.list_prompts()).prompts
        assert [prompt.name for prompt in prompts] == ["ask_", "todo"]
        prompt = await session.get_prompt("todo", {"message": "ring Bo on Sunday"})
        assert [one.role for one in prompt.messages] == ["user", "assistant"] * 8 + ["user"]
        assert prompt.messages[0].content.text == "I need to call mum on Monday"
        assert prompt.messages[-1].content.text == "ring Bo on Sunday"


@needs_sdk
@pytest.mark.parametrize(
    ("scope", "names"),
    [
        ("read", ["route"]),
        ("ask", ["ask", "route", "ask_", "todo"]),
        ("teach", ["ask", "route", "feedback", "ask_", "todo"]),
    ],
)
async def test_a_client_may_do_what_its_token_was_made_for(taught: Path, scope: Any, names: list[str]) -> None:
    from mcp import Client, StdioServerParameters

    with ProfileRegistry(AppPaths.resolve(taught)) as registry:
        token = registry.tokens.create("agent", "default", scope=scope)
    command = scripted_at(taught, "--yes", warm=False)
    environment = {**command.environment, "TOKMEM_TOKEN": token}
    server = StdioServerParameters(command=command.begin[0], args=[*command.begin[1:], "mcp"], env=environment)
    async with Client(server) as session:
        assert [tool.name for tool in (await session.list_tools()).tools] == names
        told = {"message": "I need to call mum on Friday", "route": "ask", "answer": '{"title": "mum"}'}
        answered = await session.call_tool("feedback", told)
        assert answered.is_error == (scope != "teach")
        assert (await session.call_tool("ask", {"message": "hello"})).is_error == (scope == "read")
    with ProfileRegistry(AppPaths.resolve(taught)) as registry, registry.open(None) as store:
        assert [one.right_route for one in store.corrections.list()] == (["ask"] if scope == "teach" else [])
        assert store.feedback.waiting(None) == ({"ask": 1} if scope == "teach" else {})


@needs_sdk
def test_a_token_that_opens_nothing(scripted: CommandLine) -> None:
    ended = scripted("mcp", TOKMEM_TOKEN="tokmem-wrong")
    assert ended.code == 2 and "opens nothing" in ended.err
