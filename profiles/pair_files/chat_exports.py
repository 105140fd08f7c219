"""Conversations as ChatGPT, Claude and Open WebUI export them, and as LM Studio keeps them.

ChatGPT and Open WebUI keep a tree, since answers can be asked for again; the branch that was shown last is taken, as is
the version of an answer that LM Studio shows. What is no usable
text, such as images, thoughts and the work of tools, is left out and counted. Knows rows, not files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from profiles.store.pair_rules import text_fault

ExportedRole = Literal["user", "assistant"]

_ROLES: dict[str, ExportedRole] = {"user": "user", "human": "user", "assistant": "assistant"}
_HIDDEN = "is_visually_hidden_from_conversation"


@dataclass(frozen=True, slots=True)
class ExportedTalk:
    """One conversation: question and answer in turns, the first a question and the last an answer."""

    title: str
    messages: tuple[tuple[ExportedRole, str], ...]
    left_out: int
    """Messages that are no text, or one that cannot be kept."""


def exported_talk(row: Mapping[str, Any]) -> ExportedTalk | None:
    """The conversation in a row of an export; None where it is none."""
    mapping, talk, chat = row.get("mapping"), row.get("chat_messages"), row.get("chat")
    history = chat.get("history") if isinstance(chat, Mapping) else None
    if isinstance(history, Mapping) and isinstance(history.get("messages"), Mapping):
        found = [_web_ui(message) for message in _web_ui_branch(history["messages"], history.get("currentId"))]
    elif _is_lm_studio(row):
        found = [_lm_studio(message) for message in row["messages"]]
    elif isinstance(mapping, Mapping):
        found = [_chatgpt(message) for message in _branch(mapping, row.get("current_node"))]
    elif isinstance(talk, list):
        found = [_claude(message) for message in talk]
    else:
        return None
    title = row.get("title") or row.get("name") or ""
    return _talk(title if isinstance(title, str) else "", [one for one in found if one is not None])


def talk_of(title: str, messages: Iterable[tuple[str, object]]) -> ExportedTalk:
    """A conversation of roles and texts, as programs keep them; other roles than the two sides are passed over."""
    found = [(_ROLES[role], text) for role, text in messages if role in _ROLES]
    return _talk(title, [(role, text.strip() or None if isinstance(text, str) else None) for role, text in found])


def _talk(title: str, found: Iterable[tuple[ExportedRole, str | None]]) -> ExportedTalk:
    shown = [(role, _usable(text)) for role, text in found]
    left_out = sum(text is None for _, text in shown)
    return ExportedTalk(title, tuple(_turns([(role, text) for role, text in shown if text is not None])), left_out)


def _usable(text: str | None) -> str | None:
    return None if text is None or text_fault(text) is not None else text


def _turns(messages: list[tuple[ExportedRole, str]]) -> Iterator[tuple[ExportedRole, str]]:
    """Questions and answers in turns: texts of one side in a row are one; what nobody asked or answered is dropped."""
    joined: list[tuple[ExportedRole, list[str]]] = []
    for role, text in messages:
        if joined and joined[-1][0] == role:
            joined[-1][1].append(text)
        elif joined or role == "user":
            joined.append((role, [text]))
    if joined and joined[-1][0] == "user":
        joined.pop()
    for role, texts in joined:
        yield role, "\n\n".join(texts)


def _branch(mapping: Mapping[str, Any], last: object) -> list[Any]:
    """The messages from the root to the one that was shown last; without it, all in their order."""
    if not isinstance(last, str) or last not in mapping:
        return [node.get("message") for node in mapping.values() if isinstance(node, Mapping)]
    messages = []
    seen: set[str] = set()
    while isinstance(last, str) and last in mapping and last not in seen:
        seen.add(last)
        node = mapping[last] if isinstance(mapping[last], Mapping) else {}
        messages.append(node.get("message"))
        last = node.get("parent")
    return messages[::-1]


def _chatgpt(message: Any) -> tuple[ExportedRole, str | None] | None:
    """Side and text of a message; no text where it has other content, and nothing for what no person saw."""
    author = message.get("author") if isinstance(message, Mapping) else None
    role = _ROLES.get(str(author.get("role"))) if isinstance(author, Mapping) else None
    metadata = message.get("metadata") if isinstance(message, Mapping) else None
    if role is None or (isinstance(metadata, Mapping) and metadata.get(_HIDDEN)):
        return None
    content = message.get("content")
    parts = content.get("parts") if isinstance(content, Mapping) else None
    if not isinstance(parts, list) or not isinstance(content, Mapping) or content.get("content_type") != "text":
        return role, None
    text = "\n".join(part for part in parts if isinstance(part, str)).strip()
    return (role, text) if text else None


def _claude(message: Any) -> tuple[ExportedRole, str | None] | None:
    role = _ROLES.get(str(message.get("sender"))) if isinstance(message, Mapping) else None
    if role is None:
        return None
    parts = message.get("content")
    texts = (
        [part.get("text") for part in parts if isinstance(part, Mapping) and part.get("type") == "text"]
        if isinstance(parts, list)
        else []
    )
    text = "\n".join(one for one in texts if isinstance(one, str)).strip() or str(message.get("text") or "").strip()
    return role, text or None


def _web_ui_branch(messages: Mapping[str, Any], last: object) -> list[Any]:
    """The messages of Open WebUI from the first to the one that was shown last."""
    nodes = {
        key: {"parent": message.get("parentId"), "message": message}
        for key, message in messages.items()
        if isinstance(message, Mapping)
    }
    return _branch(nodes, last)


def _web_ui(message: Any) -> tuple[ExportedRole, str | None] | None:
    role = _ROLES.get(str(message.get("role"))) if isinstance(message, Mapping) else None
    content = message.get("content") if isinstance(message, Mapping) else None
    if role is None:
        return None
    return role, content.strip() or None if isinstance(content, str) else None


def _is_lm_studio(row: Mapping[str, Any]) -> bool:
    messages = row.get("messages")
    return (
        isinstance(messages, list)
        and bool(messages)
        and all(isinstance(one, Mapping) and isinstance(one.get("versions"), list) for one in messages)
    )


def _lm_studio(message: Mapping[str, Any]) -> tuple[ExportedRole, str | None] | None:
    """Side and text of the version that is shown; of an answer in steps the texts that are no thoughts."""
    versions, shown = message["versions"], message.get("currentlySelected")
    place = shown if isinstance(shown, int) and 0 <= shown < len(versions) else len(versions) - 1
    version = versions[place] if versions else None
    role = _ROLES.get(str(version.get("role"))) if isinstance(version, Mapping) else None
    if role is None or not isinstance(version, Mapping):
        return None
    steps = version.get("steps")
    blocks = [version, *(steps if isinstance(steps, list) else [])]
    texts = [
        part["text"]
        for block in blocks
        if isinstance(block, Mapping) and isinstance(block.get("content"), list) and not _is_thought(block)
        for part in block["content"]
        if isinstance(part, Mapping) and part.get("type") == "text" and isinstance(part.get("text"), str)
    ]
    return role, "\n".join(texts).strip() or None


def _is_thought(block: Mapping[str, Any]) -> bool:
    style = block.get("style")
    return isinstance(style, Mapping) and style.get("type") == "thinking"
