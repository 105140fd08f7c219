"""The profile's procedures for editors and agents that speak the Model Context Protocol, over stdin and stdout.

Each trained procedure is a tool, and a prompt with its pairs as examples for other models; ``ask`` and ``route`` are
tools as well. What a client may do is a scope, as tokens have one: with ``read`` it sees routes and prompts, with
``ask`` it has messages answered, with ``teach`` there is ``feedback`` for verdicts on routes and right answers. Knows
the engine's link; the SDK is imported only when a server is made.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, aclosing
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from profiles.store.procedures import ProcedureRecord
from profiles.store.scopes import ASK, READ, TEACH, TokenScope, includes
from profiles.store.store import ProfileStore
from tokmem_desk.errors import NotFoundError, TokmemError, UsageError
from tokmem_desk.procedures import AUTO_ROUTE
from tui.engine_client.link import EngineLink
from tui.engine_client.protocol import Message
from tui.serve.answers import waiting_words
from tui.serve.errors import ApiError
from tui.serve.teaching import keep_feedback, read_feedback, route_now
from tui.shared.plan_runs import PlanAnswering

MOST_EXAMPLES = 8
"""Pairs in a prompt."""

_MESSAGE = {
    "type": "object",
    "properties": {"message": {"type": "string", "description": "What the person types."}},
    "required": ["message"],
    "additionalProperties": False,
}
_ASK = {
    **_MESSAGE,
    "properties": {
        **_MESSAGE["properties"],  # type: ignore[dict-item]
        "route": {"type": "string", "description": "auto, none, or a procedure's name; auto where it is not given."},
    },
}
_ROUTE_OF = {
    "type": "object",
    "properties": {
        "route": {"type": "string"},
        "probability": {"type": "number"},
        "candidates": {"type": "array", "items": {"type": "object"}},
        "ambiguous": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["route", "probability", "candidates"],
}
_ASK_WORDS = (
    "Answer a message by the procedure, trained on this computer, that fits it, or as plain chat where none does."
)
_FEEDBACK_WORDS = (
    "Keep what the person has said is right: the route of a message, and its answer, which becomes an example pair."
)
_FEEDBACK = {
    "type": "object",
    "properties": {
        "message": {"type": "string"},
        "route": {"type": "string", "description": "The right one: a procedure, or none."},
        "got": {"type": "string", "description": "The route that it got; without it the one that it would get now."},
        "answer": {"type": "string", "description": "The right answer."},
    },
    "required": ["message", "route"],
    "additionalProperties": False,
}
_ROUTE_WORDS = "Say which procedure would answer a message, with its probability, without answering."


@dataclass(frozen=True, slots=True)
class McpServer:
    """Answers one client.

    Args:
        link: the way to the engine, loaded.
        profile: its name.
        fingerprint: of the backbone.
        open_store: opens the profile.
        scope: what the client may do.
    """

    link: EngineLink
    profile: str
    fingerprint: str
    open_store: Callable[[], AbstractContextManager[ProfileStore]]
    scope: TokenScope = ASK

    def server(self) -> Any:
        """The SDK's server; ``run`` of it takes two streams."""
        from mcp import types
        from mcp.server.lowlevel import Server

        async def list_tools(context: object, params: object) -> types.ListToolsResult:
            own = [
                types.Tool(name="ask", description=_ASK_WORDS, input_schema=_ASK),
                types.Tool(name="route", description=_ROUTE_WORDS, input_schema=_MESSAGE, output_schema=_ROUTE_OF),
            ]
            learned = [
                types.Tool(
                    name=tool_name(record.name),
                    description=_words(record),
                    input_schema=_MESSAGE,
                    output_schema=None if record.output_schema is None else json.loads(record.output_schema),
                )
                for record in self.procedures()
            ]
            if includes(self.scope, TEACH):
                own.append(types.Tool(name="feedback", description=_FEEDBACK_WORDS, input_schema=_FEEDBACK))
            shown = own + learned if includes(self.scope, ASK) else [tool for tool in own if tool.name == "route"]
            return types.ListToolsResult(tools=shown)

        async def call_tool(context: object, params: types.CallToolRequestParams) -> types.CallToolResult:
            try:
                text, value = await self.call(params.name, params.arguments or {})
            except TokmemError as caught:
                told = [types.TextContent(type="text", text=str(caught))]
                return types.CallToolResult(content=told, is_error=True)
            content = [types.TextContent(type="text", text=text)]
            return types.CallToolResult(content=content, structured_content=value)

        async def list_prompts(context: object, params: object) -> types.ListPromptsResult:
            message = types.PromptArgument(name="message", description="What the person types.", required=True)
            prompts = [
                types.Prompt(name=tool_name(record.name), description=_words(record), arguments=[message])
                for record in self.procedures()
            ]
            return types.ListPromptsResult(prompts=prompts)

        async def get_prompt(context: object, params: types.GetPromptRequestParams) -> types.GetPromptResult:
            record = self._procedure(params.name)
            with self.open_store() as store:
                pairs = [one.pair for one in store.pairs.list(record.name)][:MOST_EXAMPLES]
            said = [part for pair in pairs for part in (("user", pair.input), ("assistant", pair.response))]
            messages = [
                types.PromptMessage(role=role, content=types.TextContent(type="text", text=text))
                for role, text in [*said, ("user", (params.arguments or {}).get("message", ""))]
            ]
            return types.GetPromptResult(description=_words(record), messages=messages)

        return Server(
            "tokmem-desk",
            version=version("tokmem-desk"),
            on_list_tools=list_tools,
            on_call_tool=call_tool,
            on_list_prompts=list_prompts,
            on_get_prompt=get_prompt,
        )

    async def call(self, name: str, arguments: Mapping[str, Any]) -> tuple[str, dict[str, Any] | None]:
        """The text that a tool answers with, and its object where it has one.

        Raises:
            TokmemError: there is no such tool, its arguments are wrong, or what the engine reported.
        """
        needed = READ if name == "route" else TEACH if name == "feedback" else ASK
        if not includes(self.scope, needed):
            raise UsageError(f"This client may {self.scope}, and {name!r} is for those that may {needed}.")
        if name == "feedback":
            return await self._feedback(arguments)
        known = ("message", "route") if name == "ask" else ("message",)
        message, route = arguments.get("message"), arguments.get("route", AUTO_ROUTE)
        if not isinstance(message, str) or not isinstance(route, str) or not arguments.keys() <= set(known):
            raise UsageError(f"The tool {name!r} takes {' and '.join(known)}, as text.")
        if name == "route":
            found = (await self._result("route", texts=[message]))["routes"][0]
            return json.dumps(found, ensure_ascii=False), found
        record = None if name == "ask" else self._procedure(name)
        result = await self._answer(message, route if record is None else record.name)
        held = record is not None and record.output_schema is not None
        return result["response"], result["segments"][0]["arguments"] if held else None

    async def _feedback(self, arguments: Mapping[str, Any]) -> tuple[str, dict[str, Any] | None]:
        try:
            told = read_feedback(dict(arguments))
        except ApiError as caught:
            raise UsageError(caught.message) from None
        got = told.got if told.got is not None else await route_now(self.link, self.profile, told.message)
        with self.open_store() as store:
            kept = keep_feedback(store, told, got)
        return json.dumps(kept, ensure_ascii=False), kept

    def procedures(self) -> list[ProcedureRecord]:
        """The procedures that can answer: enabled, with an active memory for the loaded backbone."""
        with self.open_store() as store:
            return [
                record
                for record in store.procedures.list()
                if record.enabled and store.memories.active(record.name, self.fingerprint) is not None
            ]

    def _procedure(self, name: str) -> ProcedureRecord:
        found = next((record for record in self.procedures() if tool_name(record.name) == name), None)
        if found is None:
            raise NotFoundError(f"There is no tool {name!r}.", next_step="List the tools again.")
        return found

    async def _answer(self, message: str, route: str) -> dict[str, Any]:
        """One answer.

        Raises:
            TokmemError: what the engine reported, or that the answer does not fit its schema.
        """
        answering = PlanAnswering(self.link, self.profile, self.open_store, fingerprint=self.fingerprint)
        asked = answering.asked(message, route, conversation=[], sample=False, seed=None, max_tokens=None)
        result = await _done(asked, answering.cancel)
        result["response"] += waiting_words(result)
        problem = next((segment["problem"] for segment in result["segments"] if segment["problem"]), "")
        if problem:
            raise UsageError(problem)
        return result

    async def _result(self, op: str, **fields: Any) -> dict[str, Any]:
        handle = self.link.submit(op, profile=self.profile, **fields)
        return await _done(self.link.events(handle), handle.cancel)


async def _done(events: AsyncGenerator[Message, None], cancel: Callable[[], Awaitable[object]]) -> dict[str, Any]:
    """The result at the end of a request's events; what has no end is cancelled."""
    done = False
    try:
        async with aclosing(events):
            async for event in events:
                if event["event"] == "done":
                    done = True
                    return dict(event["result"])
    finally:
        if not done:  # the client has taken its request back, or it failed
            await cancel()
    raise TokmemError("The engine ended the request without an answer.", next_step="Try again.")


def tool_name(procedure: str) -> str:
    """A procedure's name as a tool's: ours are taken."""
    return f"{procedure}_" if procedure in ("ask", "route", "feedback") else procedure


def _words(record: ProcedureRecord) -> str:
    return record.description or f"The procedure {record.name}, learned from examples."


async def serve_stdio(server: McpServer) -> None:
    """Answer the client at the other end of stdin and stdout until it closes them."""
    from mcp.server.stdio import stdio_server

    made = server.server()
    async with stdio_server() as (reading, writing):
        await made.run(reading, writing, made.create_initialization_options())
