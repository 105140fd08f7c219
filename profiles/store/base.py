"""What all parts of a profile's store share: the database, its folders, and how values become columns."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from profiles.database.connection import Database
from profiles.encryption.profile_files import Vault
from profiles.store.records import JsonObject
from tokmem_desk.errors import NotFoundError, did_you_mean

Row = sqlite3.Row


class StoreBase:
    """The base of every part of the store; ``profiles.store.store.ProfileStore`` is all of them in one."""

    _database: Database
    memory_folder: Path
    vault: Vault
    """Reads and writes what of the profile lies outside its database."""

    @property
    def revision(self) -> int:
        """Grows with every change that can alter routes or answers, by any process."""
        row = self._database.row("SELECT value FROM meta WHERE key = 'revision'")
        return int(row["value"]) if row is not None else 0

    def _procedure_id(self, name: str) -> int:
        """The id of a procedure, or NotFoundError with the nearest name."""
        row = self._database.row("SELECT id FROM procedures WHERE name = ?", (name,))
        if row is None:
            raise self._no_procedure(name)
        return int(row["id"])

    def _message_row(self, message_id: int) -> Row:
        row = self._database.row("SELECT * FROM messages WHERE id = ?", (message_id,))
        if row is None:
            raise NotFoundError(
                f"Message {message_id} is not there any more.", next_step="Open the conversation again."
            )
        return row

    def _no_procedure(self, name: str) -> NotFoundError:
        known = [str(row["name"]) for row in self._database.rows("SELECT name FROM procedures")]
        return NotFoundError(
            f"There is no procedure {name!r}.{did_you_mean(name, known)}",
            next_step="" if known else "Add one first: tokmem-desk proc add NAME --pairs FILE",
        )


def bump_revision(connection: sqlite3.Connection) -> None:
    """Tell every process that routes or answers may differ from now on."""
    connection.execute("UPDATE meta SET value = value + 1 WHERE key = 'revision'")


def now() -> str:
    """This moment in UTC, ISO 8601 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def storable(text: str) -> str:
    """``text`` with halves of surrogate pairs (which no UTF-8 can hold) replaced by question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def as_json(value: Mapping[str, Any] | Sequence[Any] | None) -> str | None:
    """A column's text; None stays NULL."""
    return None if value is None else json.dumps(value)


def from_json(text: str | None) -> JsonObject | None:
    """The object in a column, None for NULL."""
    if text is None:
        return None
    value: JsonObject = json.loads(text)
    return value
