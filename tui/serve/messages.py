"""Reads the messages of a request: the conversation, what is to be answered, and results of tools.

Several texts of one side in a row become one. A call that the assistant made is kept as the text of that call, a tool's
result as a message of the person, because the models' own chat knows these two sides alone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from profiles.store.pair_rules import text_fault
from tui.serve.fields import wrong

_ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
_TEXT_PARTS = ("text", "input_text", "output_text")


@dataclass(frozen=True, slots=True)
class Said:
    """What was said."""

    conversation: list[dict[str, str]]
    """What was said before, a system text first."""
    message: str
    """All that the person has said since the last answer."""
    beginning: str = ""
    """The beginning of the answer, where the client's last message is the assistant's."""
    answers_tool: bool = False
    """The message is the result of a tool."""


def read_messages(messages: Any) -> Said:
    """Check and sort the messages of a request.

    Raises:
        ApiError: 400, naming the message.
    """
    if not isinstance(messages, list) or not messages:
        raise wrong("messages", "must be a list of at least one message.")
    system: list[str] = []
    sides: list[tuple[str, list[str]]] = []  # joined at the end: adding text to text is slow for many messages
    names: dict[str, str] = {}
    last_role = ""
    for place, entry in enumerate(messages):
        role, text = _entry(entry, f"messages[{place}]", names)
        side = "user" if role == "tool" else role
        if role == "system":
            system.append(text)
            continue
        last_role = role
        if sides and sides[-1][0] == side:
            sides[-1][1].append(text)
        else:
            sides.append((side, [text]))
    turns = [{"role": role, "content": "\n\n".join(filter(None, texts))} for role, texts in sides]
    if not turns and any(text.strip() for text in system):  # a system text alone is what is to be answered
        return Said([], "\n\n".join(system))
    beginning = ""
    if turns and turns[-1]["role"] == "assistant":
        beginning = turns.pop()["content"]
    if turns and turns[0]["role"] == "assistant":  # a greeting that the client put there itself
        turns.insert(0, {"role": "user", "content": ""})
    if not turns or turns[-1]["role"] != "user":
        raise wrong("messages", "must hold a message of the user.")
    message = turns.pop()["content"]
    if not message.strip():
        raise wrong("messages", "ends with an empty message.")
    if system:
        turns.insert(0, {"role": "system", "content": "\n\n".join(system)})
    return Said(turns, message, beginning, last_role == "tool")


def call_text(name: str, arguments: str) -> str:
    """A call as the text that the model writes for one."""
    return f'{{"name": {json.dumps(name, ensure_ascii=False)}, "arguments": {arguments or "{}"}}}'


def _entry(entry: Any, where: str, names: dict[str, str]) -> tuple[str, str]:
    """Role and text of one message; ``names`` has the tools of calls that were made, by the calls' ids."""
    if not isinstance(entry, dict) or not isinstance(entry.get("role"), str):
        raise wrong(where, "must be an object with role and content.")
    role = _ROLES.get(entry["role"])
    if role is None:
        raise wrong(f"{where}.role", f"is {entry['role']!r}; known are {', '.join(_ROLES)}.")
    content = entry.get("content")
    if role == "assistant":
        calls = _calls(entry, where, names)
        text = "" if content is None else content_text(content, f"{where}.content")
        return role, "\n".join(filter(None, [text, *calls]))
    text = content_text(content, f"{where}.content")
    if role == "tool":
        name = entry.get("name") or names.get(str(entry.get("tool_call_id")), "")
        label = f"Result of {name}" if isinstance(name, str) and name else "Result of the tool"
        return role, _usable(f"{label}: {text}", where)
    return role, text


def _calls(entry: dict[str, Any], where: str, names: dict[str, str]) -> list[str]:
    calls = entry.get("tool_calls") or []
    if entry.get("function_call"):
        calls = [{"function": entry["function_call"]}]
    if not isinstance(calls, list):
        raise wrong(f"{where}.tool_calls", "must be a list.")
    texts = []
    for call in calls:
        function = call.get("function") if isinstance(call, dict) else None
        name = function.get("name") if isinstance(function, dict) else None
        arguments = function.get("arguments", "{}") if isinstance(function, dict) else None
        if not isinstance(name, str) or not isinstance(arguments, str):
            raise wrong(f"{where}.tool_calls", "must hold calls of functions, each with a name and arguments as text.")
        names[str(call.get("id"))] = name
        texts.append(_usable(call_text(name, arguments), f"{where}.tool_calls"))
    return texts


def content_text(content: Any, where: str) -> str:
    """A text, or the texts of a list of parts.

    Raises:
        ApiError: it is neither, or text that cannot be used.
    """
    if isinstance(content, list):
        parts = []
        for part in content:
            if isinstance(part, dict) and part.get("type") == "refusal" and isinstance(part.get("refusal"), str):
                parts.append(part["refusal"])
            elif isinstance(part, dict) and part.get("type") in _TEXT_PARTS and isinstance(part.get("text"), str):
                parts.append(part["text"])
            else:
                raise wrong(where, "holds a part that is not text.", code="unsupported_content")
        content = "\n".join(parts)
    if not isinstance(content, str):
        raise wrong(where, "must be text.")
    return _usable(content, where)


def _usable(text: str, where: str) -> str:
    if text and (fault := text_fault(text)):
        raise wrong(where, f"{fault}.")
    return text
