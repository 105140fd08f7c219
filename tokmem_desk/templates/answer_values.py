"""Where the values stand in an answer: the parts that a person has to check, each by itself.

In an answer of a form they are its parts that are not fixed text. In a JSON object they are the values of its keys. In
any other answer each line is one. Plain data and text: no model, no torch.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tokmem_desk.templates.patterns import PatternError, plain_pattern
from tokmem_desk.templates.single_use import sequences
from tokmem_desk.templates.template import joined

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokmem_desk.templates.template import AnswerTemplate, Part

_LONGEST_PATTERN = 200_000
"""Characters of an expression beyond which a form is not looked into: reading the answer would take too long."""

_KEY = re.compile(r'\s*("(?:[^"\\]|\\.)*")\s*:\s*')
_NEXT = re.compile(r"\s*,")


@dataclass(frozen=True, slots=True)
class ValuePlace:
    """A value at [start, end) of an answer, in characters; ``name`` is its key where it has one."""

    start: int
    end: int
    name: str = ""


def value_places(form: AnswerTemplate | None, message: str, answer: str) -> list[ValuePlace]:
    """Where the values of an answer stand, in their order; none of them empty.

    Args:
        form: that the answer was held to; None for a free answer, or one of a schema.
    """
    if form is not None:
        found = _places_in_form(form, message, answer)
        if found is not None:
            return found
    elif (keyed := _places_in_object(answer)) is not None:
        return keyed
    return _lines(answer)


def _places_in_form(form: AnswerTemplate, message: str, answer: str) -> list[ValuePlace] | None:
    """The values of an answer of a form; None where it has not the form, or the message makes that too large."""
    lines = sequences(form) or [form.parts]
    found: list[ValuePlace] = []
    begin = 0
    for line in answer.split("\n") if form.repeated else [answer]:
        places = next((p for parts in lines if (p := _places_in_line(parts, message, line)) is not None), None)
        if places is None:
            return None
        found += [ValuePlace(begin + start, begin + end) for start, end in places]
        begin += len(line) + 1
    return found


def _places_in_line(parts: Sequence[Part], message: str, line: str) -> list[tuple[int, int]] | None:
    if any(part.kind == "text" and part.values[0] not in line for part in parts):
        return None  # an expression that cannot match need not be compiled
    try:
        expression = joined(f"({part.pattern(message)})" for part in parts)
        match = plain_pattern(expression).fullmatch(line) if len(expression) <= _LONGEST_PATTERN else None
    except PatternError:
        return None
    if match is None:
        return None
    # Groups that parts have within themselves do not capture.
    spans = [match.span(place) for place, part in enumerate(parts, start=1) if not _is_fixed(part)]
    return [(start, end) for start, end in spans if end > start]


def _is_fixed(part: Part) -> bool:
    return part.kind == "text" or (part.kind == "choice" and len(part.values) == 1)


def _places_in_object(answer: str) -> list[ValuePlace] | None:
    """The values of a JSON object, by their keys; None where the answer is none."""
    at = len(answer) - len(answer.lstrip())
    if answer[at : at + 1] != "{":
        return None
    decoder, found = json.JSONDecoder(), []
    at += 1
    while key := _KEY.match(answer, at):
        try:
            _, end = decoder.raw_decode(answer, key.end())
        except (ValueError, RecursionError):
            return None
        found.append(ValuePlace(key.end(), end, _text(key[1])))
        comma = _NEXT.match(answer, end)
        if comma is None:
            return found if answer[end:].strip() == "}" else None
        at = comma.end()
    return found if answer[at:].strip() == "}" else None


def _text(quoted: str) -> str:
    try:
        value: Any = json.loads(quoted)
    except ValueError:
        return quoted
    return str(value)


def _lines(answer: str) -> list[ValuePlace]:
    found, begin = [], 0
    for line in answer.split("\n"):
        text = line.strip()
        if text:
            start = begin + line.index(text)
            found.append(ValuePlace(start, start + len(text)))
        begin += len(line) + 1
    return found
