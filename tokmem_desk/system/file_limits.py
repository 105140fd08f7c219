"""How much memory a file from outside may take before anybody has agreed to it.

JSON of a few bytes can become objects of hundreds, and a zip of a few bytes text without end. So what a value would
take is told from its bytes first, and reading stops where the sum goes beyond what a file of that size can ask for.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

from tokmem_desk.errors import BadInputError

FREE_BYTES = 64 * 2**20
BYTES_FOR_A_BYTE = 6
"""A file may take so many bytes of memory, and so many more for each of its own. The rest of what is promised, 100 MiB
and ten for each byte, is for what reads it."""

LONGEST_LINE = 8 * 2**20
"""Bytes of one line of a line file."""

MOST_LINES = 2_000_000
MOST_LEVELS = 20
"""How deep free tables of a manifest may be nested; ours reach the third level."""

_NEXT_STEP = "Ask for the file again: it was changed or cut on its way."
_OBJECT, _LIST, _NAME, _VALUE, _TEXT = 232, 88, 110, 48, 56
"""Bytes that an object, a list, a name in an object, a value and a text take at most, beside what they hold."""


class Allowance:
    """What is left of the memory that one file may take."""

    def __init__(self, source: str, file_bytes: int) -> None:
        self._source = source
        self._left = FREE_BYTES + BYTES_FOR_A_BYTE * file_bytes

    def check(self, size: int, what: str) -> None:
        """Check that so many bytes fit for the time of one step.

        Raises:
            BadInputError: they do not fit.
        """
        if size > self._left:
            raise BadInputError(
                f"{self._source} is damaged: {what} would take more memory than a file of its size may ask for.",
                next_step=_NEXT_STEP,
            )

    def take(self, size: int, what: str) -> None:
        """Take so many bytes for good.

        Raises:
            BadInputError: they do not fit.
        """
        self.check(size, what)
        self._left -= size


def json_cost(data: bytes | str) -> int:
    """Bytes that reading this JSON takes at most, its text and its values included."""
    if isinstance(data, str):
        counts = [data.count(sign) for sign in '{[:,"']
        copied = 0
        wide = 1 if data.isascii() and "\\u" not in data else 4
    else:
        counts = [data.count(sign) for sign in (b"{", b"[", b":", b",", b'"')]
        wide = 1 if data.isascii() else 4
        copied = len(data) * wide
        wide = 4 if b"\\u" in data else wide
    objects, lists, names, values, quotes = counts
    held = _OBJECT * objects + _LIST * lists + _NAME * names + _VALUE * values + _TEXT * quotes // 2
    return copied + held + len(data) * wide


def texts_cost(texts: Iterable[str]) -> int:
    """Bytes that a record with these texts keeps, with what will be made of it on its way into a profile."""
    return 400 + sum(map(sys.getsizeof, texts))


def levels(value: object, most: int = MOST_LEVELS) -> int:
    """How deep lists and objects stand in one another; nothing beyond ``most`` + 1 is looked at."""
    level, here = 0, [value]
    while here and level <= most:
        inner = [value for value in here if isinstance(value, (dict, list))]
        if not inner:
            break
        level += 1
        here = [child for value in inner for child in (value.values() if isinstance(value, dict) else value)]
    return level
