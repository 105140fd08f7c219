"""Versions of a procedure: what its pairs were, which memory answered, and the way back.

They are noted by ``profiles.store.version_notes``.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, TypeVar

from profiles.database.connection import Database
from profiles.store.base import Row, bump_revision, now, procedure_id_of
from profiles.store.forgetting import forget_quotes
from profiles.store.pairs import Part, pair_of
from profiles.store.scrubbing import Scrubber, owe_scrub
from profiles.store.table import FLAG, JSON_LIST, JSON_OBJECT, Table
from profiles.store.undo import UndoEntry
from profiles.store.version_notes import (
    PAIR_COLUMNS,
    VERSIONED_COLUMNS,
    VersionKind,
    forget_past_versions,
    newest_version,
    note_version,
)
from tokmem_desk.errors import NotFoundError, UsageError
from tokmem_desk.procedures import ExamplePair, pairs_digest


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """One line of a procedure's history."""

    number: int
    """1 for the first; belongs to this procedure and has nothing to do with the number of a memory."""
    kind: VersionKind
    text: str
    """What was done, as in "added 3 pairs to ledger"."""
    description: str
    output_schema: str | None
    reads_conversation: Annotated[bool, FLAG]
    command: Annotated[tuple[str, ...] | None, JSON_LIST]
    pair_count: int
    held_out_count: int
    memories: Annotated[dict[str, str], JSON_OBJECT]
    """The memory that answered, by the backbone's fingerprint."""
    created: str
    updated: str


VERSIONS = Table("versions", VersionRecord)


@dataclass(frozen=True, slots=True)
class PairChange:
    """A pair that differs between two versions; ``before`` None: it was added, ``after`` None: it went."""

    part: Part
    before: ExamplePair | None
    after: ExamplePair | None


@dataclass(frozen=True, slots=True)
class VersionDiff:
    """What lies between two versions."""

    changes: tuple[PairChange, ...]
    """Changed and removed pairs in their old order, then added ones."""
    description: tuple[str, str] | None
    """Before and after, where they differ."""
    output_schema: tuple[str | None, str | None] | None
    reads_conversation: tuple[bool, bool] | None
    command: tuple[tuple[str, ...] | None, tuple[str, ...] | None] | None
    memories: tuple[str | None, str | None] | None
    """The ids of the memories that answered on one backbone, where they differ."""


_Value = TypeVar("_Value")


class Versions:
    """Lists and compares the versions of procedures, and goes back to one.

    Args:
        database: the profile's.
        scrubber: takes deleted bytes out of the files.
    """

    def __init__(self, database: Database, scrubber: Scrubber) -> None:
        self._database = database
        self._scrubber = scrubber

    def pairs(self, name: str, number: int, part: Part = "train") -> list[ExamplePair]:
        """The pairs of one part as they were in a version.

        Raises:
            NotFoundError: no such procedure or version.
        """
        with self._database.reading():
            key = procedure_id_of(self._database, name)
            self._version_row(name, key, number)
            return [pair_of(row) for row in self._pairs_at(key, number) if row["part"] == part]

    def diff(self, name: str, before: int, after: int, fingerprint: str | None = None) -> VersionDiff:
        """What changed from version ``before`` to version ``after``.

        Args:
            name: the procedure.
            before: a version.
            after: another one, earlier or later.
            fingerprint: the backbone whose memory is compared; without one memories are not.

        Raises:
            NotFoundError: no such procedure or version.
        """
        with self._database.reading():
            key = procedure_id_of(self._database, name)
            first = VERSIONS.record(self._version_row(name, key, before))
            last = VERSIONS.record(self._version_row(name, key, after))
            old = {int(row["pair_id"]): row for row in self._pairs_at(key, before)}
            new = {int(row["pair_id"]): row for row in self._pairs_at(key, after)}
        changes = []
        for pair_id, row in old.items():
            other = new.get(pair_id)
            if other is None:
                changes.append(PairChange(row["part"], pair_of(row), None))
            elif (pair_of(row), row["part"]) != (pair_of(other), other["part"]):
                changes.append(PairChange(other["part"], pair_of(row), pair_of(other)))
        changes += [PairChange(row["part"], None, pair_of(row)) for pair_id, row in new.items() if pair_id not in old]
        answering = (first.memories.get(fingerprint or ""), last.memories.get(fingerprint or ""))
        return VersionDiff(
            tuple(changes),
            _differing(first.description, last.description),
            _differing(first.output_schema, last.output_schema),
            _differing(first.reads_conversation, last.reads_conversation),
            _differing(first.command, last.command),
            _differing(*answering),
        )

    def roll_back(self, name: str, number: int) -> str:
        """Put a procedure back to what it was in a version; can be undone.

        That is: pairs, description, form of answers, what it reads, its command, and the memory that answers. What
        the person allowed to run unasked is asked about again where the command or the form is another one.

        Where no memory answered in that version, one that was made from just its pairs does now, if there is one.

        Returns:
            what was done, as undo will name it.

        Raises:
            NotFoundError: no such procedure or version.
            UsageError: it is the present version.
        """
        with self._database.writing() as connection:
            key = procedure_id_of(self._database, name)
            version = self._version_row(name, key, number)
            newest = newest_version(connection, key)
            if newest is not None and number == newest["number"]:
                raise UsageError(f"#{number} is the present version of {name!r}.", next_step="Choose an earlier one.")
            entry = UndoEntry(connection)
            entry.before("procedures", "id = ?", (key,))
            for table in ("pairs", "memories", "commands"):
                entry.before(table, "procedure_id = ?", (key,))
            pairs = self._pairs_at(key, number)
            entry.added("pairs", _put_pairs(connection, key, pairs))
            digest = pairs_digest([pair_of(row) for row in pairs if row["part"] == "train"])
            _answer_with(connection, key, json.loads(version["memories"]), digest)
            assignments = ", ".join(f"{column} = :{column}" for column in VERSIONED_COLUMNS)
            connection.execute(
                f"""
                UPDATE procedures SET {assignments}, pairs_digest = :digest, version = version + 1, updated = :moment
                WHERE id = :key
                """,
                {**{c: version[c] for c in VERSIONED_COLUMNS}, "digest": digest, "moment": now(), "key": key},
            )
            entry.added("commands", _put_command(connection, key, version))
            text = f"went back to version {number} of {name}"
            entry.save(text)
            note_version(connection, key, "back", text)
            bump_revision(connection)
        return text

    def forget_past(self, name: str) -> int:
        """Delete all versions but the present one, for good, and return how many went.

        Pairs that were deleted or changed are then only where undo keeps them.

        Raises:
            NotFoundError: no procedure of that name.
        """
        with self._database.writing() as connection:
            key = procedure_id_of(self._database, name)
            count = forget_past_versions(connection, key)
            forget_quotes(connection, [key])
            owe_scrub(connection, promised=True)
        self._scrubber.run()
        return count

    def list(self, name: str) -> list[VersionRecord]:
        """The history of a procedure, newest first.

        Raises:
            NotFoundError: no procedure of that name.
        """
        rows = self._database.rows(
            "SELECT * FROM versions WHERE procedure_id = ? ORDER BY number DESC",
            (procedure_id_of(self._database, name),),
        )
        return [VERSIONS.record(row) for row in rows]

    def _version_row(self, name: str, key: int, number: int) -> Row:
        row = self._database.row("SELECT * FROM versions WHERE procedure_id = ? AND number = ?", (key, number))
        if row is None:
            raise NotFoundError(
                f"{name!r} has no version {number}.", next_step=f"See the list: tokmem-desk proc history {name}"
            )
        return row

    def _pairs_at(self, key: int, number: int) -> Sequence[Row]:
        return self._database.rows(
            """
            SELECT * FROM version_pairs WHERE procedure_id = ? AND since <= ? AND (until IS NULL OR until > ?)
            ORDER BY pair_id
            """,
            (key, number, number),
        )


def _put_pairs(connection: sqlite3.Connection, key: int, wanted: Sequence[Row]) -> list[int]:
    """Make ``wanted`` the pairs of a procedure, under the ids they had; returns the ids that come back."""
    present = {int(row["id"]) for row in connection.execute("SELECT id FROM pairs WHERE procedure_id = ?", (key,))}
    ids = {int(row["pair_id"]) for row in wanted}
    connection.executemany("DELETE FROM pairs WHERE id = ?", [(pair_id,) for pair_id in present - ids])
    connection.executemany(
        f"""
        INSERT INTO pairs (id, procedure_id, {", ".join(PAIR_COLUMNS)})
        VALUES ({", ".join("?" * (len(PAIR_COLUMNS) + 2))})
        ON CONFLICT (id) DO UPDATE SET {", ".join(f"{column} = excluded.{column}" for column in PAIR_COLUMNS)}
        """,
        [(row["pair_id"], key, *(row[column] for column in PAIR_COLUMNS)) for row in wanted],
    )
    return sorted(ids - present)


def _answer_with(connection: sqlite3.Connection, key: int, memories: dict[str, str], digest: str) -> None:
    """Let the given memories answer, by backbone; elsewhere one made from the pairs with that digest, if any."""
    rows = connection.execute("SELECT * FROM memories WHERE procedure_id = ? ORDER BY version", (key,)).fetchall()
    chosen = {row["backbone_fingerprint"]: row["id"] for row in rows if row["pairs_digest"] == digest}
    chosen.update({row["backbone_fingerprint"]: row["id"] for row in rows if row["id"] in memories.values()})
    connection.execute("UPDATE memories SET status = 'archived' WHERE procedure_id = ? AND status = 'active'", (key,))
    connection.executemany("UPDATE memories SET status = 'active' WHERE id = ?", [(one,) for one in chosen.values()])


def _put_command(connection: sqlite3.Connection, key: int, version: Row) -> list[int]:
    """Give a procedure the command of a version, asked about before each run; returns its id where it had none."""
    present = connection.execute("SELECT template, allowed FROM commands WHERE procedure_id = ?", (key,)).fetchone()
    if present is not None and present["template"] == version["command"]:
        return []  # a consent to it holds for as long as it is to the same form of arguments
    connection.execute("DELETE FROM commands WHERE procedure_id = ?", (key,))
    if version["command"] is None:
        return []
    connection.execute(
        "INSERT INTO commands (procedure_id, template, allowed, created) VALUES (?, ?, NULL, ?)",
        (key, version["command"], now()),
    )
    return [key] if present is None else []


def _differing(before: _Value, after: _Value) -> tuple[_Value, _Value] | None:
    return None if before == after else (before, after)
