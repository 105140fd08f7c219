"""Function-calling data: functions, single and composed queries with their calls. No model here."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokmem_desk.errors import BadInputError


@dataclass(frozen=True, slots=True)
class Call:
    """One call; a slot that occurs twice has a list of values."""

    tool: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class CallExample:
    """A query and its calls, in the order of the query."""

    query: str
    calls: tuple[Call, ...]


@dataclass(frozen=True, slots=True)
class CallData:
    """A folder of such data.

    Attributes:
        tools: descriptions by name, in the order in which functions arrive.
        parameters: the slots of each function.
        single, composed: what methods learn from.
        tests: what they are measured on, by number of calls.
        chat: messages that ask for no call.
    """

    tools: dict[str, str]
    parameters: dict[str, tuple[str, ...]]
    single: tuple[CallExample, ...]
    composed: tuple[CallExample, ...]
    tests: dict[int, tuple[CallExample, ...]]
    chat: tuple[str, ...]

    def only(self, tools: Sequence[str]) -> CallData:
        """The part that needs no other functions than these."""
        wanted = set(tools)

        def fitting(examples: Sequence[CallExample]) -> tuple[CallExample, ...]:
            return tuple(e for e in examples if {call.tool for call in e.calls} <= wanted)

        return CallData(
            {name: text for name, text in self.tools.items() if name in wanted},
            {name: slots for name, slots in self.parameters.items() if name in wanted},
            fitting(self.single),
            fitting(self.composed),
            {count: found for count, examples in self.tests.items() if (found := fitting(examples))},
            self.chat,
        )


def load_calls(folder: Path, chat: Path | None, *, pairs: int | None = None, limit: int | None = None) -> CallData:
    """Read a folder.

    Args:
        chat: file with messages that ask for no call; None takes ``personal/chat.json`` beside the folder, if any.
        pairs: single examples per function at most, and as many composed ones as there are functions times that.
        limit: test examples per number of calls at most.

    Raises:
        BadInputError: no such folder, a damaged file, or a part is missing.
    """
    tools: dict[str, str] = {}
    parameters: dict[str, tuple[str, ...]] = {}
    for path in sorted(folder.glob("tools*.json")):
        for row in _rows(path):
            tools[row["name"]] = row.get("description") or ""
            parameters[row["name"]] = tuple(row.get("parameters") or ())
    if not tools:
        raise BadInputError(f"{folder} has no tools.json.", next_step="See docs/benchmarks.md.")
    single = _examples(folder / "single_train.json")
    composed = _examples(folder / "multi_train.json") if (folder / "multi_train.json").is_file() else []
    tests: dict[int, list[CallExample]] = {}
    for name in ("single_test.json", "multi_test.json"):
        if (folder / name).is_file():
            for example in _examples(folder / name):
                tests.setdefault(len(example.calls), []).append(example)
    if pairs is not None:
        by_tool: dict[str, list[CallExample]] = {}
        for example in single:
            by_tool.setdefault(example.calls[0].tool, []).append(example)
        single = [example for found in by_tool.values() for example in found[:pairs]]
        composed = composed[: pairs * len(tools)]
    chat = chat or folder.parent / "personal" / "chat.json"
    messages = json.loads(chat.read_text(encoding="utf-8")).get("test") or [] if chat.is_file() else []
    return CallData(
        tools,
        parameters,
        tuple(single),
        tuple(composed),
        {count: tuple(tests[count][:limit]) for count in sorted(tests)},
        tuple(messages),
    )


def conversation(data: CallData, turns: int, seed: int) -> list[CallExample]:
    """Turns drawn from the composed tests and from chat, half and half; chat has no calls."""
    rng = random.Random(f"conversation/{seed}")
    composed = [example for count, examples in data.tests.items() if count > 1 for example in examples]
    drawn = []
    for _ in range(turns):
        if data.chat and rng.random() < 0.5:
            drawn.append(CallExample(rng.choice(data.chat), ()))
        else:
            drawn.append(rng.choice(composed))
    return drawn


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInputError(f"{path} cannot be read ({error}).", next_step="It must be a UTF-8 JSON file.") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise BadInputError(f"{path} must hold a list of objects.")
    return rows


def _examples(path: Path) -> list[CallExample]:
    try:
        return [
            CallExample(row["query"], tuple(Call(call["tool"], dict(call["arguments"])) for call in row["calls"]))
            for row in _rows(path)
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise BadInputError(f"{path}: an example needs 'query' and 'calls' ({error!r}).") from error
