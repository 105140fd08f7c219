"""Libraries that programs use to ask models, with their own calls. Those that are not installed are left out."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from tests.serve.conftest import MILK, Served

TODO_LINE = "( ) buy milk due:mon"


class City(BaseModel):
    """A place."""

    city: str
    people: int


WORD = City(city="word", people=1)


def needs(module: str) -> pytest.MarkDecorator:
    """Leave a test out where a library is not installed (the extra ``clients``)."""
    return pytest.mark.skipif(importlib.util.find_spec(module) is None, reason=f"{module} is not installed")


@needs("instructor")
@pytest.mark.parametrize("mode", ["TOOLS", "JSON_SCHEMA"])
async def test_instructor(served: Served, mode: str) -> None:
    import instructor

    client = instructor.from_openai(served.openai(), mode=getattr(instructor.Mode, mode))
    messages: Any = [{"role": "user", "content": "where do the people live?"}]
    found = await client.chat.completions.create(model="auto", messages=messages, response_model=City)
    assert isinstance(found, City) and found.model_dump() == WORD.model_dump()


@needs("langchain_openai")
async def test_langchain(served: Served) -> None:
    from langchain_openai import ChatOpenAI, OpenAIEmbeddings
    from pydantic import SecretStr

    options: Any = {"base_url": f"{served.url}/v1", "api_key": SecretStr(served.token), "max_retries": 0}
    model = ChatOpenAI(model="auto", **options)
    assert (await model.ainvoke(MILK)).content == TODO_LINE
    assert "".join([str(chunk.content) async for chunk in model.astream(MILK)]) == TODO_LINE
    for method in ("json_schema", "function_calling"):
        held = model.with_structured_output(City, method=method)
        assert await held.ainvoke("where do the people live?") == WORD
    called = await model.bind_tools([City], tool_choice="any").ainvoke("where do the people live?")
    assert called.tool_calls[0]["name"] == "City" and called.tool_calls[0]["args"] == WORD.model_dump()
    vectors = OpenAIEmbeddings(model="auto", check_embedding_ctx_length=False, **options)
    assert len(await vectors.aembed_documents(["a", "b"])) == 2
    newer = ChatOpenAI(model="auto", use_responses_api=True, **options)
    assert (await newer.ainvoke(MILK)).text == TODO_LINE


@needs("pydantic_ai")
async def test_pydantic_ai(served: Served) -> None:
    from pydantic_ai import Agent, NativeOutput
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    provider = OpenAIProvider(base_url=f"{served.url}/v1", api_key=served.token)
    model = OpenAIChatModel("auto", provider=provider)
    assert (await Agent(model).run(MILK)).output == TODO_LINE
    assert (await Agent(model, output_type=City).run("where do the people live?")).output == WORD
    assert (await Agent(model, output_type=NativeOutput(City)).run("where do the people live?")).output == WORD
    asked: list[str] = []
    agent = Agent(model)

    @agent.tool_plain
    def weather(city: str) -> str:
        """The weather in a city."""
        asked.append(city)
        return "sunny"

    answer = (await agent.run("the weather please !call")).output
    assert asked == ["word"] and "Result of weather: sunny" in answer
    async with Agent(model).run_stream(MILK) as streamed:
        assert await streamed.get_output() == TODO_LINE


@needs("llm")
async def test_llm(served: Served, tmp_path: Path) -> None:
    facts = {"model_id": "mine", "model_name": "auto", "api_base": f"{served.url}/v1", "supports_schema": "true"}
    facts["api_key_name"] = "tokmem"
    (tmp_path / "keys.json").write_text(json.dumps({"tokmem": served.token}), "utf-8")
    lines = "- " + "\n  ".join(f"{name}: {value}" for name, value in facts.items()) + "\n"
    (tmp_path / "extra-openai-models.yaml").write_text(lines, "utf-8")

    async def llm(*options: str) -> str:
        environment = {
            **os.environ,
            "PYTHONWARNINGS": "ignore",
            "LLM_USER_PATH": str(tmp_path),
        }
        command = [sys.executable, "-m", "llm", "-m", "mine", "--no-log", *options]
        ended = await asyncio.to_thread(
            subprocess.run, command, capture_output=True, text=True, env=environment, check=False, timeout=120
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout.strip()

    assert await llm(MILK) == TODO_LINE
    assert City.model_validate_json(await llm("--schema", "city str, people int", "where do they live?")) == WORD
