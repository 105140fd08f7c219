"""What a profile holds, counted without opening it for use: for lists, and to say what erasing would take.

Only reads. A profile that cannot be read (locked, damaged, of a newer version) is no error here: its counts are None.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from profiles.encryption.keyring import Keyring
from profiles.store.store import DATABASE_NAME, ProfileStore

_READ_SECONDS = 0.5
"""How long a count waits for a writer before it is given up."""


@dataclass(frozen=True, slots=True)
class BackboneMemories:
    """The active memories of one profile for one backbone: its bank."""

    fingerprint: str
    memory_count: int
    model: str
    """The model as the newest of these memories names it; empty where it does not say."""


@dataclass(frozen=True, slots=True)
class ProfileContents:
    """How much of everything a profile holds."""

    procedures: int
    pairs: int
    memories: int
    """Of any state, also older versions."""
    conversations: int
    messages: int
    corrections: int
    banks: tuple[BackboneMemories, ...]
    """One for each backbone with active memories, the largest first."""


def contents(folder: Path) -> ProfileContents | None:
    """Count what the profile in ``folder`` holds; None when that cannot be read."""
    file = folder / DATABASE_NAME
    if not file.exists():
        return ProfileContents(0, 0, 0, 0, 0, 0, ())
    if Keyring(folder).exists:
        return None
    address = f"{file.absolute().as_uri()}?mode=ro"
    try:
        with contextlib.closing(sqlite3.connect(address, uri=True, timeout=_READ_SECONDS)) as connection:
            return _counted(lambda query: [tuple(row) for row in connection.execute(query).fetchall()])
    except sqlite3.Error:
        return None


def contents_of(store: ProfileStore) -> ProfileContents:
    """Count what an open profile holds, also one with a passphrase."""
    return _counted(lambda query: [tuple(row) for row in store.rows(query)])


def _counted(rows: Callable[[str], list[tuple[Any, ...]]]) -> ProfileContents:
    counts = {
        table: int(rows(f"SELECT count(*) FROM {table}")[0][0])
        for table in ("procedures", "pairs", "memories", "conversations", "messages", "corrections")
    }
    banks = rows(
        "SELECT backbone_fingerprint, count(*), json_extract(settings, '$.backbone'), max(created)"
        " FROM memories WHERE status = 'active' GROUP BY backbone_fingerprint ORDER BY 2 DESC, 1"
    )
    return ProfileContents(**counts, banks=tuple(BackboneMemories(row[0], row[1], str(row[2] or "")) for row in banks))
