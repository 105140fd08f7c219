"""Characters that a terminal would obey, shown instead of sent: the one place that knows which they are.

Text comes from banks, models, files and other people. Control characters in it could set the clipboard, move the cursor
or turn the order of words round, so each becomes a symbol that says what it was: ``␛`` for an escape, ``‹U+202E›`` for
one that has no picture of its own. Line ends and tabs stay. So do the joiners within emoji and the non-joiners of
Persian: they change no other text. Knows no widget and no command; ``drawn_lines`` and ``tui.cli.console`` use it.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from typing import TextIO, cast

_PICTURED = {code: chr(0x2400 + code) for code in range(0x20)} | {0x7F: "\u2421"}
_NAMED = (
    *range(0x80, 0xA0),  # C1: a terminal may read them as escape and a letter
    *(0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x2070)),  # they turn the order of text round
    *(0x2028, 0x2029),  # some terminals break lines at them
    *range(0xD800, 0xE000),  # half characters, as in names of files that are no UTF-8
)
_ALL = frozenset((*_PICTURED, *_NAMED))
_OBEYED = re.compile("[" + "".join(rf"\u{code:04x}" for code in sorted(_ALL - {0x09, 0x0A})) + "]")
_ANY = re.compile("[" + "".join(rf"\u{code:04x}" for code in sorted(_ALL)) + "]")


def _symbol(code: int) -> str:
    return _PICTURED.get(code) or f"‹U+{code:04X}›"


_IN_LINES = {code: _symbol(code) for code in _ALL if chr(code) not in "\n\t"}
_IN_ONE_LINE = {code: _symbol(code) for code in _ALL}
_IN_CELLS = {code: _PICTURED.get(code, "\ufffd") for code in _ALL} | {0x09: " "}


def visible(text: str) -> str:
    """``text`` without characters that a terminal would obey; line ends and tabs stay."""
    return text.translate(_IN_LINES) if _OBEYED.search(text) else text


def visible_line(text: str) -> str:
    """``text`` as one line: its line ends and tabs are symbols too."""
    return text.translate(_IN_ONE_LINE) if _ANY.search(text) else text


def is_plain(text: str) -> bool:
    """True when ``text`` may be drawn as a part of a line as it is."""
    return _ANY.search(text) is None


def in_cells(text: str) -> str:
    """A part of a drawn line with one symbol, one cell wide, for each character that a terminal would obey."""
    return text.translate(_IN_CELLS)


def json_escaped(text: str) -> str:
    """Written JSON with escapes for what a terminal would obey: it reads back as the very same value."""
    return _OBEYED.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


class VisibleStream(io.TextIOBase):
    """A terminal's stream that lets only visible text through, in tracebacks and warnings too.

    Args:
        raw: the stream itself. Whoever has sequences of their own to send writes to it.
    """

    def __init__(self, raw: TextIO) -> None:
        self.raw = raw

    @property
    def rich_proxied_file(self) -> TextIO:
        """Where rich draws: its own colours are no text, and ``tui.kit.drawn_lines`` looks through what it draws."""
        return self.raw

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self.raw.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        return self.raw.errors

    @property
    def buffer(self) -> io.BufferedIOBase:
        """The stream of bytes below, which is not filtered."""
        return cast("io.BufferedIOBase", self.raw.buffer)

    def write(self, text: str) -> int:
        """Write what can be seen of ``text``."""
        self.raw.write(visible(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:  # type: ignore[override]
        """Write several texts."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flush the stream below."""
        self.raw.flush()

    def fileno(self) -> int:
        """The stream's number."""
        return self.raw.fileno()

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self.raw.isatty()

    def writable(self) -> bool:
        """Always true."""
        return True

    def close(self) -> None:
        """Do nothing: the stream belongs to the process."""


def guarded(stream: TextIO) -> TextIO:
    """``stream`` itself, or a ``VisibleStream`` over it if it is a terminal."""
    known: object = stream
    if isinstance(known, VisibleStream) or not stream.isatty():
        return stream
    return cast("TextIO", VisibleStream(stream))


def raw_of(stream: TextIO) -> TextIO:
    """The stream below a filtered one."""
    known: object = stream
    return known.raw if isinstance(known, VisibleStream) else stream
