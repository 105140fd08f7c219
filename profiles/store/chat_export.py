"""A conversation as a text to read (Markdown) or to go on with elsewhere (JSON). Reads records, writes nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal

from profiles.store.chats import ConversationRecord
from profiles.store.messages import MessageRecord
from tokmem_desk.errors import UsageError
from tokmem_desk.procedures import NONE_ROUTE

ExportFormat = Literal["md", "json"]
FORMATS: tuple[ExportFormat, ...] = ("md", "json")
FORMAT_NAME = "tokmem-chat"
FORMAT_VERSION = 1


def format_of(file_name: str) -> ExportFormat:
    """The format that a file's ending asks for.

    Raises:
        UsageError: it ends in neither.
    """
    for known in FORMATS:
        if file_name.lower().endswith(f".{known}"):
            return known
    raise UsageError(f"{file_name!r} ends neither in .md nor in .json.", next_step="Choose one of the two.")


def export_text(
    conversation: ConversationRecord, messages: Sequence[MessageRecord], export_format: ExportFormat
) -> str:
    """The whole conversation, a line break at its end."""
    if export_format == "json":
        return json.dumps(as_document(conversation, messages), indent=1, ensure_ascii=False) + "\n"
    return as_markdown(conversation, messages)


def as_document(conversation: ConversationRecord, messages: Sequence[MessageRecord]) -> dict[str, Any]:
    """What the JSON form holds; docs/schemas/chats-export.schema.json describes it."""
    return {
        "format": FORMAT_NAME,
        "version": FORMAT_VERSION,
        "title": conversation.title,
        "created": conversation.created,
        "updated": conversation.updated,
        "system_prompt": conversation.system_prompt,
        "messages": [_message(message) for message in messages],
    }


def _message(message: MessageRecord) -> dict[str, Any]:
    found: dict[str, Any] = {"role": message.role, "content": message.content, "created": message.created}
    details = message.details or {}
    if message.role == "user":
        return found | {"route": details.get("route")}
    return found | {
        "status": message.status,
        "route": message.route,
        "probability": message.probability,
        "candidates": None if message.candidates is None else list(message.candidates),
        "timing": message.timing,
        "span": details.get("span"),
        "rating": message.rating,
        "original": details.get("original"),
    }


def as_markdown(conversation: ConversationRecord, messages: Sequence[MessageRecord]) -> str:
    """A heading, then each message below its author. What a procedure answered is quoted letter by letter."""
    parts = [f"# {' '.join(conversation.title.split()) or 'Untitled'}"]
    if conversation.created:
        parts.append(f"_{conversation.created[:10]}_")
    if conversation.system_prompt:
        parts.append(f"**System prompt**\n\n{_fenced(conversation.system_prompt)}")
    for message in messages:
        if message.role == "user":
            route = (message.details or {}).get("route")
            parts.append(f"**You**{f' to @{route}' if route else ''}\n\n{message.content}")
        elif message.route in (None, NONE_ROUTE):
            parts.append(f"**Answer**{_ending(message)}\n\n{message.content}")
        else:
            share = "" if message.probability is None else f" ({message.probability:.0%})"
            parts.append(f"**{message.route}**{share}{_ending(message)}\n\n{_fenced(message.content)}")
    return "\n\n".join(parts) + "\n"


def _ending(message: MessageRecord) -> str:
    return {"complete": "", "stopped": " (stopped)", "failed": " (failed)"}[message.status]


def _fenced(text: str) -> str:
    """A code block around a text that may hold fences itself."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}\n{text}\n{fence}"
