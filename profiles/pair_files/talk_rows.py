"""Pairs from a conversation: each message of the person with the answer that follows directly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from profiles.pair_files.chat_exports import exported_talk
from profiles.pair_files.row_values import is_left_out, is_text, kind
from profiles.store.pair_rules import pair_fault
from tokmem_desk.procedures import ExamplePair

Form = Literal["pairs", "columns", "mapped", "alpaca", "sharegpt", "messages", "preferred", "export"]

USER_ROLES = frozenset({"user", "human", "prompter"})
ANSWER_ROLES = frozenset({"assistant", "gpt", "model", "chatgpt", "bot", "ai"})
SILENT_ROLES = frozenset({"system", "developer"})
TOOL_ROLES = frozenset({"tool", "function", "observation", "function_call"})
ROLES = USER_ROLES | ANSWER_ROLES | SILENT_ROLES | TOOL_ROLES

TALK_KEYS: dict[str, Form] = {"messages": "messages", "conversations": "sharegpt", "conversation": "messages"}
_MEDIA_PARTS = ("image_url", "image", "video", "video_url", "audio", "audio_url", "file", "document")
"""Types of parts beside a text, also with ``input_`` before them."""
_REASONING = ("reasoning_content", "reasoning", "thinking")


@dataclass(frozen=True, slots=True)
class Talk:
    """The conversation that a row holds."""

    form: Form
    messages: object
    """A list of messages, in a good row."""
    role_key: str = "role"
    text_key: str = "content"
    left_out: int = 0
    """Messages of an export that are no text."""

    @property
    def pairs(self) -> tuple[Form, list[ExamplePair]] | str:
        """The pairs, or why there are none."""
        if self.form == "export" and not self.messages:
            return "export", []  # a person's export has conversations without an answer
        if self.form != "preferred" or not isinstance(self.messages, list):
            return pairs_of_talk(self.form, self.messages, self.role_key, self.text_key)
        # Only the chosen answer was preferred; nobody judged those before it.
        begin = max((place for place, role in enumerate(self.roles) if role in USER_ROLES), default=0)
        return pairs_of_talk(self.form, self.messages[begin:], self.role_key, self.text_key)

    @property
    def roles(self) -> list[str | None]:
        """The role of each message."""
        messages = self.messages if isinstance(self.messages, list) else []
        return [role_of(one, self.role_key) if isinstance(one, Mapping) else None for one in messages]

    @property
    def answers(self) -> list[Mapping[str, object]]:
        """The messages of the assistant."""
        messages = self.messages if isinstance(self.messages, list) else []
        return [one for one, role in zip(messages, self.roles, strict=True) if role in ANSWER_ROLES]

    @property
    def calls_tools(self) -> bool:
        """Whether a turn calls a tool or answers one."""
        return any(role in TOOL_ROLES for role in self.roles) or any(map(_calls_tools, self.answers))

    @property
    def reasons(self) -> int:
        """How many answers have their reasoning beside the text."""
        return sum(any(is_text(answer.get(key)) for key in _REASONING) for answer in self.answers)

    @property
    def thinks(self) -> int:
        """How many answers have their reasoning in the text itself."""
        texts = (_said(answer, self.role_key, self.text_key)[1] for answer in self.answers)
        return sum(text is not None and text.lstrip().startswith("<think>") for text in texts)

    @property
    def has_media(self) -> bool:
        """Whether a message has an image, a sound or a file beside its text."""
        messages = self.messages if isinstance(self.messages, list) else []
        contents = [one.get("content", one.get("value")) for one in messages if isinstance(one, Mapping)]
        return any(_is_medium(part) for content in contents if isinstance(content, list) for part in content)

    @property
    def unasked(self) -> int:
        """How many answers follow no message of the person: a greeting, or a second answer."""
        count, expected = 0, False
        for message, role in zip(self.messages if isinstance(self.messages, list) else [], self.roles, strict=True):
            if role in ANSWER_ROLES:
                calls = _calls_tools(message)
                count += not expected and not calls and not is_left_out(message)
                expected = calls
            elif role in USER_ROLES or role in TOOL_ROLES:
                expected = True
        return count


def talk_of(row: Mapping[str, object]) -> Talk | None:
    """The conversation in a row, or None: of the keys that files of chats have, or of a prompt and a chosen answer."""
    chosen = row.get("chosen", row.get("preferred_output"))
    if chosen is not None:
        answer = _messages(chosen, "assistant")
        if not isinstance(answer, list):
            return Talk("preferred", answer)
        # A chosen list of several messages is the whole conversation.
        asked = [] if len(answer) > 1 else _asked(row)
        return Talk("preferred", [*asked, *answer] if isinstance(asked, list) else asked)
    if (exported := exported_talk(row)) is not None:
        return Talk(
            "export", [{"role": role, "content": text} for role, text in exported.messages], left_out=exported.left_out
        )
    for key, form in TALK_KEYS.items():
        if key in row:
            return Talk(form, row[key], "from", "value") if form == "sharegpt" else Talk(form, row[key])
    prompt, completion = row.get("prompt"), row.get("completion")
    if isinstance(prompt, list) and isinstance(completion, list):
        return Talk("messages", [*prompt, *completion])
    return None


def is_talk(rows: object) -> bool:
    """Whether a list is one conversation: each element is a message."""
    if not isinstance(rows, list) or not rows:
        return False
    return all(
        isinstance(one, Mapping) and not {"input", "response"} & one.keys() and role_of(one, "role") in ROLES
        for one in rows
    )


def _asked(row: Mapping[str, object]) -> object:
    """The messages before a chosen answer."""
    prompt = row.get("prompt", row.get("input"))
    if isinstance(prompt, Mapping):
        return prompt.get("messages")
    if is_text(row.get("instruction")):
        prompt = "\n\n".join(str(row[key]) for key in ("instruction", "input") if is_text(row.get(key)))
    if prompt is None:
        prompt = next((row[key] for key in (*TALK_KEYS, "question") if key in row), [])
    return _messages(prompt, "user")


def _messages(thing: object, role: str) -> object:
    """A text, a message or messages as a list of messages."""
    if isinstance(thing, str):
        return [{"role": role, "content": thing}]
    return [thing] if isinstance(thing, Mapping) else thing


def pairs_of_talk(form: Form, talk: object, role_key: str, text_key: str) -> tuple[Form, list[ExamplePair]] | str:
    """Each message of the person that is answered directly."""
    if not isinstance(talk, list):
        return f"the conversation is {kind(talk)}, not a list of messages"
    pairs = []
    question: str | None = None
    left_out = 0
    tools = said = False
    for number, message in enumerate(talk, start=1):
        role, text = _said(message, role_key, text_key)
        if role is None:
            return f"message {number} has no {role_key!r}"
        if role in TOOL_ROLES or (role in ANSWER_ROLES and _calls_tools(message)):
            tools = True
            question = None  # what follows answers the tool, not the person
            continue
        if text is None:
            return f"message {number} is not plain text{_parts(message)}"
        if role in SILENT_ROLES:
            continue
        if role in USER_ROLES:
            if question is not None:
                return f"message {number} is the person's again, with no answer before it"
            question = text
        elif role in ANSWER_ROLES:
            if is_left_out(message):
                left_out += 1
            elif question is not None:
                pair = ExamplePair(question, text)
                if (fault := pair_fault(pair)) is not None:
                    return f"message {number}: {fault}"
                pairs.append(pair)
            said = said or (tools and question is None)
            question = None
        else:
            return f"message {number} is from {role[:40]!r}, neither the person nor the assistant"
    if pairs or left_out:
        return form, pairs
    if said:
        return "no message is answered in words at once, only behind calls of tools"
    return "no message with an answer in words" + (", only calls of tools" if tools else "")


def _calls_tools(message: object) -> bool:
    return isinstance(message, dict) and bool(message.get("tool_calls") or message.get("function_call"))


def _is_medium(part: object) -> bool:
    return isinstance(part, Mapping) and str(part.get("type")).removeprefix("input_") in _MEDIA_PARTS


def _parts(message: object) -> str:
    """What a message has beside text, as the rest of a sentence."""
    content = message.get("content", message.get("value")) if isinstance(message, Mapping) else None
    types = [str(part.get("type")) for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    others = dict.fromkeys(one for one in types if one not in ("text", "input_text", "output_text"))
    return f": it has {', '.join(map(repr, others))}" if others else ""


def role_of(message: Mapping[str, object], role_key: str) -> str | None:
    """The role of a message in small letters, or None."""
    role = message.get(role_key, message.get("role", message.get("from")))
    return role.lower() if isinstance(role, str) else None


def _said(message: object, role_key: str, text_key: str) -> tuple[str | None, str | None]:
    """Role and text of a message; content may be a list of parts, as newer chat files have it."""
    if not isinstance(message, dict):
        return None, None
    content = message.get(text_key, message.get("content", message.get("value")))
    if isinstance(content, list):
        written = [part for part in content if not _is_medium(part)]
        parts = [part.get("text", part.get("value")) if isinstance(part, dict) else part for part in written]
        texts = [part for part in parts if isinstance(part, str)]
        content = "\n".join(texts) if texts and len(texts) == len(parts) else None
    return role_of(message, role_key), (content if isinstance(content, str) else None)
