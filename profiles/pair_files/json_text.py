"""JSON as people and programs leave it: several documents in one file, comments, commas behind the last element.

Numbers keep the text they were written with, and an object with one key twice is told apart: in both cases text that a
person sees would otherwise be lost.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any

_SPACE = re.compile(r"[ \t\r\n]*")
# A text runs to the end of the document where its quote is never closed, so that no place is looked at twice.
_TEXT = r'"(?:[^"\\]|\\.)*(?:"|\Z)'
_COMMENT = re.compile(rf"{_TEXT}|//[^\r\n]*|/\*.*?(?:\*/|\Z)", re.DOTALL)
_LAST_COMMA = re.compile(rf"{_TEXT}|,(?=\s*[\]}}])", re.DOTALL)
_PYTHON = re.compile(r"[\[{(]+\s*'")
_NOT_LINE_END = re.compile(r"[^\r\n]")


class WrittenFloat(float):
    """A number with a point or an exponent, and how it was written."""

    text: str

    def __new__(cls, text: str) -> WrittenFloat:
        number = super().__new__(cls, text)
        number.text = text
        return number


class DoubledKeys(dict[str, Any]):
    """An object in which a key stands twice; the last value counts, as everywhere."""

    doubled: str = ""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) == len(pairs):
        return made
    marked = DoubledKeys(made)
    names = [name for name, _ in pairs]
    marked.doubled = next(name for name in names if names.count(name) > 1)
    return marked


DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=WrittenFloat)


def decode(text: str) -> Any:
    """One document.

    Raises:
        json.JSONDecodeError: it is none.
        ValueError: a number is too long.
        RecursionError: it is nested too deeply.
    """
    return DECODER.decode(text)


def fault_of(text: str, caught: json.JSONDecodeError) -> str:
    """Why a text is no JSON, and what it is instead where that can be seen."""
    if _PYTHON.match(text.lstrip()):
        return "not JSON but Python's own way to write it: write it with json.dumps"
    if has_git_mark(text):
        return GIT_MARK
    return f"not valid JSON: {caught.msg}{f' at column {caught.colno}' if caught.lineno == 1 else ''}"


GIT_MARK = "a mark of Git: two versions stand here that it could not merge; keep one of them"


def has_git_mark(text: str) -> bool:
    """Whether a line is one of those that Git puts around two versions."""
    return text.startswith(("<<<<<<< ", ">>>>>>> ")) or text.rstrip() == "======="


def decode_several(text: str) -> Iterator[tuple[int, Any]]:
    """Documents that stand one behind the other, with blanks or a comma between them, and where each begins.

    Raises:
        json.JSONDecodeError: see ``decode``; so for the others.
    """
    at = _skip(text, 0)
    while at < len(text):
        value, end = DECODER.raw_decode(text, at)
        yield at, value
        at = _skip(text, end)
        if text.startswith(",", at):
            at = _skip(text, at + 1)


def without_comments(text: str) -> str:
    """The document with blanks in the place of comments and of commas behind a last element; every place stays."""
    plain = _COMMENT.sub(lambda match: match[0] if match[0][0] == '"' else _NOT_LINE_END.sub(" ", match[0]), text)
    return _LAST_COMMA.sub(lambda match: match[0] if match[0][0] == '"' else " ", plain)


def written(value: object) -> str | None:
    """A value as JSON text, as it was written but for blanks; text as it is. None for null and what is no number.

    Raises:
        RecursionError: it is nested too deeply.
    """
    if isinstance(value, str):
        return value
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return _written(value)


def _written(value: object) -> str:
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_dumped(key)}: {_written(item)}' for key, item in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_written, value))}]"
    return value.text if isinstance(value, WrittenFloat) else _dumped(value)


def _dumped(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return at if match is None else match.end()
