"""A command as it is shown before it runs: an argument's beginning and end cannot be mistaken, and nothing is hidden.

Each argument is quoted and begins a line with its number; where it goes on in the next line, no number stands there.
"""

from __future__ import annotations

import re
import shlex
import unicodedata
from collections.abc import Sequence

from tui.kit.visible_text import visible_line

UNSEEN_NOTE = "Symbols such as ␊, ␛ or ‹U+202E› stand for characters that cannot be seen."

_JOINERS = frozenset("\u200c\u200d\ufe0e\ufe0f")
_SYMBOL = re.compile("[\u2400-\u2421]|‹U\\+[0-9A-F]{4,6}›")


def quoted(element: str) -> str:
    """One argument in one line, quoted as for a shell. Characters that cannot be seen become symbols."""
    return "".join(_seen(one) for one in visible_line(shlex.quote(element)))


def vector_rows(vector: Sequence[str], width: int = 0) -> list[tuple[str, str]]:
    """The rows that show a command: the number of an argument, or blanks where it goes on, and its text.

    Args:
        vector: the program and its arguments.
        width: cells of a row; 0 for no limit.
    """
    from rich.cells import chop_cells

    digits = len(str(len(vector) - 1))
    room = max(8, width - digits - 2)
    rows: list[tuple[str, str]] = []
    for place, element in enumerate(vector):
        text = quoted(element)
        parts = chop_cells(text, room) if width else [text]
        rows += [(f"{place:>{digits}}" if number == 0 else " " * digits, part) for number, part in enumerate(parts)]
    return rows


def has_unseen(vector: Sequence[str]) -> bool:
    """Whether an argument holds characters that are shown as symbols."""
    return any(_SYMBOL.search(quoted(element)) for element in vector)


def _seen(character: str) -> str:
    """Replace blanks that look like others, and invisible characters, by their names."""
    if character in _JOINERS or character == " " or 0xE0000 <= ord(character) < 0xE0080:
        return character
    unseen = unicodedata.category(character) in ("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs")
    return f"‹U+{ord(character):04X}›" if unseen else character
