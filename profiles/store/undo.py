"""Undo for procedures and pairs: every change leaves the rows it would take to go back.

An entry holds *before-images*: rows to put back as they were and keys of rows to delete. Entries are undone last
first, and every change of the logged columns leaves an entry, so an image always fits. There is no redo.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

from profiles.database.connection import Database
from profiles.store.base import bump_revision, now
from profiles.store.forgetting import forget_lost_jobs, forget_quotes
from profiles.store.memories import drop_file, files_of_memories
from profiles.store.scrubbing import Scrubber, owe_scrub
from profiles.store.version_notes import forget_past_versions, forget_removed, note_version
from tokmem_desk.errors import NotFoundError, UsageError

KEPT_ENTRIES = 50
KEPT_CHARACTERS = 32_000_000
"""Older entries go when the log grows beyond either limit; the newest always stays."""

_KEYS = {
    "procedures": ("id",),
    "pairs": ("id",),
    "memories": ("id",),
    "memory_pairs": ("memory_id", "position"),
    "memory_verdicts": ("memory_id", "digest"),
    "corrections": ("id",),
    "commands": ("procedure_id",),
}
"""Primary keys, in the order in which rows are put back: owners first."""


class UndoEntry:
    """Collects what one change would take to go back. Call ``before`` ahead of the change, ``save`` at its end."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._restore: dict[str, list[dict[str, object]]] = {}
        self._remove: dict[str, list[int | str]] = {}

    def before(self, table: str, where: str, parameters: Sequence[object]) -> None:
        """Keep the rows of ``table`` that are about to change or go."""
        rows = self._connection.execute(f"SELECT * FROM {table} WHERE {where}", parameters)
        self._restore.setdefault(table, []).extend(dict(row) for row in rows)

    def added(self, table: str, ids: Iterable[int | str]) -> None:
        """Note rows that did not exist before; tables are emptied of them in the order of these calls."""
        self._remove.setdefault(table, []).extend(ids)

    def save(self, text: str) -> None:
        """Write the entry; ``text`` says what was done, as in "added 3 pairs to ledger"."""
        self._connection.execute(
            "INSERT INTO undo_log (text, created, remove, restore) VALUES (?, ?, ?, ?)",
            (text, now(), json.dumps(self._remove), json.dumps(self._restore)),
        )
        outdated = self._connection.execute(
            """
            DELETE FROM undo_log WHERE id < (SELECT max(id) FROM undo_log) AND id IN (
                SELECT id FROM (
                    SELECT id, row_number() OVER newest AS rank, sum(length(restore)) OVER newest AS size
                    FROM undo_log WINDOW newest AS (ORDER BY id DESC)
                ) WHERE rank > ? OR size > ?
            )
            """,
            (KEPT_ENTRIES, KEPT_CHARACTERS),
        )
        if outdated.rowcount:
            owe_scrub(self._connection)


class UndoLog:
    """Takes changes back, the last one first, or gives that up for good.

    Args:
        database: the profile's.
        memories: their folder.
        scrubber: takes deleted bytes out of the files.
    """

    def __init__(self, database: Database, memories: Path, scrubber: Scrubber) -> None:
        self._database = database
        self._memories = memories
        self._scrubber = scrubber

    def take_back(self) -> str:
        """Take back the last change to a procedure or its pairs and say what it was, as in "removed ledger".

        Raises:
            NotFoundError: there is nothing to undo.
            UsageError: the change was adding a procedure that has memories by now.
        """
        with self._database.writing() as connection:
            entry = connection.execute("SELECT * FROM undo_log ORDER BY id DESC LIMIT 1").fetchone()
            if entry is None:
                raise NotFoundError("There is nothing to undo.")
            for table, ids in json.loads(entry["remove"]).items():
                if table == "procedures":
                    _refuse_trained(connection, ids)
                connection.executemany(f"DELETE FROM {table} WHERE {_KEYS[table][0]} = ?", [(key,) for key in ids])
            restore = json.loads(entry["restore"])
            _make_room(connection, restore.get("memories", ()))
            for table in _KEYS:
                for image in restore.get(table, ()):
                    _put_back(connection, table, image)
            connection.execute("DELETE FROM undo_log WHERE id = ?", (entry["id"],))
            for image in restore.get("procedures", ()):
                note_version(connection, int(image["id"]), "edit", f"took back: {entry['text']}")
            bump_revision(connection)
        return str(entry["text"])

    def changed_procedures(self) -> list[int]:
        """The ids of the procedures that the last change was made to; empty where there is nothing to undo."""
        entry = self._database.row("SELECT restore FROM undo_log ORDER BY id DESC LIMIT 1")
        restore = {} if entry is None else json.loads(entry["restore"])
        return [int(image["id"]) for image in restore.get("procedures", ())]

    def forget(self) -> str:
        """Give up every undo and all versions but the present, so that removed pairs and memories are gone for good.

        Returns:
            As ``Scrubber.run``: empty when no byte of them is left, else a sentence that says what remains and for how
            long.
        """
        with self._database.writing() as connection:
            files = files_of_undos(self._database) - files_of_memories(self._database)
            connection.execute("DELETE FROM undo_log")
            forget_removed(connection, ())
            forget_lost_jobs(connection, ())
            procedures = [int(row["id"]) for row in connection.execute("SELECT id FROM procedures")]
            for key in procedures:
                forget_past_versions(connection, key)
            forget_quotes(connection, procedures)
            owe_scrub(connection, promised=True)
        for file in files:
            drop_file(self._memories / file)
        return self._scrubber.run()


def files_of_undos(database: Database) -> set[str]:
    """The memory files that an undo would bring back."""
    rows = database.rows("SELECT restore FROM undo_log WHERE restore LIKE '%\"memories\"%'")
    return {str(image["file"]) for row in rows for image in json.loads(row["restore"]).get("memories", ())}


def procedures_kept_for_undo(connection: sqlite3.Connection) -> set[int]:
    """The ids of procedures that an undo could bring back."""
    rows = connection.execute("SELECT restore FROM undo_log WHERE restore LIKE '%\"procedures\"%'")
    return {int(image["id"]) for row in rows for image in json.loads(row["restore"]).get("procedures", ())}


def uuids_of_undos(database: Database) -> set[str]:
    """The UUIDs of procedures that an undo would bring back."""
    rows = database.rows("SELECT restore FROM undo_log WHERE restore LIKE '%\"procedures\"%'")
    return {str(image["uuid"]) for row in rows for image in json.loads(row["restore"]).get("procedures", ())}


def _make_room(connection: sqlite3.Connection, memories: Sequence[dict[str, object]]) -> None:
    """Let no memory answer where one comes back that did: only one may, at every moment."""
    for image in memories:
        if image["status"] == "active":
            connection.execute(
                """
                UPDATE memories SET status = 'archived'
                WHERE procedure_id = ? AND backbone_fingerprint = ? AND status = 'active'
                """,
                (image["procedure_id"], image["backbone_fingerprint"]),
            )


def _refuse_trained(connection: sqlite3.Connection, ids: Sequence[int]) -> None:
    for key in ids:
        trained = connection.execute(
            "SELECT p.name FROM procedures p JOIN memories m ON m.procedure_id = p.id WHERE p.id = ?", (key,)
        ).fetchone()
        if trained is not None:
            name = str(trained["name"])
            raise UsageError(
                f"{name!r} was trained since it was added, so adding it cannot be undone.",
                next_step=f"Remove it with its memory (tokmem-desk proc remove {name}; that can be undone), or keep "
                f"both and switch it off (tokmem-desk proc disable {name}).",
            )


def _put_back(connection: sqlite3.Connection, table: str, image: dict[str, object]) -> None:
    if table == "procedures":
        # A version names one content only: going back is a change too.
        found = connection.execute("SELECT version FROM procedures WHERE id = ?", (image["id"],)).fetchone()
        if found is not None:
            image["version"] = int(found["version"]) + 1
    if table == "commands":
        image["allowed"] = None  # a consent never comes back
    if image.get("message_id") is not None:
        # The chat it came from may have been deleted since.
        known = connection.execute("SELECT 1 FROM messages WHERE id = ?", (image["message_id"],)).fetchone()
        image["message_id"] = image["message_id"] if known else None
    # An upsert, because replacing a row would delete what hangs on it.
    columns = list(image)
    keys = _KEYS[table]
    updates = ", ".join(f"{column} = excluded.{column}" for column in columns if column not in keys)
    connection.execute(
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))}) "
        f"ON CONFLICT ({', '.join(keys)}) DO {f'UPDATE SET {updates}' if updates else 'NOTHING'}",
        list(image.values()),
    )
