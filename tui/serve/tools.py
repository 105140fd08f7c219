"""A client's tools: which may be called, which must be, and whether an answer is a call.

A procedure that answers with calls is a tool where a client's tool has its name. In plain chat the grammar holds the
answer to the form of a call.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tokmem_desk.errors import TokmemError
from tokmem_desk.procedures import NONE_ROUTE
from tokmem_desk.templates.asked_form import AskedForm
from tui.engine_client.protocol import Message
from tui.serve.fields import wrong

_HOW = (
    "You can call these tools:\n{tools}\n"
    'To call one, answer with nothing but {{"name": NAME, "arguments": ARGUMENTS}} in JSON. {when}'
)
_EITHER = "Where none helps, answer in words."
_MUST = "Call one of them now."


@dataclass(frozen=True, slots=True)
class ToolUse:
    """The tools of one request."""

    fields: dict[str, Any]
    """As ``AskedForm.read`` takes them."""
    form: AskedForm
    must_call: bool
    descriptions: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """What may be called."""
        return tuple(call.name for call in self.form.calls)

    @property
    def instruction(self) -> str:
        """What plain chat is told about the tools."""
        return _HOW.format(tools="\n".join(self.descriptions), when=_MUST if self.must_call else _EITHER)

    def call_of(self, result: Message) -> tuple[str, str] | None:
        """The name and arguments (JSON) of an answer that is a call of one of the tools, or None."""
        segments = result["segments"]
        if len(segments) != 1:
            return None
        route, arguments = segments[0]["route"], segments[0].get("arguments")
        if route == NONE_ROUTE:
            return self.form.call_of(result["response"])
        form = next((call for call in self.form.calls if call.name == route), None)
        if form is None or arguments is None or form.read({"arguments": arguments}) is not None:
            return None
        return route, json.dumps(arguments, ensure_ascii=False)


def read_tools(body: dict[str, Any]) -> ToolUse | None:
    """The tools of a request; None where there are none, or where the client wants no call.

    Raises:
        ApiError: 400, naming the field.
    """
    tools = body.get("tools")
    choice = body.get("tool_choice")
    if tools is None or tools == []:
        if choice not in (None, "none", "auto"):
            raise wrong("tool_choice", "wants a call, and there are no tools.")
        return None
    if not isinstance(tools, list):
        raise wrong("tools", "must be a list.")
    functions = [_function(tool, f"tools[{place}]") for place, tool in enumerate(tools)]
    must_call, named = _choice(choice)
    if named is not None:
        functions = [function for function in functions if function["name"] in named]
        if not functions:
            raise wrong("tool_choice", "names no tool of the request.")
    elif choice == "none":
        return None
    calls = [{"name": one["name"], "parameters": one.get("parameters")} for one in functions]
    fields = {"calls": calls, "text_too": not must_call}
    try:
        form = AskedForm.read(fields)
        _ = form.grammar
    except TokmemError as caught:
        raise wrong("tools", f"cannot be held to: {caught}") from None
    shown = tuple(
        json.dumps({key: one[key] for key in ("name", "description", "parameters") if one.get(key)}, ensure_ascii=False)
        for one in functions
    )
    return ToolUse(fields, form, must_call, shown)


def _function(tool: Any, where: str) -> dict[str, Any]:
    kind = tool.get("type", "function") if isinstance(tool, dict) else None
    if kind != "function":
        raise wrong("tools", f"{where} is no function; others are not supported.", code="unsupported_parameter")
    function = tool.get("function", tool)
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(name, str) or not name or not name.isprintable():
        raise wrong("tools", f"{where} has no name.")
    if not isinstance(function.get("parameters"), dict | None) or not isinstance(
        function.get("description"), str | None
    ):
        raise wrong("tools", f"{where} must have parameters as an object and a description as text.")
    return dict(function)


def _choice(choice: Any) -> tuple[bool, list[str] | None]:
    """Whether a call must come, and the names if only some may be called."""
    if choice is None or choice in ("auto", "none"):
        return False, None
    if choice in ("required", "any"):
        return True, None
    if isinstance(choice, dict):
        if choice.get("type") == "allowed_tools":
            allowed = choice.get("allowed_tools", choice)
            tools = allowed.get("tools") if isinstance(allowed, dict) else None
            if isinstance(tools, list):
                names = [_named(tool) for tool in tools]
                return allowed.get("mode") == "required", [name for name in names if name is not None]
        elif (name := _named(choice)) is not None:
            return True, [name]
    raise wrong("tool_choice", "must be none, auto, required, or name a function.")


def _named(tool: Any) -> str | None:
    function = tool.get("function", tool) if isinstance(tool, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    return name if isinstance(name, str) else None
