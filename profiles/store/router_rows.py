"""What the router needs of each memory, kept in the database, so that a profile with many memories opens at once.

A cache of what stands in the memories' files: it can be lost at any time, and a row counts only while its file is the
one it was read from. Numbers are float32 as bytes; the engine (``tui.engine.bank_cache``) knows what they mean.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import astuple, dataclass, fields

from profiles.database.connection import Database


@dataclass(frozen=True, slots=True)
class RouterRow:
    """The part of one memory that is needed to route to it."""

    memory_id: str
    digest: str
    """Of the router's configuration."""
    file_bytes: int
    file_time: int
    """When the file was written, in nanoseconds since 1970."""
    tied: int
    inputs: int
    scatter: float
    mean: bytes
    sketch: bytes
    address: bytes


_COLUMNS = ", ".join(field.name for field in fields(RouterRow))
_AT_ONCE = 500
"""Rows of one query: SQLite bounds the parameters that it takes."""


class RouterRows:
    """Keeps what the router needs of each memory.

    Args:
        database: the profile's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def files(self, digest: str) -> dict[str, tuple[int, int]]:
        """Size and time of the file that each memory's row was read from, for one configuration of the router."""
        rows = self._database.rows(
            "SELECT memory_id, file_bytes, file_time FROM router_rows WHERE digest = ?", (digest,)
        )
        return {memory: (size, time) for memory, size, time in rows}

    def read(self, digest: str, memories: Collection[str]) -> dict[str, RouterRow]:
        """The rows of these memories, by memory, for one configuration of the router; those without one are missing."""
        found: dict[str, RouterRow] = {}
        wanted = sorted(memories)
        for first in range(0, len(wanted), _AT_ONCE):
            some = wanted[first : first + _AT_ONCE]
            marks = ", ".join("?" * len(some))
            rows = self._database.rows(
                f"SELECT {_COLUMNS} FROM router_rows WHERE digest = ? AND memory_id IN ({marks})", (digest, *some)
            )
            found |= {row["memory_id"]: RouterRow(*row) for row in rows}
        return found

    def write(self, rows: Sequence[RouterRow]) -> None:
        """Add rows, or put them in the place of older ones; of memories that are gone they are dropped."""
        with self._database.writing() as connection:
            known = _known(connection.execute("SELECT id FROM memories"))
            marks = ", ".join("?" * len(fields(RouterRow)))
            connection.executemany(
                f"INSERT OR REPLACE INTO router_rows ({_COLUMNS}) VALUES ({marks})",
                [astuple(row) for row in rows if row.memory_id in known],
            )


def _known(rows: Iterable[Sequence[str]]) -> set[str]:
    return {row[0] for row in rows}
