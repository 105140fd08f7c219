"""Banks coming into a profile: a quarantine to look at them in, and one step that takes all of a bank or nothing.

What a bank file says is checked elsewhere (``tokmem_desk.bank.reader``), and whether its memories work on this machine
too (the engine's probes). Until then its memories are files in a folder that nothing else looks into; ``Banks.add``
moves them among the memories and writes all rows in one transaction. A kill in between leaves files without rows,
which ``Garbage.collect`` and the next quarantine clear away.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import time
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from profiles.database.connection import Database
from profiles.files.atomic import storage_error
from profiles.files.paths import private_folder
from profiles.store.base import JsonObject, bump_revision, now, storable
from profiles.store.corrections import insert_correction
from profiles.store.garbage import GARBAGE_AGE_SECONDS
from profiles.store.memories import MEMORIES, SUFFIX, pair_rows
from profiles.store.pair_rules import text_fault
from profiles.store.pairs import insert_pairs, refuse_faults
from profiles.store.procedures import PROCEDURES, remove_row
from profiles.store.undo import UndoEntry
from profiles.store.version_notes import note_version
from tokmem_desk.errors import BadInputError, ConflictError, StorageError
from tokmem_desk.procedures import NONE_ROUTE, ExamplePair, check_name, pairs_digest
from tokmem_desk.system.disk import sync

QUARANTINE_FOLDER_NAME = "quarantine"
_SYNCING_THREADS = 8

Conflict = Literal["rename", "replace", "skip"]
CONFLICTS: tuple[Conflict, ...] = ("rename", "replace", "skip")
"""What to do with a procedure whose name is taken."""


@dataclass(frozen=True, slots=True)
class Placement:
    """What becomes of one procedure of a bank."""

    name: str
    """In the bank."""
    new_name: str
    """In the profile; empty when it is left out."""
    action: Literal["add", "rename", "replace", "skip"]


@dataclass(frozen=True, slots=True)
class IncomingMemory:
    """A memory in quarantine; fields as in ``MemoryRecord``."""

    file: str
    backbone_fingerprint: str
    pair_count: int
    pairs_digest: str
    settings: JsonObject
    scorecard: JsonObject
    learned: tuple[int, ...] | None = None
    """Places of those train pairs of its procedure that it learned; None where the bank does not say."""


@dataclass(frozen=True, slots=True)
class IncomingProcedure:
    """A procedure of a bank as it will stand in the profile."""

    uuid: str
    name: str
    description: str = ""
    pattern: str | None = None
    threshold: float | None = None
    replaces: bool = False
    """The procedure of that name goes (undo brings it back)."""
    pairs: tuple[ExamplePair, ...] = ()
    held_out: tuple[ExamplePair, ...] = ()
    memory: IncomingMemory | None = None
    """None: only its pairs come, to be trained here."""
    output_schema: str | None = None
    reads_conversation: bool = False
    group: str = ""
    steps: str | None = None
    """Of a plan, which comes switched off; empty where its answers are its steps; None: no plan."""
    step_uuids: Mapping[str, str] = field(default_factory=dict)
    """Of the procedures that the steps name, as the bank has them."""
    then_uuid: str = ""
    """Of the procedure of the same import that goes on with its answers; empty: none does."""


@dataclass(frozen=True, slots=True)
class IncomingCorrection:
    """A verdict on a route; names as they will stand in the profile."""

    text: str
    wrong: str
    right: str


@dataclass(frozen=True, slots=True)
class Incoming:
    """All that one import brings."""

    source: str
    """The file's name, for the person."""
    procedures: Sequence[IncomingProcedure]
    corrections: Sequence[IncomingCorrection] = field(default=())


def place_names(names: Sequence[str], taken: Collection[str], conflict: Conflict) -> list[Placement]:
    """Decide what becomes of each procedure of a bank.

    Args:
        names: of the bank's procedures.
        taken: names in the profile.
        conflict: what to do where they meet.
    """
    used = {*taken, *names}
    placements = []
    for name in names:
        if name not in taken:
            placements.append(Placement(name, name, "add"))
        elif conflict == "skip":
            placements.append(Placement(name, "", "skip"))
        elif conflict == "replace":
            placements.append(Placement(name, name, "replace"))
        else:
            number = 2
            while (free := f"{name[: 39 - len(str(number))]}-{number}") in used:
                number += 1
            used.add(free)
            placements.append(Placement(name, free, "rename"))
    return placements


class Banks:
    """Takes banks in: a quarantine for their memories, then everything or nothing.

    Args:
        database: the profile's.
        memories: their folder; quarantines lie beside it.
    """

    def __init__(self, database: Database, memories: Path) -> None:
        self._database = database
        self._memories = memories

    @property
    def quarantine_folder(self) -> Path:
        """Where incoming memories wait."""
        return self._memories.parent / QUARANTINE_FOLDER_NAME

    @contextlib.contextmanager
    def quarantine(self) -> Iterator[Path]:
        """A folder of its own for one import; what is left in it at the end goes, and so do forgotten ones.

        Write memories with ``Memories.write(data, folder)``.

        Raises:
            StorageError: the folder could not be made.
        """
        self._clear_quarantine()
        folder = private_folder(self.quarantine_folder / uuid.uuid4().hex)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            with contextlib.suppress(OSError):
                self.quarantine_folder.rmdir()  # only when no other import is in it

    def add(self, incoming: Incoming, folder: Path) -> list[str]:
        """Take everything in, in one step that can be undone, and return the new names; memories answer at once.

        Args:
            folder: the quarantine that holds the memories' files.

        Raises:
            ConflictError: a name was taken meanwhile.
            BadInputError: a pair or a correction cannot be kept; nothing was imported.
            StorageError: the disk refused; nothing was imported.
            BusyError: another process holds the profile; nothing was imported.
        """
        for one in incoming.procedures:
            check_name(one.name)
            refuse_faults(one.pairs)
            refuse_faults(one.held_out)
        for correction in incoming.corrections:
            if (fault := text_fault(correction.text)) is not None:
                raise BadInputError(f"A correction {fault}.")
        moved = self._move_in([one.memory.file for one in incoming.procedures if one.memory is not None], folder)
        try:
            with self._database.writing() as connection:
                return self._write(connection, incoming)
        except BaseException:
            for path in moved:
                path.unlink(missing_ok=True)
            raise

    def _write(self, connection: sqlite3.Connection, incoming: Incoming) -> list[str]:
        entry = UndoEntry(connection)
        known = {row["name"]: int(row["id"]) for row in connection.execute("SELECT id, name FROM procedures")}
        for one in incoming.procedures:
            key = known.pop(one.name, None)
            if key is not None and not one.replaces:
                raise ConflictError(
                    f"There is a procedure {one.name!r} by now.", next_step="Import again: nothing was changed."
                )
            if key is not None:
                remove_row(connection, entry, key, one.name)
        taken = {row["uuid"] for row in connection.execute("SELECT uuid FROM procedures")}
        uuids = {one.uuid: uuid.uuid4().hex if one.uuid in taken else one.uuid for one in incoming.procedures}
        ids: dict[str, int] = {}
        text = _text(incoming)
        # Undo takes memories first: it refuses to take back a procedure that was trained since.
        entry.added("memories", [one.memory.file.removesuffix(SUFFIX) for one in incoming.procedures if one.memory])
        for one in incoming.procedures:
            ids[one.name] = self._insert(connection, one, incoming.source, uuids)
        entry.added("procedures", ids.values())
        verdicts = [self._insert_correction(connection, correction, ids) for correction in incoming.corrections]
        entry.added("corrections", [verdict for verdict in verdicts if verdict is not None])
        entry.save(text)
        for key in ids.values():
            note_version(connection, key, "begin", text)
        bump_revision(connection)
        return list(ids)

    def _insert(
        self, connection: sqlite3.Connection, one: IncomingProcedure, source: str, uuids: Mapping[str, str]
    ) -> int:
        moment, digest = now(), pairs_digest(one.pairs)
        key = PROCEDURES.insert(
            connection,
            uuid=uuids[one.uuid],
            name=one.name,
            description=storable(one.description),
            pattern=one.pattern,
            source=storable(source),
            # What a plan does is somebody else's idea: it waits until the person has said yes to it.
            enabled=one.steps is None,
            threshold=one.threshold,
            version=1,
            pairs_digest=digest,
            created=moment,
            updated=moment,
            output_schema=one.output_schema,
            reads_conversation=one.reads_conversation,
            group=one.group,
            then_uuid=uuids.get(one.then_uuid, ""),
            steps=one.steps,
            step_uuids={name: uuids.get(called, called) for name, called in one.step_uuids.items()},
        )
        insert_pairs(connection, key, one.pairs, "train", source)
        insert_pairs(connection, key, one.held_out, "held_out", source)
        memory = one.memory
        if memory is None:
            return key
        memory_id = memory.file.removesuffix(SUFFIX)
        MEMORIES.insert(
            connection,
            id=memory_id,
            procedure_id=key,
            backbone_fingerprint=memory.backbone_fingerprint,
            file=memory.file,
            status="active",
            version=1,
            pair_count=memory.pair_count,
            # Without pairs nothing can have changed since training.
            pairs_digest=memory.pairs_digest if one.pairs else digest,
            settings=memory.settings,
            scorecard=memory.scorecard,
            created=moment,
        )
        known = None if memory.learned is None else frozenset(memory.learned)
        learned = None if known is None else [place in known for place in range(len(one.pairs))]
        connection.executemany(
            "INSERT INTO memory_pairs (memory_id, position, input, response, learned) VALUES (?, ?, ?, ?, ?)",
            pair_rows(memory_id, one.pairs, learned),
        )
        return key

    def _insert_correction(
        self, connection: sqlite3.Connection, correction: IncomingCorrection, ids: dict[str, int]
    ) -> int | None:
        # What the person of this profile has said about the same message stands.
        found = connection.execute(
            "SELECT 1 FROM corrections WHERE text = ? AND active = 1", (correction.text,)
        ).fetchone()
        if found is not None or (correction.right not in ids and correction.right != NONE_ROUTE):
            return None
        return insert_correction(
            connection, correction.text, correction.wrong, ids.get(correction.wrong), ids.get(correction.right)
        )

    def _move_in(self, files: Sequence[str], folder: Path) -> list[Path]:
        """Sync files in quarantine and put them among the memories, where without rows they count for nothing."""
        target = private_folder(self._memories)
        moved: list[Path] = []
        try:
            with ThreadPoolExecutor(_SYNCING_THREADS) as pool:
                list(pool.map(sync, [folder / file for file in files]))
            for file in files:
                os.replace(folder / file, target / file)
                moved.append(target / file)
            sync(target)
        except OSError as caught:
            for path in moved:
                path.unlink(missing_ok=True)
            raise storage_error("The imported memories could not be kept", caught) from caught
        return moved

    def _clear_quarantine(self) -> None:
        """Remove what imports that were killed have left."""
        oldest = time.time() - GARBAGE_AGE_SECONDS
        with contextlib.suppress(OSError):
            for folder in self.quarantine_folder.iterdir():
                if folder.stat().st_mtime < oldest:
                    shutil.rmtree(folder, ignore_errors=True)


def quarantined(banks: Banks, name: str) -> Path:
    """The quarantine of that name.

    Raises:
        StorageError: there is none.
    """
    folder = banks.quarantine_folder / name
    if not name.isalnum() or not folder.is_dir():
        raise StorageError("The import's folder is gone.", next_step="Import again.")
    return folder


def _text(incoming: Incoming) -> str:
    count = len(incoming.procedures)
    return f"imported {count} procedure{'' if count == 1 else 's'} from {storable(incoming.source)[:80]}"
