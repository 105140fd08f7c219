"""Memories of a profile: which file of tensors belongs to which procedure and backbone, and made from which pairs.

The tensors themselves are written and read elsewhere; here they are files with a name. A memory begins as a
*candidate*; activating it archives the one before, which can be activated again.
"""

from __future__ import annotations

import contextlib
import sqlite3
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from profiles.database.connection import Database
from profiles.encryption.profile_files import ProfileFiles
from profiles.files.atomic import storage_error
from profiles.files.erasing import erase_file
from profiles.files.paths import private_folder
from profiles.store.base import JsonObject, Row, as_json, bump_revision, from_json, now, procedure_id_of
from profiles.store.scrubbing import Scrubber, owe_scrub
from profiles.store.table import COMPUTED, JSON_OBJECT, Table
from profiles.store.version_notes import note_version
from tokmem_desk.errors import ConflictError, NotFoundError, StorageError, UsageError
from tokmem_desk.procedures import ExamplePair, pairs_digest

SUFFIX = ".safetensors"

_SELECT = "SELECT m.*, p.name AS procedure FROM memories m JOIN procedures p ON p.id = m.procedure_id"


MemoryStatus = Literal["candidate", "active", "archived"]

IMPORTED_FROM = "imported_from"
"""The setting of a memory that names the bank it came with, until the person accepts it. One trained here has none."""


@dataclass(frozen=True, slots=True)
class MemoryRecord:
    """What one training left: a file of tensors and what it was made from."""

    id: str
    """32 hexadecimal digits, the stem of the file's name."""
    procedure_id: int
    procedure: Annotated[str, COMPUTED]
    """The procedure's name now."""
    backbone_fingerprint: str
    file: str
    """Name inside ``Memories.folder``."""
    status: MemoryStatus
    version: int
    """1 for the first memory of this procedure, whatever the backbone."""
    pair_count: int
    pairs_digest: str
    settings: Annotated[JsonObject, JSON_OBJECT]
    scorecard: Annotated[JsonObject, JSON_OBJECT]
    created: str

    @property
    def imported_from(self) -> str:
        """The bank it came with, while nobody has accepted it; empty for the person's own."""
        found = self.settings.get(IMPORTED_FROM, "")
        return found if isinstance(found, str) else ""


MEMORIES = Table("memories", MemoryRecord)


@dataclass(frozen=True, slots=True)
class HeldOutChoice:
    """Of the pairs that a memory was made from: those that it learned, and those that were kept from it to measure it.

    A pair that is in neither came later. It was not learned, but was not held out either.
    """

    learned: tuple[ExamplePair, ...]
    held_out: tuple[ExamplePair, ...]


@dataclass(frozen=True, slots=True)
class PairsChanged:
    """How the train pairs differ from those the active memory was trained on; an edited pair counts in both."""

    added: int
    removed: int

    @property
    def total(self) -> int:
        """Pairs a person would call changed: an edit counts once."""
        return max(self.added, self.removed)

    def __bool__(self) -> bool:
        return self.total > 0


class Memories:
    """Keeps which memory belongs to which procedure and backbone, and the memories' files.

    Args:
        database: the profile's.
        files: reads and writes files of the profile, encrypted where it is locked.
        folder: of the memories' files; made when the first is written.
        scrubber: takes deleted bytes out of the database's files.
    """

    def __init__(self, database: Database, files: ProfileFiles, folder: Path, scrubber: Scrubber) -> None:
        self.folder = folder
        self._database = database
        self._files = files
        self._scrubber = scrubber

    def new_file(self) -> Path:
        """A path in ``folder`` that nothing uses yet; write it whole, then call ``add``."""
        return private_folder(self.folder) / f"{uuid.uuid4().hex}{SUFFIX}"

    def write(self, data: bytes, folder: Path | None = None) -> str:
        """Keep the bytes of a memory under a new name, whole or not at all; ``add`` registers that name.

        Args:
            folder: a quarantine of this profile instead of its memories, see ``profiles.store.banks``.

        Raises:
            StorageError: the disk refused.
        """
        if folder is None:
            path = self.new_file()
            self._files.write(path, data)
            return path.name
        path = folder / f"{uuid.uuid4().hex}{SUFFIX}"
        self._files.write_loose(path, data)
        return path.name

    def read(self, file: str, folder: Path | None = None) -> bytes:
        """The bytes that ``write`` kept under that name, in that folder.

        Raises:
            StorageError: the file is gone or cannot be read.
        """
        return read_memory_file(self._files, (folder or self.folder) / file)

    def add(
        self,
        procedure_id: int,
        backbone_fingerprint: str,
        file: str,
        pairs: Sequence[ExamplePair],
        settings: JsonObject,
        scorecard: JsonObject,
        *,
        job_id: int | None = None,
        learned: Sequence[bool] | None = None,
    ) -> MemoryRecord:
        """Register a trained memory as a candidate.

        Args:
            procedure_id: the procedure it was trained for.
            backbone_fingerprint: the backbone it was trained on.
            file: a name inside ``folder``, as made by ``new_file``; the file must be there.
            pairs: the train pairs it was made from, those among them that were held out to measure it.
            settings: how it was trained; kept as it is.
            scorecard: what was measured; kept as it is.
            job_id: the job it came from, which waits for a decision from now on.
            learned: for each of ``pairs`` whether it was learned; None where that is not known.

        Raises:
            NotFoundError: the procedure was removed meanwhile.
            ConflictError: the file is registered already.
            UsageError: ``file`` is not a plain name ending in ``.safetensors``.
            StorageError: the file is not in the folder.
        """
        if Path(file).name != file or not file.endswith(SUFFIX) or file == SUFFIX:
            raise UsageError(f"{file!r} cannot name a memory file.", next_step="Use a name from new_file().")
        if not (self.folder / file).is_file():
            raise StorageError(f"The memory file {self.folder / file} is missing.", next_step="Train again.")
        key = file.removesuffix(SUFFIX)
        with self._database.writing() as connection:
            if connection.execute("SELECT 1 FROM procedures WHERE id = ?", (procedure_id,)).fetchone() is None:
                raise NotFoundError("The procedure was removed while its memory was being trained.")
            if connection.execute("SELECT 1 FROM memories WHERE id = ?", (key,)).fetchone() is not None:
                raise ConflictError(f"There is a memory {key} already.", next_step="Use a new file for each memory.")
            newest = connection.execute(
                "SELECT coalesce(max(version), 0) AS version FROM memories WHERE procedure_id = ?", (procedure_id,)
            ).fetchone()
            MEMORIES.insert(
                connection,
                id=key,
                procedure_id=procedure_id,
                backbone_fingerprint=backbone_fingerprint,
                file=file,
                status="candidate",
                version=1 + newest["version"],
                pair_count=len(pairs),
                pairs_digest=pairs_digest(pairs),
                settings=settings,
                scorecard=scorecard,
                created=now(),
            )
            connection.executemany(
                "INSERT INTO memory_pairs (memory_id, position, input, response, learned) VALUES (?, ?, ?, ?, ?)",
                pair_rows(key, pairs, learned),
            )
            if job_id is not None:  # in one transaction: no kill can part a result from its job
                note_result(connection, job_id, key)
            return MEMORIES.record(self._memory_row(key))

    def activate(self, memory_id: str) -> MemoryRecord:
        """Let a memory answer for its procedure on its backbone; the one that did so far is archived.

        Raises:
            NotFoundError: there is no such memory.
        """
        with self._database.writing() as connection:
            activate_row(connection, self._memory_row(memory_id))
            return MEMORIES.record(self._memory_row(memory_id))

    def discard(self, memory_id: str) -> None:
        """Delete a candidate or an archived memory with its file, for good.

        Raises:
            NotFoundError: there is no such memory.
            UsageError: it is the active one.
        """
        with self._database.writing() as connection:
            row = self._memory_row(memory_id)
            if row["status"] == "active":
                raise UsageError(
                    f"This memory is the one that answers for {row['procedure']!r}.",
                    next_step="Activate another one first, or disable the procedure.",
                )
            connection.execute("DELETE FROM memories WHERE id = ?", (memory_id,))
            owe_scrub(connection, promised=True)
        drop_file(self.folder / row["file"])
        self._scrubber.run()

    def get(self, memory_id: str) -> MemoryRecord:
        """One memory.

        Raises:
            NotFoundError: there is no such memory.
        """
        return MEMORIES.record(self._memory_row(memory_id))

    def active(self, name: str, backbone_fingerprint: str) -> MemoryRecord | None:
        """The memory that answers for a procedure on a backbone, or None.

        Raises:
            NotFoundError: no procedure of that name.
        """
        row = self._database.row(
            f"{_SELECT} WHERE m.procedure_id = ? AND m.backbone_fingerprint = ? AND m.status = 'active'",
            (procedure_id_of(self._database, name), backbone_fingerprint),
        )
        return None if row is None else MEMORIES.record(row)

    def all_active(self, backbone_fingerprint: str, *, enabled_only: bool = True) -> list[MemoryRecord]:
        """The bank of this profile on one backbone, by the procedures' names, in one query."""
        enabled = "AND p.enabled = 1" if enabled_only else ""
        rows = self._database.rows(
            f"{_SELECT} WHERE m.backbone_fingerprint = ? AND m.status = 'active' {enabled} ORDER BY p.name",
            (backbone_fingerprint,),
        )
        return [MEMORIES.record(row) for row in rows]

    def accept(self, name: str) -> int:
        """Take what came in with a bank as the person's own; returns how many memories of the procedure that were.

        Raises:
            NotFoundError: no procedure of that name.
        """
        key = procedure_id_of(self._database, name)
        with self._database.writing() as connection:
            guests = [
                (row["id"], from_json(row["settings"]) or {})
                for row in connection.execute("SELECT id, settings FROM memories WHERE procedure_id = ?", (key,))
            ]
            guests = [(one, settings) for one, settings in guests if settings.get(IMPORTED_FROM)]
            connection.executemany(
                "UPDATE memories SET settings = ? WHERE id = ?",
                [(as_json({k: v for k, v in s.items() if k != IMPORTED_FROM}), one) for one, s in guests],
            )
            if guests:
                bump_revision(connection)
        return len(guests)

    def pairs(self, memory_id: str) -> tuple[ExamplePair, ...]:
        """The train pairs a memory was made from, without further right answers.

        Raises:
            NotFoundError: there is no such memory.
        """
        self._memory_row(memory_id)
        rows = self._database.rows(
            "SELECT input, response FROM memory_pairs WHERE memory_id = ? ORDER BY position", (memory_id,)
        )
        return tuple(ExamplePair(row["input"], row["response"]) for row in rows)

    def held_out_choice(self, memory_id: str) -> HeldOutChoice | None:
        """What a memory learned and what was held out to measure it; None for one that is too old to know.

        Raises:
            NotFoundError: there is no such memory.
        """
        self._memory_row(memory_id)
        rows = self._database.rows(
            "SELECT input, response, learned FROM memory_pairs WHERE memory_id = ? ORDER BY position", (memory_id,)
        )
        if not rows or any(row["learned"] is None for row in rows):
            return None
        parts: tuple[list[ExamplePair], list[ExamplePair]] = ([], [])
        for row in rows:
            parts[row["learned"] == 0].append(ExamplePair(row["input"], row["response"]))
        return HeldOutChoice(tuple(parts[0]), tuple(parts[1]))

    def pairs_changed(self, name: str, backbone_fingerprint: str) -> PairsChanged | None:
        """How the train pairs differ from those of the active memory; None when there is no active memory.

        Raises:
            NotFoundError: no procedure of that name.
        """
        with self._database.reading():
            memory = self.active(name, backbone_fingerprint)
            if memory is None:
                return None
            pairs_now = self._counted(
                "SELECT input, response FROM pairs WHERE part = 'train' AND procedure_id = ?", memory.procedure_id
            )
            pairs_then = self._counted("SELECT input, response FROM memory_pairs WHERE memory_id = ?", memory.id)
        return PairsChanged(added=(pairs_now - pairs_then).total(), removed=(pairs_then - pairs_now).total())

    def list(self, name: str) -> list[MemoryRecord]:
        """All memories of a procedure, on any backbone, newest first.

        Raises:
            NotFoundError: no procedure of that name.
        """
        key = procedure_id_of(self._database, name)
        rows = self._database.rows(f"{_SELECT} WHERE m.procedure_id = ? ORDER BY m.version DESC", (key,))
        return [MEMORIES.record(row) for row in rows]

    def _counted(self, sql: str, key: int | str) -> Counter[tuple[str, str]]:
        return Counter((str(row["input"]), str(row["response"])) for row in self._database.rows(sql, (key,)))

    def _memory_row(self, memory_id: str) -> sqlite3.Row:
        row = self._database.row(f"{_SELECT} WHERE m.id = ?", (memory_id,))
        if row is None:
            raise NotFoundError(f"There is no memory {memory_id!r} any more.", next_step="Look at the list again.")
        return row


def files_of_memories(database: Database) -> set[str]:
    """The names of all memories' files."""
    return {str(row["file"]) for row in database.rows("SELECT file FROM memories")}


def pair_rows(
    memory_id: str, pairs: Sequence[ExamplePair], learned: Sequence[bool] | None
) -> list[tuple[str, int, str, str, int | None]]:
    """Rows of ``pairs``: key, place, input, response, whether it was learned (None: not known)."""
    known: Sequence[bool | None] = [None] * len(pairs) if learned is None else learned
    return [
        (memory_id, place, pair.input, pair.response, None if one is None else int(one))
        for place, (pair, one) in enumerate(zip(pairs, known, strict=True))
    ]


def activate_row(connection: sqlite3.Connection, row: Row) -> None:
    """Let the memory of that row answer, within a transaction; the one that did so far is archived."""
    if row["status"] == "active":
        return
    connection.execute(
        """
        UPDATE memories SET status = 'archived'
        WHERE procedure_id = ? AND backbone_fingerprint = ? AND status = 'active'
        """,
        (row["procedure_id"], row["backbone_fingerprint"]),
    )
    connection.execute("UPDATE memories SET status = 'active' WHERE id = ?", (row["id"],))
    note_version(connection, row["procedure_id"], "memory", f"memory v{row['version']} answers")
    bump_revision(connection)


def drop_file(file: Path) -> None:
    """Erase a memory's file after the commit that took its row: a crash in between leaves a file without a row, never
    a row without its file.
    """
    with contextlib.suppress(OSError):
        erase_file(file)


def note_result(connection: sqlite3.Connection, job_id: int, memory_id: str) -> None:
    """Let a running job wait for the decision about the memory that it made, within a transaction."""
    connection.execute(
        """
        UPDATE jobs SET state = 'undecided', memory_id = ?, error = NULL, updated = ?
        WHERE id = ? AND state = 'running'
        """,
        (memory_id, now(), job_id),
    )


def read_memory_file(files: ProfileFiles, path: Path) -> bytes:
    """The bytes of a memory, by whoever has the profile's ``files``; the store need not be open any more.

    Raises:
        StorageError: the file is gone, cannot be read, or was changed in a locked profile.
    """
    try:
        return files.read(path)
    except OSError as caught:
        raise storage_error(f"The memory file {path} could not be read", caught) from caught
