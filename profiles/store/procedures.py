"""Procedures of a profile: add, look up, rename, enable, remove. Their pairs are in ``profiles.store.pairs``."""

from __future__ import annotations

import sqlite3
import uuid
from dataclasses import dataclass, field
from typing import Annotated, Any

from profiles.database.connection import Database
from profiles.store.base import JsonObject, Row, bump_revision, no_procedure, now, procedure_id_of, storable
from profiles.store.pairs import insert_pairs, pair_of, refuse_faults
from profiles.store.table import COMPUTED, FLAG, JSON_OBJECT, Stored, Table
from profiles.store.undo import UndoEntry, uuids_of_undos
from profiles.store.version_notes import VERSIONED_COLUMNS, note_version
from tokmem_desk.errors import ConflictError, NotFoundError, UsageError
from tokmem_desk.procedures import (
    MAX_CHAIN,
    MAX_GROUP_CHARACTERS,
    ExamplePair,
    Procedure,
    check_name,
    may_name_group,
    pairs_digest,
)
from tokmem_desk.templates.json_schema import read_schema

_SELECT = """
    SELECT p.*,
        (SELECT count(*) FROM pairs WHERE procedure_id = p.id AND part = 'train') AS pair_count,
        (SELECT count(*) FROM pairs WHERE procedure_id = p.id AND part = 'held_out') AS held_out_count
    FROM procedures p
"""


@dataclass(frozen=True, slots=True)
class ProcedureRecord:
    """A procedure without its pairs."""

    id: int
    uuid: str
    """32 hexadecimal digits; stays the same through renaming and export."""
    name: str
    description: str
    pattern: str | None
    source: str
    enabled: Annotated[bool, FLAG]
    threshold: float | None
    """Least probability (0 to 1) at which the procedure may answer; None leaves it to the router."""
    version: int
    """Grows with every change to the procedure or its pairs."""
    pair_count: Annotated[int, COMPUTED]
    held_out_count: Annotated[int, COMPUTED]
    created: str
    updated: str
    group: Annotated[str, Stored(column="group_name")] = ""
    """A name that procedures of one kind share; empty: none."""
    output_schema: str | None = None
    """The JSON schema that answers are held to."""
    reads_conversation: Annotated[bool, FLAG] = False
    """Whether it sees what was said before the message."""
    then_uuid: str = ""
    """Of the procedure that goes on with its answers; empty: none does. It may have been removed."""
    steps: str | None = None
    """Of a plan, as they were written; empty where its answers are its steps; None: no plan. See ``Plans``."""
    step_uuids: Annotated[JsonObject, JSON_OBJECT] = field(default_factory=dict)
    """Of the procedures that the steps name."""


PROCEDURES = Table("procedures", ProcedureRecord)


class Procedures:
    """Adds, finds, changes and removes procedures. Every change can be undone.

    Args:
        database: the profile's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, procedure: Procedure, source: str = "") -> ProcedureRecord:
        """Add a procedure with its pairs, enabled.

        Args:
            procedure: may have no pairs yet.
            source: where it came from (a file's name, "by hand"), for the person.

        Raises:
            UsageError: the name is not allowed.
            ConflictError: the name is taken.
            BadInputError: a pair has an empty or unusable text, or the schema cannot be used.
        """
        name = check_name(procedure.name)
        refuse_faults(procedure.pairs)
        refuse_faults(procedure.held_out)
        with self._database.writing() as connection:
            _refuse_taken(connection, name)
            moment = now()
            procedure_id = PROCEDURES.insert(
                connection,
                uuid=uuid.uuid4().hex,
                name=name,
                description=storable(procedure.description),
                pattern=procedure.pattern,
                source=storable(source),
                enabled=True,
                version=1,
                pairs_digest=pairs_digest(procedure.pairs),
                created=moment,
                updated=moment,
                output_schema=_checked_schema(procedure.output_schema),
                reads_conversation=procedure.reads_conversation,
            )
            insert_pairs(connection, procedure_id, procedure.pairs, "train", source)
            insert_pairs(connection, procedure_id, procedure.held_out, "held_out", source)
            entry = UndoEntry(connection)
            entry.added("procedures", [procedure_id])
            text = f"added {name}"
            entry.save(text)
            note_version(connection, procedure_id, "begin" if procedure.pairs else "by_hand", text)
            bump_revision(connection)
        return self.get(name)

    def get(self, name: str) -> ProcedureRecord:
        """One procedure.

        Raises:
            NotFoundError: there is none of that name; the nearest one is named.
        """
        return PROCEDURES.record(self._procedure_row(name))

    def by_id(self, procedure_id: int) -> ProcedureRecord:
        """One procedure by its id, which stays the same when it is renamed.

        Raises:
            NotFoundError: it was removed.
        """
        row = self._database.row(f"{_SELECT} WHERE p.id = ?", (procedure_id,))
        if row is None:
            raise NotFoundError("The procedure was removed meanwhile.", next_step="Look at the list again.")
        return PROCEDURES.record(row)

    def with_pairs(self, name: str) -> Procedure:
        """A procedure with all its pairs, as training takes it.

        Raises:
            NotFoundError: there is none of that name.
        """
        with self._database.reading():
            record = self.get(name)
            parts: dict[str, list[ExamplePair]] = {"train": [], "held_out": []}
            for row in self._database.rows("SELECT * FROM pairs WHERE procedure_id = ? ORDER BY id", (record.id,)):
                parts[row["part"]].append(pair_of(row))
        return Procedure(
            name,
            tuple(parts["train"]),
            tuple(parts["held_out"]),
            record.description,
            record.pattern,
            record.output_schema,
            record.reads_conversation,
        )

    def rename(self, old: str, new: str) -> ProcedureRecord:
        """Rename; memories and corrections stay with it.

        Raises:
            NotFoundError: no procedure ``old``.
            UsageError: ``new`` is not allowed.
            ConflictError: ``new`` is taken.
        """
        check_name(new)
        if new == old:
            return self.get(old)
        return self.change(old, f"renamed {old} to {new}", name=new)

    def remove(self, name: str) -> None:
        """Remove a procedure with its pairs, memories and the corrections that chose it.

        Undo brings all of it back; the files of its memories go when that is no longer possible
        (``Garbage.collect``, ``UndoLog.forget``).

        Raises:
            NotFoundError: there is none of that name.
        """
        with self._database.writing() as connection:
            entry = UndoEntry(connection)
            remove_row(connection, entry, procedure_id_of(self._database, name), name)
            entry.save(f"removed {name}")
            bump_revision(connection)

    def set_enabled(self, name: str, enabled: bool) -> ProcedureRecord:
        """Set whether messages may be routed to a procedure.

        Raises:
            NotFoundError: there is none of that name.
        """
        return self.change(name, f"{'enabled' if enabled else 'disabled'} {name}", enabled=enabled)

    def set_description(self, name: str, description: str) -> ProcedureRecord:
        """Replace the description.

        Raises:
            NotFoundError: there is none of that name.
        """
        return self.change(name, f"changed the description of {name}", description=storable(description))

    def set_group(self, name: str, group: str) -> ProcedureRecord:
        """Put a procedure into a group, or into none with an empty text.

        Raises:
            NotFoundError: there is none of that name.
            UsageError: the group's name is too long or unusable.
        """
        plain = " ".join(group.split())
        if not may_name_group(plain):
            raise UsageError(
                f"{plain[:60]!r} cannot name a group.", next_step=f"Use at most {MAX_GROUP_CHARACTERS} characters."
            )
        text = f"put {name} into the group {plain}" if plain else f"took {name} out of its group"
        return self.change(name, text, group=plain)

    def groups(self) -> list[str]:
        """The groups in use, by name."""
        rows = self._database.rows("SELECT DISTINCT group_name FROM procedures WHERE group_name <> '' ORDER BY 1")
        return [str(row["group_name"]) for row in rows]

    def set_then(self, name: str, following: str | None) -> ProcedureRecord:
        """Let another procedure go on with the answers of this one: its message is the answer.

        Args:
            name: of the procedure.
            following: of the one that goes on; None: nothing does.

        Raises:
            NotFoundError: there is none of one of the names.
            ConflictError: the chain would come back to its beginning.
        """
        if following is None:
            return self.change(name, f"ended the chain with {name}", then_uuid="")
        with self._database.reading():
            chain = [self.get(following)]
            while (after := self._by_uuid(chain[-1].then_uuid)) is not None and len(chain) <= MAX_CHAIN:
                chain.append(after)
            record = self.get(name)
            before = self._steps_before(record)
        if any(one.id == record.id for one in chain):
            steps = " → ".join([name, *(one.name for one in chain)])
            raise ConflictError(
                f"The chain would never end: {steps}.",
                next_step="Leave out one of the steps: tokmem-desk proc then NAME --end",
            )
        if before + 1 + len(chain) > MAX_CHAIN:
            raise ConflictError(f"A chain has at most {MAX_CHAIN} procedures.", next_step="Take a shorter one.")
        return self.change(name, f"let {following} go on with answers of {name}", then_uuid=chain[0].uuid)

    def following(self) -> dict[str, str]:
        """Which procedure goes on with the answers of which, by name; an empty text where that one was removed."""
        records = self.list()
        names = {record.uuid: record.name for record in records}
        return {record.name: names.get(record.then_uuid, "") for record in records if record.then_uuid}

    def _by_uuid(self, identity: str) -> ProcedureRecord | None:
        row = self._database.row(f"{_SELECT} WHERE p.uuid = ?", (identity,)) if identity else None
        return None if row is None else PROCEDURES.record(row)

    def _steps_before(self, record: ProcedureRecord) -> int:
        """How many procedures the longest chain has that leads to this one."""
        steps, records = 0, self.list()
        before = {one.uuid for one in records if one.then_uuid == record.uuid}
        while before and steps <= MAX_CHAIN:
            steps += 1
            before = {one.uuid for one in records if one.then_uuid in before}
        return steps

    def set_threshold(self, name: str, threshold: float | None) -> ProcedureRecord:
        """Set the least probability at which the procedure may answer; None leaves it to the router.

        Raises:
            NotFoundError: there is none of that name.
            UsageError: not between 0 and 1.
        """
        if threshold is not None and not 0.0 <= threshold <= 1.0:
            raise UsageError(f"{threshold} is not a probability.", next_step="Give a number from 0 to 1.")
        return self.change(name, f"changed the threshold of {name}", threshold=threshold)

    def set_schema(self, name: str, schema: str | None) -> ProcedureRecord:
        """Hold answers to a JSON schema, or to none.

        Raises:
            NotFoundError: there is none of that name.
            BadInputError: the schema cannot be used; the text says where.
        """
        return self.change(name, f"changed the schema of {name}", output_schema=_checked_schema(schema))

    def set_reads_conversation(self, name: str, reads: bool) -> ProcedureRecord:
        """Let a procedure see what was said before the message, or the message alone.

        Raises:
            NotFoundError: there is none of that name.
        """
        what = "the conversation" if reads else "the message alone"
        return self.change(name, f"let {name} read {what}", reads_conversation=reads)

    def to_train(self, backbone_fingerprint: str) -> list[str]:
        """Enabled procedures with train pairs that have no active memory, or one made from other pairs, by name."""
        rows = self._database.rows(
            """
            SELECT p.name FROM procedures p
            LEFT JOIN memories m
                ON m.procedure_id = p.id AND m.backbone_fingerprint = ? AND m.status = 'active'
            WHERE p.enabled = 1 AND (m.id IS NULL OR m.pairs_digest <> p.pairs_digest)
                AND EXISTS (SELECT 1 FROM pairs WHERE procedure_id = p.id AND part = 'train')
            ORDER BY p.name
            """,
            (backbone_fingerprint,),
        )
        return [str(row["name"]) for row in rows]

    def uuids(self) -> set[str]:
        """The UUIDs (32 hexadecimal digits) of all procedures, and of those that an undo could bring back."""
        with self._database.reading():
            present = {str(row["uuid"]) for row in self._database.rows("SELECT uuid FROM procedures")}
            return present | uuids_of_undos(self._database)

    def list(self) -> list[ProcedureRecord]:
        """All procedures, by name."""
        return [PROCEDURES.record(row) for row in self._database.rows(f"{_SELECT} ORDER BY p.name")]

    def change(self, current_name: str, text: str, **values: Any) -> ProcedureRecord:
        """Set fields of one procedure; a call that changes nothing leaves no trace.

        Args:
            current_name: of the procedure.
            text: what is done, as undo will name it: "renamed a to b".
            **values: by field of ``ProcedureRecord``, checked by the caller.

        Raises:
            NotFoundError: there is none of that name.
            ConflictError: a new name is taken.
        """
        with self._database.writing() as connection:
            row = self._procedure_row(current_name)
            columns = PROCEDURES.encode(values)
            if all(row[column] == value for column, value in columns.items()):
                return PROCEDURES.record(row)
            if "name" in columns:
                _refuse_taken(connection, values["name"])
            entry = UndoEntry(connection)
            entry.before("procedures", "id = ?", (row["id"],))
            PROCEDURES.update(connection, row["id"], version=row["version"] + 1, updated=now(), **values)
            entry.save(text)
            if VERSIONED_COLUMNS & columns.keys():
                note_version(connection, row["id"], "edit", text)
            bump_revision(connection)
        return self.get(values.get("name", current_name))

    def _procedure_row(self, name: str) -> Row:
        row = self._database.row(f"{_SELECT} WHERE p.name = ?", (name,))
        if row is None:
            raise no_procedure(self._database, name)
        return row


def remove_row(connection: sqlite3.Connection, entry: UndoEntry, key: int, name: str) -> None:
    """Delete a procedure with what hangs on it, inside the caller's transaction; ``entry`` can bring it back."""
    entry.before("procedures", "id = ?", (key,))
    entry.before("pairs", "procedure_id = ?", (key,))
    entry.before("memories", "procedure_id = ?", (key,))
    for table in ("memory_pairs", "memory_verdicts"):
        entry.before(table, "memory_id IN (SELECT id FROM memories WHERE procedure_id = ?)", (key,))
    entry.before("corrections", "right_procedure_id = ? OR wrong_procedure_id = ?", (key, key))
    # The name at the end is what the correction will show from now on.
    connection.execute("UPDATE corrections SET wrong_route = ? WHERE wrong_procedure_id = ?", (name, key))
    connection.execute("DELETE FROM procedures WHERE id = ?", (key,))


def _refuse_taken(connection: sqlite3.Connection, name: str) -> None:
    if connection.execute("SELECT 1 FROM procedures WHERE name = ?", (name,)).fetchone() is not None:
        raise ConflictError(
            f"There is a procedure {name!r} already.", next_step="Choose another name, or remove that one first."
        )


def _checked_schema(text: str | None) -> str | None:
    """A schema on one line, as it is stored."""
    return None if text is None else read_schema(text).text
