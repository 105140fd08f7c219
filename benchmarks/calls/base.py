"""What every method of ``compositional`` is: it learns functions, then turns queries into calls."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks.calls.data import Call, CallData, CallExample

if TYPE_CHECKING:
    from benchmarks.methods import Context

Calls = list[Call]

_LINE = re.compile(r"([\w.-]+)\s*(\{.*\})")


@dataclass
class CallMethod(ABC):
    """A method that has learned.

    Attributes:
        trained_parameters: trained numbers, over all functions.
        seconds: time that learning took.
        prompt_tokens: tokens of the prompt beyond the message and the template, on average.
        settings: how it was set.
    """

    trained_parameters: int = 0
    seconds: float = 0.0
    prompt_tokens: float = 0.0
    settings: dict[str, Any] = field(default_factory=dict)

    @abstractmethod
    def answer(self, queries: Sequence[str]) -> list[Calls]:
        """The calls for each query, in order."""

    def close(self) -> None:  # noqa: B027 - most methods leave nothing behind
        """Leave the backbone as it was."""


CallLearner = Callable[["Context", CallData, int], CallMethod]
"""Learns from the training parts, with a seed."""


def arguments_text(call: Call) -> str:
    """The arguments as a memory answers them."""
    return json.dumps(call.arguments, ensure_ascii=False)


def calls_text(calls: Sequence[Call]) -> str:
    """Calls as one text, one a line: what methods without memories answer."""
    return "\n".join(f"{call.tool} {arguments_text(call)}" for call in calls)


def parse_arguments(text: str) -> dict[str, Any]:
    """Arguments out of a generated text; nothing where it is no JSON object."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def parse_calls(text: str) -> Calls:
    """Calls out of a generated text; lines of another form are none."""
    calls = []
    for line in text.splitlines():
        found = _LINE.fullmatch(line.strip())
        if found:
            calls.append(Call(found.group(1), parse_arguments(found.group(2))))
    return calls


def longest_answer(examples: Sequence[CallExample], count: Callable[[str], int]) -> int:
    """Most tokens worth generating: half as much again as the longest in training, whose queries have fewer calls."""
    return 16 + 3 * max(count(calls_text(example.calls)) for example in examples) // 2
