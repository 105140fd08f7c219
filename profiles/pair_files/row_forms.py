"""From one row of a file to example pairs: our own form, the forms other programs write, or a mapping of columns.

Knows rows, not files. Forms are told from the keys of each row; columns are never guessed here, because a wrong guess
would train the wrong thing: ``guess_mapping`` only suggests.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from profiles.store.pair_rules import pair_fault
from tokmem_desk.errors import UsageError
from tokmem_desk.procedures import ExamplePair

Dropped = Literal["marked", "headings", "system", "tools", "history", "rejected"]
"""What a file holds and no pair learns."""

DROPPED_WORDS: dict[Dropped, tuple[str, str]] = {
    "marked": (
        "Left out 1 answer that is marked as not to be learned.",
        "Left out {} answers that are marked as not to be learned.",
    ),
    "headings": ("Left out 1 row that names the columns again.", "Left out {} rows that name the columns again."),
    "system": ("1 row has a system text, which is not learned.", "{} rows have a system text, which is not learned."),
    "tools": ("1 row calls tools, which is not learned.", "{} rows call tools, which is not learned."),
    "history": (
        "1 row has earlier turns in 'history', which are not learned.",
        "{} rows have earlier turns in 'history', which are not learned.",
    ),
    "rejected": (
        "1 row names a rejected answer, which is not learned.",
        "{} rows name a rejected answer, which is not learned.",
    ),
}
"""How a person is told: of one, of several."""

Form = Literal["pairs", "mapped", "alpaca", "sharegpt", "messages"]

FORM_WORDS: dict[Form, str] = {
    "pairs": "input and response",
    "mapped": "the columns you chose",
    "alpaca": "Alpaca: instruction and input or context → you type, output or response → you get",
    "sharegpt": "ShareGPT conversations: each message with its answer is a pair",
    "messages": "chat messages: each user message with its answer is a pair",
}
"""How a person is told what was recognised."""

COLUMNS = ("input", "response")

ALIASES = {
    "input": ("prompt", "question", "instruction", "query", "user", "source", "text", "message", "you type"),
    "response": (
        "output", "answer", "completion", "assistant", "target", "reply", "label", "expected", "you get",
    ),
}  # fmt: skip
"""What other programs call the two columns."""

_USER_ROLES = frozenset({"user", "human", "prompter"})
_ANSWER_ROLES = frozenset({"assistant", "gpt", "model", "chatgpt", "bot", "ai"})
_SILENT_ROLES = frozenset({"system", "developer"})
_TOOL_ROLES = frozenset({"tool", "function", "observation", "function_call"})

_MARKS = ("weight", "loss_weight", "train", "loss")
"""Keys by which files for training mark what must not be learned, with 0 or false; a rejected answer has a false
``label``."""


@dataclass(frozen=True, slots=True)
class ColumnMapping:
    """Which columns (or keys) are what the person types and what they get.

    Each is a name, several names joined by ``+`` (their texts are joined by an empty line), or in a table without a
    header the number of a column, from 1.
    """

    input: str
    response: str

    @classmethod
    def parse(cls, text: str) -> ColumnMapping:
        """Read ``input=COLUMN,response=COLUMN``.

        Raises:
            UsageError: it is not that.
        """
        named: dict[str, str] = {}
        for part in text.split(","):
            key, equals, column = part.partition("=")
            if key.strip() not in COLUMNS or not equals or not column.strip() or key.strip() in named:
                break
            named[key.strip()] = column.strip()
        if set(named) != set(COLUMNS):
            raise UsageError(
                f"{text!r} is no mapping of columns.", next_step="Write it as --map input=COLUMN,response=COLUMN."
            )
        return cls(named["input"], named["response"])

    def __str__(self) -> str:
        return f"input={self.input},response={self.response}"

    @property
    def numbered(self) -> bool:
        """True when both are numbers of columns."""
        return self.input.isdecimal() and self.response.isdecimal()

    def places(self, columns: Sequence[str]) -> dict[str, list[int]]:
        """Where the texts of ``input`` and ``response`` stand among ``columns``.

        Raises:
            UsageError: names a column that is not there.
        """
        return {"input": _places(self.input, columns), "response": _places(self.response, columns)}


def _places(wanted: str, columns: Sequence[str]) -> list[int]:
    plain = [column.strip().lower() for column in columns]
    if wanted.strip().lower() in plain:
        return [plain.index(wanted.strip().lower())]
    found = []
    for name in wanted.split("+"):
        key = name.strip().lower()
        if key in plain:
            found.append(plain.index(key))
        elif key.isdecimal() and len(key) < 10 and 1 <= int(key) <= len(columns):
            found.append(int(key) - 1)
        else:
            raise UsageError(f"There is no column {name.strip()!r}; there are {quoted(columns)}.")
    return found


def guess_mapping(columns: Sequence[str]) -> ColumnMapping | None:
    """What the two columns probably are; None when the names say nothing."""
    plain = {column.strip().lower(): column for column in columns}
    chosen = []
    for wanted in COLUMNS:
        name = next((name for name in (wanted, *ALIASES[wanted]) if name in plain), None)
        if name is None:
            return None
        chosen.append(plain[name])
    return ColumnMapping(*chosen) if chosen[0] != chosen[1] else None


def is_left_out(thing: object) -> bool:
    """Whether a row, or a message of a conversation, is marked as not to be learned.

    Only 0 and false count, and of a label only false: a label that is a number or a text may be the answer itself.
    """
    if not isinstance(thing, Mapping):
        return False
    return thing.get("label") is False or any(thing.get(mark) in (0, 0.0) for mark in _MARKS)


def dropped_of_row(row: object, mapping: ColumnMapping | None = None) -> dict[Dropped, int]:
    """What of a row is never learned, counted: see ``DROPPED_WORDS``. A mapping says itself what is taken."""
    if not isinstance(row, dict):
        return {}
    if is_left_out(row):
        return {"marked": 1}
    if mapping is not None:
        return {}
    talk = row.get("messages", row.get("conversations"))
    messages = [message for message in talk if isinstance(message, dict)] if isinstance(talk, list) else []
    role_key = "role" if "messages" in row else "from"
    roles = {_role(message, role_key) for message in messages}
    found: dict[Dropped, int] = {
        "marked": sum(is_left_out(message) for message in messages if _role(message, role_key) in _ANSWER_ROLES),
        "system": int(bool(roles & _SILENT_ROLES) or _is_text(row.get("system"))),
        "tools": int(bool(roles & _TOOL_ROLES) or any(message.get("tool_calls") for message in messages)),
        "history": int(bool(row.get("history"))),
        "rejected": int("rejected" in row),
    }
    return {what: count for what, count in found.items() if count}


def pairs_of_row(row: object, mapping: ColumnMapping | None = None) -> tuple[Form, list[ExamplePair]] | str:
    """The pairs in a row and the form it has, or why there is none.

    Args:
        row: an element of a JSON list, a line of JSONL, or a line of a table as an object.
        mapping: take these keys and try no other form.

    Returns:
        The form and the pairs, none where the row is marked as not to be learned; or the reason.
    """
    if not isinstance(row, dict):
        return f"{kind(row)}, not an object with 'input' and 'response'"
    if is_left_out(row):
        return "pairs", []
    if mapping is not None:
        return _mapped(row, mapping)
    if "response" in row and _is_text(row.get("instruction")) and "output" not in row:
        return _alpaca(row, "response")
    if all(column in row for column in COLUMNS):
        return _own(row)
    if "messages" in row:
        return _talk("messages", row["messages"], "role", "content")
    if "conversations" in row:
        return _talk("sharegpt", row["conversations"], "from", "value")
    if "instruction" in row and "output" in row:
        return _alpaca(row, "output")
    missing = [column for column in COLUMNS if column not in row]
    lacks = " and ".join(repr(column) for column in missing)
    return f"no {lacks} (found: {quoted(row)}).{renames(missing, list(row))}".rstrip(".")


def _own(row: Mapping[str, object]) -> tuple[Form, list[ExamplePair]] | str:
    typed, answer = row["input"], row["response"]
    for column in COLUMNS:
        if not isinstance(row[column], str):
            return f"{column} is {kind(row[column])}, not text in quotes"
    references = row.get("references") or []
    if not isinstance(references, list) or not all(isinstance(text, str) for text in references):
        return "references is not a list of texts"
    pair = ExamplePair(str(typed), str(answer), tuple(references))
    return pair_fault(pair) or ("pairs", [pair])


def _mapped(row: Mapping[str, object], mapping: ColumnMapping) -> tuple[Form, list[ExamplePair]] | str:
    keys = [str(key) for key in row]
    texts: dict[str, str] = {}
    try:
        places = mapping.places(keys)
    except UsageError as caught:
        return caught.message.rstrip(".")
    for column in COLUMNS:
        parts = []
        for place in places[column]:
            value = row[keys[place]]
            if value is not None and not isinstance(value, str):
                return f"{keys[place]} is {kind(value)}, not text in quotes"
            if value and value.strip():
                parts.append(value)
        texts[column] = "\n\n".join(parts)
    pair = ExamplePair(texts["input"], texts["response"])
    return pair_fault(pair) or ("mapped", [pair])


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _alpaca(row: Mapping[str, object], answer: str) -> tuple[Form, list[ExamplePair]] | str:
    for key in ("instruction", "input", "context", answer):
        if not isinstance(row.get(key) or "", str):
            return f"{key} is {kind(row[key])}, not text in quotes"
    asked = [str(row.get(key) or "") for key in ("instruction", "input", "context")]
    pair = ExamplePair("\n\n".join(text for text in asked if text.strip()), str(row[answer] or ""))
    return pair_fault(pair) or ("alpaca", [pair])


def _talk(form: Form, talk: object, role_key: str, text_key: str) -> tuple[Form, list[ExamplePair]] | str:
    """Each message of the person that is answered directly."""
    if not isinstance(talk, list):
        return f"the conversation is {kind(talk)}, not a list of messages"
    pairs = []
    asked: str | None = None
    left_out = 0
    tools = False
    for number, message in enumerate(talk, start=1):
        role, text = _said(message, role_key, text_key)
        if role is None:
            return f"message {number} has no {role_key!r}"
        if role in _TOOL_ROLES or (role in _ANSWER_ROLES and _calls_tools(message)):
            tools = True
            asked = None  # what follows answers the tool, not the person
            continue
        if text is None:
            return f"message {number} is not plain text"
        if role in _SILENT_ROLES:
            continue
        if role in _USER_ROLES:
            if asked is not None:
                return f"message {number} is the person's again, with no answer before it"
            asked = text
        elif role in _ANSWER_ROLES:
            if is_left_out(message):
                left_out += 1
            elif asked is not None:
                pair = ExamplePair(asked, text)
                if (fault := pair_fault(pair)) is not None:
                    return f"message {number}: {fault}"
                pairs.append(pair)
            asked = None
        else:
            return f"message {number} is from {role[:40]!r}, neither the person nor the assistant"
    if pairs or left_out:
        return form, pairs
    return "no message with an answer in words" + (", only calls of tools" if tools else "")


def _calls_tools(message: object) -> bool:
    return isinstance(message, dict) and bool(message.get("tool_calls") or message.get("function_call"))


def _role(message: Mapping[str, object], role_key: str) -> str | None:
    role = message.get(role_key, message.get("role", message.get("from")))
    return role.lower() if isinstance(role, str) else None


def _said(message: object, role_key: str, text_key: str) -> tuple[str | None, str | None]:
    """Role and text of a message; content may be a list of parts, as newer chat files have it."""
    if not isinstance(message, dict):
        return None, None
    content = message.get(text_key, message.get("content", message.get("value")))
    if isinstance(content, list):
        parts = [part.get("text", part.get("value")) if isinstance(part, dict) else part for part in content]
        texts = [part for part in parts if isinstance(part, str)]
        content = "\n".join(texts) if len(texts) == len(parts) else None
    return _role(message, role_key), (content if isinstance(content, str) else None)


def text_keys(rows: Iterable[object]) -> tuple[str, ...]:
    """The keys that hold text in any of the first rows, in the order in which they appear."""
    found: dict[str, None] = {}
    for row in itertools.islice(rows, 50):
        if isinstance(row, dict):
            found.update({str(key): None for key, value in row.items() if isinstance(value, str)})
    return tuple(found)


def renames(missing: Sequence[str], found: Sequence[object]) -> str:
    """A sentence for each missing column that has a likely stand-in."""
    by_lower = {str(name).strip().lower(): str(name) for name in found if name not in COLUMNS}
    said = ""
    for column in missing:
        alias = next((name for name in ALIASES[column] if name in by_lower), None)
        if alias is None:
            alias = next(iter(difflib.get_close_matches(column, list(by_lower), n=1, cutoff=0.5)), None)
        if alias is not None:
            said += f" Rename {by_lower[alias]!r} to {column!r}?"
    return said


def quoted(names: Iterable[object]) -> str:
    """The first few names, in quotes."""
    shown = list(_first_quoted(names))
    return ", ".join(shown) or "none"


def _first_quoted(names: Iterable[object]) -> Iterator[str]:
    for name in itertools.islice(names, 8):
        yield repr(str(name)[:40])


def kind(value: object) -> str:
    """What a JSON value is, in words."""
    if value is None:
        return "null"
    kinds = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list", dict: "an object"}
    return kinds.get(type(value), "something else")
