"""Example pairs of a profile's procedures: list, add, edit, delete, replace. Every change can be undone."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, overload

from profiles.database.connection import Database
from profiles.store.base import Row, bump_revision, now, procedure_id_of, storable
from profiles.store.pair_rules import pair_fault
from profiles.store.table import Stored, Table
from profiles.store.undo import UndoEntry
from profiles.store.version_notes import VersionKind, note_version
from tokmem_desk.errors import BadInputError, NotFoundError
from tokmem_desk.procedures import ExamplePair, texts_digest

Part = Literal["train", "held_out"]


def _texts(column: str) -> tuple[str, ...]:
    return () if column == "[]" else tuple(json.loads(column))  # most pairs have no further answers


@dataclass(frozen=True, slots=True)
class PairRecord:
    """One example pair of a procedure."""

    id: int
    procedure_id: int
    input: str
    response: str
    references: Annotated[tuple[str, ...], Stored("other_answers", encode=json.dumps, decode=_texts)]
    part: Part
    source: str
    created: str

    @property
    def pair(self) -> ExamplePair:
        """The pair alone, as training takes it."""
        return ExamplePair(self.input, self.response, self.references)


PAIRS = Table("pairs", PairRecord)


class PairList(Sequence[PairRecord]):
    """Pairs that become records when they are looked at: of many, a table shows only some at a time."""

    def __init__(self, rows: Sequence[Row] = ()) -> None:
        self._rows = rows
        self._places = {row["id"]: place for place, row in enumerate(rows)}

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, place: int) -> PairRecord: ...

    @overload
    def __getitem__(self, place: slice) -> PairList: ...

    def __getitem__(self, place: int | slice) -> PairRecord | PairList:
        return PairList(self._rows[place]) if isinstance(place, slice) else PAIRS.record(self._rows[place])

    def place(self, pair_id: int) -> int | None:
        """Where a pair stands, from 0."""
        return self._places.get(pair_id)

    def find(self, pair_id: int) -> PairRecord | None:
        """The pair of that id."""
        place = self.place(pair_id)
        return None if place is None else self[place]

    def matching(self, text: str) -> list[int]:
        """The places of pairs with ``text``, in lower case, in input or response."""
        return [
            place
            for place, row in enumerate(self._rows)
            if text in row["input"].lower() or text in row["response"].lower()
        ]


class Pairs:
    """Lists and changes the example pairs of procedures. Every change can be undone.

    Args:
        database: the profile's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def table(self, name: str) -> PairList:
        """All pairs of a procedure as a table shows them: train pairs first, then held-out ones.

        Raises:
            NotFoundError: no procedure of that name.
        """
        rows = self._database.rows(
            "SELECT * FROM pairs WHERE procedure_id = ? ORDER BY part = 'held_out', id",
            (procedure_id_of(self._database, name),),
        )
        return PairList(rows)

    def characters(self, name: str) -> int:
        """Characters of all its train pairs, inputs and responses together.

        Raises:
            NotFoundError: no procedure of that name.
        """
        row = self._database.row(
            "SELECT sum(length(input) + length(response)) AS total FROM pairs "
            "WHERE procedure_id = ? AND part = 'train'",
            (procedure_id_of(self._database, name),),
        )
        return 0 if row is None else int(row["total"] or 0)

    def first(self, name: str) -> PairRecord | None:
        """The train pair that was added first; None where there is none.

        Raises:
            NotFoundError: no procedure of that name.
        """
        row = self._database.row(
            "SELECT * FROM pairs WHERE procedure_id = ? AND part = 'train' ORDER BY id LIMIT 1",
            (procedure_id_of(self._database, name),),
        )
        return None if row is None else PAIRS.record(row)

    def add(
        self,
        name: str,
        pairs: Sequence[ExamplePair],
        part: Part = "train",
        source: str = "",
        message_id: int | None = None,
    ) -> list[PairRecord]:
        """Append pairs, all or none, and return their records.

        Args:
            name: of the procedure.
            pairs: to append.
            part: what they are for.
            source: where they come from, for people.
            message_id: the answer that they were made of.

        Raises:
            NotFoundError: no procedure of that name.
            BadInputError: a pair has an empty or unusable text.
        """
        refuse_faults(pairs)
        with self._database.writing() as connection:
            key = procedure_id_of(self._database, name)
            if not pairs:
                return []
            entry = UndoEntry(connection)
            entry.before("procedures", "id = ?", (key,))
            ids = insert_pairs(connection, key, pairs, part, source)
            if message_id is not None:
                connection.executemany("UPDATE pairs SET message_id = ? WHERE id = ?", [(message_id, i) for i in ids])
            entry.added("pairs", ids)
            text = f"added {_count(len(ids))} to {name}"
            entry.save(text)
            _touch(connection, key, "edit" if len(ids) == 1 else "many", text)
            rows = connection.execute(
                "SELECT * FROM pairs WHERE procedure_id = ? AND id BETWEEN ? AND ? ORDER BY id", (key, ids[0], ids[-1])
            ).fetchall()
        return [PAIRS.record(row) for row in rows]

    def update(
        self,
        pair_id: int,
        *,
        input: str | None = None,
        response: str | None = None,
        references: Sequence[str] | None = None,
        part: Part | None = None,
    ) -> PairRecord:
        """Change what is given and leave the rest.

        Raises:
            NotFoundError: the pair is gone.
            BadInputError: a text is empty or unusable.
        """
        with self._database.writing() as connection:
            old = PAIRS.record(self._pair_row(pair_id))
            pair = ExamplePair(
                old.input if input is None else input,
                old.response if response is None else response,
                old.references if references is None else tuple(references),
            )
            refuse_faults([pair])
            new_part = part or old.part
            if pair == old.pair and new_part == old.part:
                return old
            entry = UndoEntry(connection)
            entry.before("procedures", "id = ?", (old.procedure_id,))
            entry.before("pairs", "id = ?", (pair_id,))
            PAIRS.update(
                connection,
                pair_id,
                input=pair.input,
                response=pair.response,
                references=pair.references,
                part=new_part,
            )
            text = f"changed a pair of {_name(connection, old.procedure_id)}"
            entry.save(text)
            _touch(connection, old.procedure_id, "edit", text)
            return PAIRS.record(self._pair_row(pair_id))

    def delete(self, pair_id: int) -> None:
        """Delete one pair.

        Raises:
            NotFoundError: the pair is gone already.
        """
        with self._database.writing() as connection:
            key = int(self._pair_row(pair_id)["procedure_id"])
            entry = UndoEntry(connection)
            entry.before("procedures", "id = ?", (key,))
            entry.before("pairs", "id = ?", (pair_id,))
            connection.execute("DELETE FROM pairs WHERE id = ?", (pair_id,))
            text = f"deleted a pair of {_name(connection, key)}"
            entry.save(text)
            _touch(connection, key, "edit", text)

    def add_parts(
        self, name: str, parts: Mapping[Part, Sequence[ExamplePair]], source: str = "", *, replace: bool = False
    ) -> None:
        """Append pairs to several parts, in one step that one undo takes back.

        Args:
            name: of the procedure.
            parts: what to append to each; a part that is not in it stays.
            source: where they come from, for people.
            replace: put them in the place of all pairs of those parts.

        Raises:
            NotFoundError: no procedure of that name.
            BadInputError: a pair has an empty or unusable text; nothing was changed.
        """
        for pairs in parts.values():
            refuse_faults(pairs)
        with self._database.writing() as connection:
            key = procedure_id_of(self._database, name)
            entry = UndoEntry(connection)
            entry.before("procedures", "id = ?", (key,))
            if replace:
                for part in parts:
                    entry.before("pairs", "procedure_id = ? AND part = ?", (key, part))
                    connection.execute("DELETE FROM pairs WHERE procedure_id = ? AND part = ?", (key, part))
            ids = [one for part, pairs in parts.items() for one in insert_pairs(connection, key, pairs, part, source)]
            entry.added("pairs", ids)
            which = "pairs" if "train" in parts else "held-out pairs"
            text = f"replaced the {which} of {name}" if replace else f"added {_count(len(ids))} to {name}"
            entry.save(text)
            _touch(connection, key, "many", text)

    def list(self, name: str, part: Part = "train") -> list[PairRecord]:
        """The pairs of one part in the order in which they were added.

        Raises:
            NotFoundError: no procedure of that name.
        """
        rows = self._database.rows(
            "SELECT * FROM pairs WHERE procedure_id = ? AND part = ? ORDER BY id",
            (procedure_id_of(self._database, name), part),
        )
        return [PAIRS.record(row) for row in rows]

    def _pair_row(self, pair_id: int) -> Row:
        row = self._database.row("SELECT * FROM pairs WHERE id = ?", (pair_id,))
        if row is None:
            raise NotFoundError(f"There is no pair number {pair_id} any more.", next_step="Look at the list again.")
        return row


def refuse_faults(pairs: Sequence[ExamplePair]) -> None:
    """Let only usable pairs pass.

    Raises:
        BadInputError: names the first bad pair by its place, from 1.
    """
    for place, pair in enumerate(pairs, start=1):
        fault = pair_fault(pair)
        if fault is not None:
            raise BadInputError(f"Pair {place} cannot be used: {fault}.", next_step="Correct it and try again.")


def insert_pairs(
    connection: sqlite3.Connection, procedure_id: int, pairs: Sequence[ExamplePair], part: Part, source: str
) -> list[int]:
    """Insert pairs inside the caller's transaction and return their ids, ascending."""
    moment, origin = now(), storable(source)
    return [
        PAIRS.insert(
            connection,
            procedure_id=procedure_id,
            part=part,
            input=pair.input,
            response=pair.response,
            references=pair.references,
            source=origin,
            created=moment,
        )
        for pair in pairs
    ]


def pair_of(row: Row) -> ExamplePair:
    """The pair in a row of the table."""
    return ExamplePair(row["input"], row["response"], _texts(row["other_answers"]))


def _touch(connection: sqlite3.Connection, procedure_id: int, kind: VersionKind, text: str) -> None:
    rows = connection.execute(
        "SELECT input, response FROM pairs WHERE procedure_id = ? AND part = 'train'", (procedure_id,)
    )
    digest = texts_digest((row["input"], row["response"]) for row in rows)
    connection.execute(
        "UPDATE procedures SET pairs_digest = ?, version = version + 1, updated = ? WHERE id = ?",
        (digest, now(), procedure_id),
    )
    note_version(connection, procedure_id, kind, text)
    bump_revision(connection)


def _name(connection: sqlite3.Connection, procedure_id: int) -> str:
    return str(connection.execute("SELECT name FROM procedures WHERE id = ?", (procedure_id,)).fetchone()["name"])


def _count(pairs: int) -> str:
    return "1 pair" if pairs == 1 else f"{pairs} pairs"
