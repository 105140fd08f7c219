"""Where text goes: data to stdout, talk to stderr; plain when nobody looks.

Knows terminals, colours and tables; knows no command. Whatever is written to a terminal, and all talk, goes through
``visible``. Data that goes into a pipe or a file stays as it is to the byte, since a program reads it: an answer, a
program's output, an exported chat. Tables are for readers everywhere. JSON escapes what a terminal would obey.
"""

from __future__ import annotations

import contextlib
import errno
import getpass
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TextIO

from tokmem_desk.errors import StorageError
from tui.kit.visible_text import json_escaped, raw_of, visible

PLAIN_PROGRESS_SECONDS = 5.0
"""Without a terminal a progress line is printed at most this often."""

TERMINAL_PROGRESS_SECONDS = 0.1

_STYLES = {"bold": "1", "dim": "2", "error": "31", "good": "32"}


class Console:
    """One command's output.

    Args:
        quiet: no talk but errors.
        json_output: ``result`` prints JSON.
        out, err: replace stdout and stderr.
        environ: replaces ``os.environ``.
    """

    def __init__(
        self,
        *,
        quiet: bool = False,
        json_output: bool = False,
        out: TextIO | None = None,
        err: TextIO | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.quiet = quiet
        self.json_output = json_output
        # Below what guards a terminal from everybody else's text: our own colours and rewritten lines are obeyed.
        self._out = raw_of(sys.stdout if out is None else out)
        self._err = raw_of(sys.stderr if err is None else err)
        environ = os.environ if environ is None else environ
        self._out_is_terminal = self._out.isatty()
        self._err_is_terminal = self._err.isatty()
        self._coloured = (
            self._err_is_terminal and not environ.get("NO_COLOR") and environ.get("TERM", "") not in ("", "dumb")
        )
        self._rewrites = self._err_is_terminal and environ.get("TERM", "") != "dumb"
        self._progress_shown = ""
        self._progress_time = 0.0

    @property
    def can_ask(self) -> bool:
        """True when somebody can read a question and type an answer."""
        return self._err_is_terminal and sys.stdin is not None and sys.stdin.isatty()

    @property
    def width(self) -> int:
        """Cells of a line of talk; 0 where it goes into a file, which has no end of line."""
        return _terminal_width(self._err) if self._err_is_terminal else 0

    # Data

    def data(self, text: str, end: str = "\n") -> None:
        """Print to stdout, at once.

        Raises:
            BrokenPipeError: the reader has had enough.
            StorageError: stdout cannot be written to, as on a full disk.
        """
        with writing_output():
            print(visible(text) if self._out_is_terminal else text, end=end, file=self._out, flush=True)

    def json(self, value: object) -> None:
        """Print one JSON object on one line of stdout."""
        self.data(json_escaped(json.dumps(value, ensure_ascii=False)))

    def result(self, value: object, text: str) -> None:
        """The outcome of a command: JSON where that was asked for, else text (nothing when it is empty)."""
        if self.json_output:
            self.json(value)
        elif text:
            self.data(text)

    # Talk

    def say(self, text: str = "", *, style: str = "") -> None:
        """Print a line to stderr unless the command is quiet."""
        if not self.quiet:
            self._write(text, style=style, end="\n")

    def tell(self, text: str) -> None:
        """Print a line to stderr that belongs to a question: a quiet command shows it too, or it would ask blindly."""
        self._write(text, end="\n")

    def error(self, text: str) -> None:
        """Print a line to stderr, always."""
        self._write(text, style="error", end="\n")

    def progress(self, text: str, *, done: bool = False) -> None:
        """Show what is going on: one line that is rewritten, or now and then a line where that is impossible.

        Args:
            text: the whole line.
            done: the last one of its kind, which stays.
        """
        if self.quiet or (text == self._progress_shown and not done):
            return
        now = time.monotonic()
        pause = TERMINAL_PROGRESS_SECONDS if self._rewrites else PLAIN_PROGRESS_SECONDS
        if not self._rewrites and not done and not self._progress_time:
            # Work that ends within the pause needs no line.
            self._progress_time = now
            return
        if not done and now - self._progress_time < pause:
            return
        self._progress_time = 0.0 if done else now
        if not self._rewrites:
            self._write(text, end="\n")
            return
        width, line = _terminal_width(self._err), visible(text)
        line = line if len(line) < width else line[: max(1, width - 2)] + "…"
        self._write(line, end="\n" if done else "")
        self._progress_shown = "" if done else text

    def end_progress(self) -> None:
        """Remove the line that is being rewritten."""
        self._progress_time = 0.0
        self._clear()

    def ask(self, question: str) -> bool:
        """Ask for yes or no on the terminal; end of input is a no."""
        return self.ask_text(f"{question} [y/N] ").lower() in ("y", "yes")

    def ask_text(self, question: str) -> str:
        """Ask for a line on the terminal; end of input is an empty one."""
        self._write(question)
        try:
            return input().strip()
        except EOFError:
            self._write("\n")
            return ""

    def ask_secret(self, question: str) -> str:
        """Ask for something that is not shown while it is typed; end of input is an empty answer."""
        self.end_progress()
        try:
            # On the terminal itself, also when stderr goes elsewhere.
            return getpass.getpass(visible(question))
        except EOFError:
            self._write("\n")
            return ""

    def choose(self, question: str, choices: str) -> str:
        """Ask for one of some letters on the terminal; everything else, and the end of input, is an empty text."""
        self._write(f"{question} ")
        try:
            answer = input().strip().lower()
        except EOFError:
            self._write("\n")
            return ""
        return answer[0] if answer and answer[0] in choices else ""

    def prompt(self, text: str) -> None:
        """Show where to type, when somebody is there to type."""
        if self.can_ask and not self.quiet:
            self._write(text)

    def _clear(self) -> None:
        if self._progress_shown:
            self._write("")

    def _write(self, text: str, *, style: str = "", end: str = "") -> None:
        text = visible(text)
        if style and self._coloured:
            text = f"\x1b[{_STYLES[style]}m{text}\x1b[0m"
        # stderr is closed: the work goes on in silence.
        with contextlib.suppress(OSError, ValueError):
            if self._progress_shown:
                self._progress_shown = ""
                self._err.write("\r\x1b[K")
            self._err.write(text + end)
            self._err.flush()


@contextlib.contextmanager
def writing_output() -> Iterator[None]:
    """Turn errors of stdout into ours; a closed pipe is passed on as BrokenPipeError.

    Raises:
        StorageError: stdout takes nothing.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as caught:
        reason = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up"}.get(
            caught.errno or 0, (caught.strerror or "it is closed").lower()
        )
        raise StorageError(
            f"The output could not be written: {reason}.", next_step="Send it elsewhere, or free some space."
        ) from caught


def table(headings: Sequence[str], rows: Sequence[Sequence[Any]], *, right: Sequence[int] = ()) -> str:
    """Columns of text; no trailing spaces.

    Args:
        headings: of the columns.
        rows: one cell for each heading; None is shown as ``-``.
        right: places of the columns that are aligned to the right.
    """
    cells = [list(headings), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headings))]
    lines = []
    for row in cells:
        parts = [
            text.rjust(width) if column in right else text.ljust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(parts).rstrip())
    return "\n".join(lines)


def percent(value: float | None) -> str:
    """``92 %``, or ``-`` where there is no number."""
    return "-" if value is None else f"{value * 100:.0f} %"


def number(value: float | None) -> str:
    """``0.92``, or ``-`` where there is none."""
    return "-" if value is None else f"{value:.2f}"


def _cell(value: Any) -> str:
    return "-" if value is None else " ".join(visible(str(value)).split("\n"))


def _terminal_width(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80
