"""Count what a process does to files and databases, and end it without a word at the n-th time.

What is counted does not depend on how fast the machine is, so every gap between two writes can be hit, and hit again:
files opened for writing, renamed, removed, cut, made to last (``fsync``), statements that change a database,
and, for commands, each piece of what they say.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import sys
from typing import Any

_READS = ("SELECT", "PRAGMA QUERY_ONLY", "--", "WITH", "EXPLAIN")
_OF_FILES = frozenset(
    {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.chmod", "os.link", "os.symlink"}
)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Countdown:
    """The count of one process.

    Args:
        at: at which event it ends, before that event happens; 0 for never.
        also: another process that ends with it; 0 for none.
        below: only files below this folder count.
    """

    def __init__(self, at: int, also: int, below: str) -> None:
        self.count = 0
        self._at, self._also, self._below = at, also, below

    def step(self) -> None:
        """One event is about to happen."""
        self.count += 1
        if self.count == self._at:
            if self._also:
                with contextlib.suppress(OSError):
                    os.kill(self._also, signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)

    def install(self) -> None:
        """Begin to count, for the rest of this process."""
        sys.addaudithook(self._audit)
        self._fsync = os.fsync
        os.fsync = self._count_fsync  # type: ignore[assignment]
        _trace_connections(sqlite3, self)
        with contextlib.suppress(ImportError):
            from sqlcipher3 import dbapi2

            _trace_connections(dbapi2, self)

    def statement(self, text: str) -> None:
        """A statement is about to run in a database."""
        if not text.lstrip().upper().startswith(_READS):
            self.step()

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & _WRITING and self._counts(path):
                self.step()
        elif event in _OF_FILES and self._counts(arguments[0]):
            self.step()

    def _counts(self, path: object) -> bool:
        if isinstance(path, bytes):
            path = os.fsdecode(path)
        return isinstance(path, str | os.PathLike) and os.fspath(path).startswith(self._below)

    def _count_fsync(self, handle: Any) -> None:
        self.step()
        self._fsync(handle)


def _trace_connections(library: Any, countdown: Countdown) -> None:
    connect = library.connect

    def traced(*arguments: Any, **options: Any) -> Any:
        connection = connect(*arguments, **options)
        connection.set_trace_callback(countdown.statement)
        return connection

    library.connect = traced
