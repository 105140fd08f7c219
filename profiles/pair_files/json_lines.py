"""On which line each element of a JSON document's lists begins, which the json module does not tell."""

from __future__ import annotations

import json
import re

_SPACE = re.compile(r"[ \t\r\n]*")
_LINE_END = re.compile(r"\r\n|\r|\n")
_DECODER = json.JSONDecoder()


def row_lines(text: str) -> dict[str, list[int]]:
    """Lines, from 1, of the elements of the outermost list (key ``""``), or of each list in the outermost object.

    Args:
        text: a valid JSON document; it is parsed once more, so call this only when a line must be named.
    """
    starts: dict[str, list[int]] = {}
    at = _skip(text, 0)
    if text[at] == "[":
        starts[""], _ = _elements(text, at)
    elif text[at] == "{":
        at = _skip(text, at + 1)
        while text[at] != "}":
            key, at = _DECODER.raw_decode(text, at)
            at = _skip(text, _skip(text, at) + 1)  # over the colon
            if text[at] == "[":
                starts[key], at = _elements(text, at)
            else:
                _, at = _DECODER.raw_decode(text, at)
            at = _next(text, at)
    return {key: lines_of(text, places) for key, places in starts.items()}


def lines_of(text: str, places: list[int]) -> list[int]:
    """The lines of places in ascending order; where lines end is not kept, there can be millions."""
    lines, line = [], 1
    ends = (match.end() for match in _LINE_END.finditer(text))
    end = next(ends, None)
    for place in places:
        while end is not None and end <= place:
            line, end = line + 1, next(ends, None)
        lines.append(line)
    return lines


def _elements(text: str, at: int) -> tuple[list[int], int]:
    """The offsets of a list's elements, and the offset behind the list."""
    starts = []
    at = _skip(text, at + 1)
    while text[at] != "]":
        starts.append(at)
        _, at = _DECODER.raw_decode(text, at)
        at = _next(text, at)
    return starts, at + 1


def _next(text: str, at: int) -> int:
    at = _skip(text, at)
    return _skip(text, at + 1) if text[at] == "," else at


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return at if match is None else match.end()
