"""What several parts of a profile's store need: rows looked up by name, the revision, how values become columns."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from profiles.database.connection import Database
from tokmem_desk.errors import NotFoundError, did_you_mean

Row = sqlite3.Row

JsonObject = dict[str, Any]
"""A JSON object as it was stored; its keys belong to whoever wrote it."""


def procedure_id_of(database: Database, name: str) -> int:
    """The id of a procedure.

    Raises:
        NotFoundError: there is none of that name; the nearest one is named.
    """
    row = database.row("SELECT id FROM procedures WHERE name = ?", (name,))
    if row is None:
        raise no_procedure(database, name)
    return int(row["id"])


def no_procedure(database: Database, name: str) -> NotFoundError:
    """The error for a name that no procedure has; it names the nearest one."""
    known = [str(row["name"]) for row in database.rows("SELECT name FROM procedures")]
    return NotFoundError(
        f"There is no procedure {name!r}.{did_you_mean(name, known)}",
        next_step="" if known else "Add one first: tokmem-desk proc add NAME --pairs FILE",
    )


def message_row(database: Database, message_id: int) -> Row:
    """The row of a message.

    Raises:
        NotFoundError: the message was deleted.
    """
    row = database.row("SELECT * FROM messages WHERE id = ?", (message_id,))
    if row is None:
        raise NotFoundError(f"Message {message_id} is not there any more.", next_step="Open the conversation again.")
    return row


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
