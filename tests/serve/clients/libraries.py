"""How each library asks: a text, a stream, a call of a tool, an answer in a schema. Imported inside the methods, since
a library may be missing.

What a class does not have, its library does not offer for servers like ours.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel

from tests.cli.conftest import SECONDS
from tests.serve.clients.conftest import LONGEST, RealServed

KINDS = ("text", "stream", "tool", "schema")


class Paint(BaseModel):
    """Paint the house."""

    colour: Literal["red", "blue"]


def paint(colour: Literal["red", "blue"]) -> str:
    """Paint the house.

    Args:
        colour: of the walls.
    """
    return f"{colour} it is"


PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {"colour": {"type": "string", "enum": ["red", "blue"]}},
    "required": ["colour"],
    "additionalProperties": False,
}
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {"name": "paint", "description": "Paint the house.", "parameters": PARAMETERS},
}
NAMED: dict[str, Any] = {"type": "function", "function": {"name": "paint"}}
SCHEMA: dict[str, Any] = {"type": "json_schema", "json_schema": {"name": "paint", "schema": PARAMETERS, "strict": True}}
Call = tuple[str, dict[str, Any]]


def asked(message: str) -> list[Any]:
    """A conversation of one message."""
    return [{"role": "user", "content": message}]


class Library:
    """One library.

    Args:
        served: the server.
        folder: an empty one.
    """

    needs: ClassVar[str]
    """The module without which it is left out."""

    def __init__(self, served: RealServed, folder: Path) -> None:
        self.served, self.folder = served, folder


class OpenAI(Library):
    """OpenAI's own."""

    needs = "openai"

    def _create(self, message: str, **more: Any) -> Any:
        import openai

        with openai.OpenAI(base_url=self.served.url, api_key=self.served.token, max_retries=0) as client:
            made = client.chat.completions.create(model="none", messages=asked(message), max_tokens=LONGEST, **more)
            return list(made) if more.get("stream") else made.choices[0].message

    def text(self, message: str) -> str:
        return str(self._create(message).content)

    def stream(self, message: str) -> Iterator[str]:
        for chunk in self._create(message, stream=True):
            yield chunk.choices[0].delta.content or ""

    def tool(self, message: str) -> Call:
        [call] = self._create(message, tools=[TOOL], tool_choice=NAMED).tool_calls
        return call.function.name, json.loads(call.function.arguments)

    def schema(self, message: str) -> Any:
        import openai

        with openai.OpenAI(base_url=self.served.url, api_key=self.served.token, max_retries=0) as client:
            made = client.chat.completions.parse(model="none", messages=asked(message), response_format=Paint)
            return made.choices[0].message.parsed


class Anthropic(Library):
    """Anthropic's own, by its own address."""

    needs = "anthropic"

    def _create(self, message: str, **more: Any) -> Any:
        import anthropic

        url = self.served.url.removesuffix("/v1")
        with anthropic.Anthropic(base_url=url, api_key=self.served.token, max_retries=0) as client:
            options = {"model": "none", "max_tokens": LONGEST, "messages": asked(message), **more}
            if not more.pop("stream", False):
                return client.messages.create(**options)
            options.pop("stream")
            with client.messages.stream(**options) as stream:
                return list(stream.text_stream)

    def text(self, message: str) -> str:
        [part] = self._create(message).content
        return str(part.text)

    def stream(self, message: str) -> Iterator[str]:
        yield from self._create(message, stream=True)

    def tool(self, message: str) -> Call:
        tool = {"name": "paint", "description": "Paint the house.", "input_schema": PARAMETERS}
        [call] = self._create(message, tools=[tool], tool_choice={"type": "tool", "name": "paint"}).content
        return call.name, call.input


class OfChoices(Library, ABC):
    """A library whose answers have the shape of OpenAI's chat completions."""

    @abstractmethod
    def _create(self, message: str, **more: Any) -> Any:
        """The answer, or its parts with ``stream``."""

    def text(self, message: str) -> str:
        return str(self._create(message).choices[0].message.content)

    def stream(self, message: str) -> Iterator[str]:
        for chunk in self._create(message, stream=True):
            yield chunk.choices[0].delta.content or ""

    def tool(self, message: str) -> Call:
        [call] = self._create(message, tools=[TOOL], tool_choice=NAMED).choices[0].message.tool_calls
        return call.function.name, json.loads(call.function.arguments)


class LiteLLM(OfChoices):
    """LiteLLM, which many agents are built on."""

    needs = "litellm"

    def _create(self, message: str, **more: Any) -> Any:
        import litellm

        facts = {"api_base": self.served.url, "api_key": self.served.token, "num_retries": 0, "max_tokens": LONGEST}
        return litellm.completion(model="openai/none", messages=asked(message), **facts, **more)

    def schema(self, message: str) -> Any:
        return Paint.model_validate_json(self._create(message, response_format=Paint).choices[0].message.content)


class LangChain(Library):
    """LangChain's model for OpenAI."""

    needs = "langchain_openai"

    def _model(self) -> Any:
        from langchain_openai import ChatOpenAI
        from pydantic import SecretStr

        key: Any = SecretStr(self.served.token)
        longest: Any = {"max_tokens": LONGEST}
        return ChatOpenAI(model="none", base_url=self.served.url, api_key=key, max_retries=0, **longest)

    def text(self, message: str) -> str:
        return str(self._model().invoke(message).content)

    def stream(self, message: str) -> Iterator[str]:
        for chunk in self._model().stream(message):
            yield str(chunk.content)

    def tool(self, message: str) -> Call:
        [call] = self._model().bind_tools([paint], tool_choice="paint").invoke(message).tool_calls
        return call["name"], call["args"]

    def schema(self, message: str) -> Any:
        by_call = self._model().with_structured_output(Paint, method="function_calling").invoke(message)
        assert isinstance(by_call, Paint)
        return self._model().with_structured_output(Paint, method="json_schema").invoke(message)


class LlamaIndex(Library):
    """LlamaIndex's model for servers like OpenAI's."""

    needs = "llama_index.llms.openai_like"

    def _model(self) -> Any:
        from llama_index.llms.openai_like import OpenAILike

        # Its other way to a schema asks for what OpenAI's library has no more.
        return OpenAILike(
            model="none",
            api_base=self.served.url,
            api_key=self.served.token,
            temperature=0,
            max_tokens=LONGEST,
            max_retries=0,
            is_chat_model=True,
            is_function_calling_model=True,
        )

    def _asked(self, message: str) -> list[Any]:
        from llama_index.core.llms import ChatMessage

        return [ChatMessage(role="user", content=message)]

    def text(self, message: str) -> str:
        return str(self._model().chat(self._asked(message)).message.content)

    def stream(self, message: str) -> Iterator[str]:
        for chunk in self._model().stream_chat(self._asked(message)):
            yield chunk.delta or ""

    def tool(self, message: str) -> Call:
        from llama_index.core.tools import FunctionTool

        model, tool = self._model(), FunctionTool.from_defaults(paint, fn_schema=Paint)
        answered = model.chat_with_tools([tool], user_msg=message, tool_required=True)
        [call] = model.get_tool_calls_from_response(answered)
        return call.tool_name, call.tool_kwargs

    def schema(self, message: str) -> Any:
        return self._model().as_structured_llm(Paint).chat(self._asked(message)).raw


class PydanticAI(Library):
    """pydantic-ai."""

    needs = "pydantic_ai"

    def _agent(self, **more: Any) -> Any:
        from pydantic_ai import Agent
        from pydantic_ai.models.openai import OpenAIChatModel
        from pydantic_ai.providers.openai import OpenAIProvider

        provider = OpenAIProvider(base_url=self.served.url, api_key=self.served.token)
        model = OpenAIChatModel("none", provider=provider)
        return Agent(model, model_settings={"max_tokens": LONGEST}, **more)

    def text(self, message: str) -> str:
        return str(asyncio.run(self._agent().run(message)).output)

    def stream(self, message: str) -> Iterator[str]:
        async def pieces() -> list[str]:
            async with self._agent().run_stream(message) as streamed:
                return [piece async for piece in streamed.stream_text(delta=True, debounce_by=None)]

        yield from asyncio.run(pieces())

    def tool(self, message: str) -> Call:
        from pydantic_ai import ToolOutput

        painted = asyncio.run(self._agent(output_type=ToolOutput(paint, name="paint")).run(message))
        [call] = [part for said in painted.all_messages() for part in said.parts if part.part_kind == "tool-call"]
        assert painted.output == f"{call.args_as_dict()['colour']} it is"
        return call.tool_name, call.args_as_dict()

    def schema(self, message: str) -> Any:
        from pydantic_ai import NativeOutput

        by_call = asyncio.run(self._agent(output_type=Paint).run(message)).output
        assert isinstance(by_call, Paint)
        return asyncio.run(self._agent(output_type=NativeOutput(Paint)).run(message)).output


class Aisuite(OfChoices):
    """aisuite."""

    needs = "aisuite"

    def _create(self, message: str, **more: Any) -> Any:
        import aisuite

        client = aisuite.Client({"openai": {"base_url": self.served.url, "api_key": self.served.token}})
        return client.chat.completions.create(model="openai:none", messages=asked(message), max_tokens=LONGEST, **more)

    def schema(self, message: str) -> Any:
        made = self._create(message, response_format=SCHEMA).choices[0].message.content
        return Paint.model_validate_json(made)


class Haystack(Library):
    """Haystack's generator for chats."""

    needs = "haystack"

    def _run(self, message: str, **more: Any) -> Any:
        from haystack.components.generators.chat import OpenAIChatGenerator
        from haystack.dataclasses import ChatMessage
        from haystack.utils import Secret

        settings = {"max_tokens": LONGEST, **more.pop("settings", {})}
        made = OpenAIChatGenerator(
            api_key=Secret.from_token(self.served.token),
            model="none",
            api_base_url=self.served.url,
            generation_kwargs=settings,
            max_retries=0,
            **more,
        )
        [reply] = made.run(messages=[ChatMessage.from_user(message)])["replies"]
        return reply

    def text(self, message: str) -> str:
        return str(self._run(message).text)

    def stream(self, message: str) -> Iterator[str]:
        pieces: list[str] = []
        self._run(message, streaming_callback=lambda chunk: pieces.append(chunk.content or ""))
        yield from pieces

    def tool(self, message: str) -> Call:
        from haystack.tools import Tool

        tool = Tool(name="paint", description="Paint the house.", parameters=PARAMETERS, function=paint)
        [call] = self._run(message, tools=[tool], settings={"tool_choice": NAMED}).tool_calls
        return call.tool_name, call.arguments

    def schema(self, message: str) -> Any:
        return Paint.model_validate_json(self._run(message, settings={"response_format": Paint}).text)


class DSPy(Library):
    """DSPy. Its programs stream and call tools by texts of their own, which a random model cannot write."""

    needs = "dspy"

    def _model(self) -> Any:
        import dspy

        # Its own default of the temperature would draw the words.
        facts = {"api_base": self.served.url, "api_key": self.served.token, "num_retries": 0, "temperature": 0}
        return dspy.LM("openai/none", cache=False, max_tokens=LONGEST, **facts)

    def _said(self, message: str, **more: Any) -> str:
        [said] = self._model()(message, **more)
        return str(said if isinstance(said, str) else said["text"])

    def text(self, message: str) -> str:
        return self._said(message)

    def schema(self, message: str) -> Any:
        # Its signatures ask for a schema of models of its own list alone.
        return Paint.model_validate_json(self._said(message, response_format=SCHEMA))


class Instructor(Library):
    """instructor, which answers in schemas alone."""

    needs = "instructor"

    def _create(self, mode: str, message: str) -> Any:
        import instructor
        import openai

        plain = openai.OpenAI(base_url=self.served.url, api_key=self.served.token, max_retries=0)
        client = instructor.from_openai(plain, mode=getattr(instructor.Mode, mode))
        return client.chat.completions.create(
            model="none", messages=asked(message), response_model=Paint, max_tokens=LONGEST, max_retries=0
        )

    def tool(self, message: str) -> Call:
        return "paint", self._create("TOOLS", message).model_dump()

    def schema(self, message: str) -> Any:
        return self._create("JSON_SCHEMA", message)


class LLM(Library):
    """The command ``llm``, with a model that its settings say."""

    needs = "llm"

    def _model(self) -> list[str]:
        return ["-m", "mine"]

    def _run(self, *options: str) -> str:
        facts = {"model_id": "mine", "model_name": "none", "api_base": self.served.url, "api_key_name": "tokmem"}
        lines = "- " + "\n  ".join(f"{name}: {value}" for name, value in facts.items())
        (self.folder / "keys.json").write_text(json.dumps({"tokmem": self.served.token}), "utf-8")
        settings = f"{lines}\n  supports_schema: true\n  supports_tools: true\n"
        (self.folder / "extra-openai-models.yaml").write_text(settings, "utf-8")
        environment = {**os.environ, "PYTHONWARNINGS": "ignore", "LLM_USER_PATH": str(self.folder)}
        command = [sys.executable, "-m", "llm", *self._model(), "-o", "max_tokens", str(LONGEST), *options]
        ended = subprocess.run(
            command, capture_output=True, text=True, env=environment, check=False, timeout=SECONDS, input=""
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def text(self, message: str) -> str:
        return self._run("--no-stream", message)

    def stream(self, message: str) -> Iterator[str]:
        yield self._run(message)

    def schema(self, message: str) -> Any:
        schema = json.dumps(PARAMETERS)
        return Paint.model_validate_json(self._run("--schema", schema, message))


class LLMPlugin(LLM):
    """The command ``llm``, with our plugin."""

    def _model(self) -> list[str]:
        return ["-m", "tokmem-desk", "-o", "route", "none", "-o", "url", self.served.url]


class AISDK(Library):
    """The AI SDK of JavaScript; ``make clients`` installs it where there is npm."""

    needs = "node"
    script: ClassVar[Path] = Path(__file__).parent / "ai_sdk" / "ask.mjs"

    def _run(self, kind: str, message: str) -> Any:
        command = ["node", str(self.script), kind, self.served.url, self.served.token, message, str(LONGEST)]
        ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout)

    def text(self, message: str) -> str:
        return str(self._run("text", message))

    def stream(self, message: str) -> Iterator[str]:
        yield from self._run("stream", message)

    def tool(self, message: str) -> Call:
        name, arguments = self._run("tool", message)
        return name, arguments

    def schema(self, message: str) -> Any:
        return Paint(**self._run("schema", message))


LIBRARIES: tuple[type[Library], ...] = (
    OpenAI, Anthropic, LiteLLM, LangChain, LlamaIndex, PydanticAI, Aisuite, Haystack, DSPy, Instructor, LLM,
    LLMPlugin, AISDK,
)  # fmt: skip
