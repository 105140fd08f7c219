"""Removes the bytes of deleted rows: from the database and its log, the full-text index and the backups.

A deletion notes in its own transaction that this is owed. A kill in between, or another program that reads just then,
only puts it off, to the closing of the profile, its next opening, or the next deletion.
"""

from __future__ import annotations

import contextlib
import sqlite3

from profiles.database.connection import Database
from profiles.files.erasing import erase_file
from tokmem_desk.errors import BusyError, TokmemError

_LATER, _PROMISED = "scrub_later", "scrub_promised"
"""Keys in ``meta``; the value is another one for each deletion, so that nobody crosses off what came after it."""

_REBUILD = "INSERT INTO messages_fts (messages_fts) VALUES ('rebuild')"
_OPTIMIZE = "INSERT INTO messages_fts (messages_fts) VALUES ('optimize')"


class Scrubber:
    """Takes the bytes of what was deleted out of the profile's files.

    Args:
        database: the profile's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def run(self, *, only_promised: bool = False) -> str:
        """Do what deletions so far have left to do; nothing where nothing is owed.

        Args:
            only_promised: leave alone what only has to go some time, such as the oldest entry of the undo list.

        Returns:
            Empty when it is done; else one sentence for people: what is left, and when it goes.
        """
        owed = self._owed_scrub()
        promised = _PROMISED in owed
        if not owed or (only_promised and not promised):
            return ""
        try:
            # Merging the index's parts drops the words of rows that are gone, save in rare orders of merges; making it
            # anew drops them always, and takes five times as long.
            self._database.scrub([_REBUILD if promised else _OPTIMIZE])
            if promised:
                self._erase_backups()
            with self._database.writing() as connection:
                connection.executemany("DELETE FROM meta WHERE key = ? AND value = ?", owed.items())
        except BusyError:
            return (
                "It is in no list any more, but traces stay in the profile's files as long as another tokmem-desk "
                "reads them; they are removed when a tokmem-desk closes or opens the profile next."
            )
        except (TokmemError, OSError) as caught:
            reason = caught.message if isinstance(caught, TokmemError) else str(caught)
            return (
                "It is in no list any more, but traces stay in the profile's files, which could not be written anew: "
                f"{reason} They are removed when a tokmem-desk closes or opens the profile next."
            )
        return ""

    def _owed_scrub(self) -> dict[str, int]:
        rows = self._database.rows("SELECT key, value FROM meta WHERE key IN (?, ?)", (_LATER, _PROMISED))
        return {str(row["key"]): int(row["value"]) for row in rows}

    def _erase_backups(self) -> None:
        """A copy from before an update holds what was deleted since, and has been of no use for as long."""
        folder = self._database.backups
        with contextlib.suppress(FileNotFoundError):
            for file in folder.iterdir():
                erase_file(file)


def owe_scrub(connection: sqlite3.Connection, *, promised: bool = False) -> None:
    """Note within the transaction of a deletion that its bytes have to go.

    Args:
        connection: in a transaction.
        promised: a person was told that it is gone for good: at once, not some time.
    """
    connection.execute(
        "INSERT INTO meta VALUES (?, random()) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        (_PROMISED if promised else _LATER,),
    )
