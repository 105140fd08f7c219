"""The queue of trainings on disk, so that closing the app, locking the profile or a crash loses track of none.

One job is the training of one procedure. Its states and the ways between them are written here and nowhere else::

    queued ──► running ──► undecided ──► done          undecided: a new memory waits for Activate or Keep old
      ▲ ▲        │ │ └───► failed ─────► queued         (asked for again)
      │ └────────┘ └─────► paused ─────► queued         (resumed)
      └ broken off once    any but done ► cancelled
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from profiles.database.connection import Database
from profiles.files.process_locks import SUFFIX, process_lock
from profiles.store.base import JsonObject, Row, as_json, now, procedure_id_of
from profiles.store.memories import activate_row, drop_file
from profiles.store.scrubbing import owe_scrub
from profiles.store.table import COMPUTED, JSON, JSON_OBJECT, Table
from profiles.store.undo import UndoEntry
from tokmem_desk.errors import BusyError, NotFoundError, UsageError

_NEXT: dict[JobState, frozenset[JobState]] = {
    "queued": frozenset({"running", "paused", "cancelled"}),
    "running": frozenset({"queued", "paused", "undecided", "failed", "cancelled"}),
    "paused": frozenset({"queued", "cancelled"}),
    "undecided": frozenset({"done", "cancelled"}),
    "failed": frozenset({"queued", "cancelled"}),
    "done": frozenset(),
    "cancelled": frozenset(),
}
_RESUMABLE = ("paused", "failed")
"""States of a job that can be queued again by a person."""

_WAITING = ("queued", "paused")
"""States of a job that can be moved."""

MAX_BREAKS = 2
"""A job in the middle of which the program died this often is not begun again by itself."""

IMPROVE = "improve"
"""The key of a request that asks for an improvement from verdicts, not for a training."""

_SELECT = "SELECT j.*, p.name AS procedure FROM jobs j JOIN procedures p ON p.id = j.procedure_id"


JobState = Literal["queued", "running", "paused", "undecided", "done", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class JobRecord:
    """The training of one procedure as it stands on disk."""

    id: int
    procedure_id: int
    procedure: Annotated[str, COMPUTED]
    """The procedure's name now."""
    state: JobState
    position: int
    """Its place in the queue; smaller is earlier."""
    breaks: int
    """How often the program that worked on it died since somebody last asked for it."""
    request: Annotated[JsonObject, JSON_OBJECT]
    """How to train; all that is needed to start it again."""
    progress: Annotated[JsonObject | None, JSON]
    error: Annotated[JsonObject | None, JSON]
    memory_id: str | None
    """What came out: a candidate while it is undecided."""
    created: str
    updated: str


JOBS = Table("jobs", JobRecord)


class Jobs:
    """Keeps the queue of trainings.

    Args:
        database: the profile's.
        memories: their folder; the locks of the queue lie beside it.
    """

    def __init__(self, database: Database, memories: Path) -> None:
        self._database = database
        self._memories = memories

    # Ask for a training

    def queue(self, names: Sequence[str], request: JsonObject) -> list[JobRecord]:
        """Put trainings at the end of the queue, in this order.

        One that waits there already keeps its place and takes the new request; one that failed is begun again.

        Args:
            names: of the procedures.
            request: how to train; all that is needed to start each again.

        Raises:
            NotFoundError: no procedure of one of the names; nothing is queued then.
        """
        found: list[int] = []
        with self._database.writing() as connection:
            for name in names:
                key = procedure_id_of(self._database, name)
                waiting = connection.execute(
                    "SELECT * FROM jobs WHERE procedure_id = ? AND state IN ('queued', 'paused', 'failed')", (key,)
                ).fetchone()
                if waiting is not None:
                    place = self._last_place() + 1 if waiting["state"] == "failed" else waiting["position"]
                    connection.execute(
                        """
                        UPDATE jobs SET state = 'queued', position = ?, breaks = 0, error = NULL, updated = ?,
                            progress = CASE WHEN request = ? THEN progress END, request = ? WHERE id = ?
                        """,
                        (place, now(), as_json(request), as_json(request), waiting["id"]),
                    )
                    found.append(int(waiting["id"]))
                    continue
                cursor = connection.execute(
                    """
                    INSERT INTO jobs (procedure_id, state, position, request, created, updated)
                    VALUES (?, 'queued', ?, ?, ?, ?)
                    """,
                    (key, self._last_place() + 1, as_json(request), now(), now()),
                )
                found.append(int(cursor.lastrowid or 0))
            return [JOBS.record(self._job_row(key)) for key in found]

    # Run the queue

    @contextlib.contextmanager
    def working_off(self, *, seconds: float = 0.5) -> Iterator[None]:
        """Hold the lock of this profile's queue, so that one process at a time trains from it.

        The end of the process frees the lock, however it ends. A job that is still marked as running then was
        interrupted by that: it is queued again, or marked as failed after ``MAX_BREAKS`` times.

        Args:
            seconds: how long to wait for another one.

        Raises:
            BusyError: another one works on it.
        """
        with process_lock(self._lock_file("queue"), _busy(), seconds=seconds):
            for record in self.list("running"):
                self.note_break(record.id, {"message": "The program ended in the middle of this training, twice."})
            yield

    def next(self) -> JobRecord | None:
        """Take the first job that is queued; it is running from now on. None when there is none."""
        with self._database.writing() as connection:
            row = self._database.row(f"{_SELECT} WHERE j.state = 'queued' ORDER BY j.position LIMIT 1")
            return None if row is None else self._set(connection, int(row["id"]), "running")

    def note_break(self, job_id: int, error: JsonObject) -> JobRecord:
        """Note that a running job was interrupted and nobody asked for it: queue it again, or mark it as failed.

        A job that is not running any more, as when it was cancelled meanwhile, stays as it is.

        Args:
            job_id: the job.
            error: what to keep where it has failed; ``TokmemError.as_dict``, of which ``message`` is enough.
        """
        with self._database.writing() as connection:
            job = JOBS.record(self._job_row(job_id))
            if job.state != "running":
                return job  # cancelled meanwhile, or its result is there
            connection.execute("UPDATE jobs SET breaks = ? WHERE id = ?", (job.breaks + 1, job_id))
            if job.breaks + 1 < MAX_BREAKS:
                return self._set(connection, job_id, "queued")
            return self._set(connection, job_id, "failed", error=error)

    @contextlib.contextmanager
    def training(self, *, seconds: float = 1.0) -> Iterator[None]:
        """Hold the lock of training, so that one engine at a time trains in this profile.

        Beside the lock of the queue, because an engine whose client was killed may still be at its last step.

        Args:
            seconds: how long to wait for another one.

        Raises:
            BusyError: another one is training in it.
        """
        with process_lock(self._lock_file("training"), _busy(), seconds=seconds):
            yield

    # A job's state

    def update(
        self,
        job_id: int,
        state: JobState | None = None,
        *,
        progress: JsonObject | None = None,
        error: JsonObject | None = None,
    ) -> JobRecord:
        """Change what is given and leave the rest. A job that goes on again loses its old error.

        Raises:
            NotFoundError: there is no such job.
            UsageError: a job in its present state cannot get to ``state``, as when it was cancelled meanwhile.
        """
        with self._database.writing() as connection:
            return self._set(connection, job_id, state, progress=progress, error=error)

    def _set(
        self,
        connection: sqlite3.Connection,
        job_id: int,
        state: JobState | None = None,
        *,
        progress: JsonObject | None = None,
        error: JsonObject | None = None,
    ) -> JobRecord:
        """``update`` within a transaction: what was read before it still holds."""
        row = self._job_row(job_id)
        before: JobState = row["state"]
        state = state or before
        if state != before and state not in _NEXT[before]:
            raise UsageError(f"Job {job_id} is {before} and cannot become {state}.")
        old_error = row["error"] if state == before else None
        connection.execute(
            """
            UPDATE jobs SET state = ?, progress = coalesce(?, progress), error = coalesce(?, ?), updated = ?
            WHERE id = ?
            """,
            (state, as_json(progress), as_json(error), old_error, now(), job_id),
        )
        return JOBS.record(self._job_row(job_id))

    def end(
        self,
        job_id: int,
        state: JobState,
        *,
        progress: JsonObject | None = None,
        error: JsonObject | None = None,
    ) -> JobRecord:
        """Set the state of a running job that has ended.

        A job that is not running any more keeps its state: its result may have been stored before something went
        wrong, or somebody may have cancelled it. Only its progress is noted then.

        Returns:
            The job with the state that it has now.

        Raises:
            NotFoundError: there is no such job.
        """
        with self._database.writing() as connection:
            if self._job_row(job_id)["state"] != "running":
                return self._set(connection, job_id, progress=progress)
            return self._set(connection, job_id, state, progress=progress, error=error)

    def resume(self, job_id: int) -> JobRecord:
        """Queue a paused or failed job again, with all its chances.

        Raises:
            NotFoundError: there is no such job.
            UsageError: it is neither.
        """
        with self._database.writing() as connection:
            state = self._job_row(job_id)["state"]
            if state == "queued":  # somebody else resumed it
                return JOBS.record(self._job_row(job_id))
            if state not in _RESUMABLE:
                raise UsageError(f"Job {job_id} is {state}: there is nothing to resume.")
            connection.execute("UPDATE jobs SET breaks = 0 WHERE id = ?", (job_id,))
            return self._set(connection, job_id, "queued")

    def move(self, job_id: int, by: int) -> bool:
        """Let a waiting job change places with the waiting one before it (-1) or after it (1).

        Returns:
            False when there is none, or the job does not wait.
        """
        with self._database.writing() as connection:
            row = self._job_row(job_id)
            sign, order = ("<", "DESC") if by < 0 else (">", "ASC")
            other = connection.execute(
                f"""
                SELECT j.id, j.position FROM jobs j JOIN procedures p ON p.id = j.procedure_id
                WHERE j.state IN ('queued', 'paused') AND j.position {sign} ? ORDER BY j.position {order} LIMIT 1
                """,
                (row["position"],),
            ).fetchone()
            if other is None or row["state"] not in _WAITING:
                return False
            for place, key in ((other["position"], job_id), (row["position"], other["id"])):
                connection.execute("UPDATE jobs SET position = ? WHERE id = ?", (place, key))
            return True

    def decide(self, job_id: int, *, activate: bool) -> JobRecord:
        """Let the new memory of a job answer, or drop it; earlier undecided ones of the procedure are dropped too.

        Raises:
            NotFoundError: there is no such job.
            UsageError: it is not undecided.
        """
        dropped: list[Row] = []
        with self._database.writing() as connection:
            job = self._job_row(job_id)
            if job["state"] != "undecided":
                raise UsageError(f"Job {job_id} is {job['state']}: there is nothing to decide.")
            rows = connection.execute(
                """
                SELECT m.*, j.id AS job FROM jobs j JOIN memories m ON m.id = j.memory_id
                WHERE j.procedure_id = ? AND j.state = 'undecided' AND j.id <= ?
                """,
                (job["procedure_id"], job_id),
            ).fetchall()
            for row in rows:
                if activate and row["job"] == job_id:
                    improved = job["request"] and json.loads(job["request"]).get(IMPROVE)
                    entry = _before_improving(connection, job) if improved else None
                    activate_row(connection, row)
                    if entry is not None:
                        entry.save(f"improved {job['procedure']} from verdicts")
                elif row["status"] == "candidate":
                    connection.execute("DELETE FROM memories WHERE id = ?", (row["id"],))
                    dropped.append(row)
                    owe_scrub(connection)
            connection.execute(
                """
                UPDATE jobs SET state = 'done', progress = NULL, updated = ?
                WHERE procedure_id = ? AND state = 'undecided' AND id <= ?
                """,
                (now(), job["procedure_id"], job_id),
            )
            decided = JOBS.record(self._job_row(job_id))
        for row in dropped:
            drop_file(self._memories / row["file"])
        return decided

    # Looking

    def list_open(self) -> list[JobRecord]:
        """What is not over, in the queue's order: to be trained, failed, or waiting for a decision that can be made."""
        rows = self._database.rows(
            f"""
            {_SELECT} LEFT JOIN memories m ON m.id = j.memory_id
            WHERE j.state IN ('queued', 'running', 'paused', 'failed')
                OR (j.state = 'undecided' AND m.status = 'candidate')
            ORDER BY j.position, j.id
            """
        )
        return [JOBS.record(row) for row in rows]

    def get(self, job_id: int) -> JobRecord:
        """One job.

        Raises:
            NotFoundError: there is no such job.
        """
        return JOBS.record(self._job_row(job_id))

    def list(self, state: JobState | None = None) -> list[JobRecord]:
        """All jobs, or those in one state, in the queue's order."""
        where, parameters = ("WHERE j.state = ?", (state,)) if state else ("", ())
        return [
            JOBS.record(row) for row in self._database.rows(f"{_SELECT} {where} ORDER BY j.position, j.id", parameters)
        ]

    def _job_row(self, job_id: int) -> Row:
        row = self._database.row(f"{_SELECT} WHERE j.id = ?", (job_id,))
        if row is None:
            raise NotFoundError(f"There is no job number {job_id}.")
        return row

    def _last_place(self) -> int:
        row = self._database.row("SELECT coalesce(max(position), 0) AS last FROM jobs")
        return 0 if row is None else int(row["last"])

    def _lock_file(self, name: str) -> Path:
        return self._memories.parent / f"{name}{SUFFIX}"


def _before_improving(connection: sqlite3.Connection, job: Row) -> UndoEntry:
    """What it takes to let the memory before answer again; the new one stays where versions find it."""
    entry = UndoEntry(connection)
    entry.before("procedures", "id = ?", (job["procedure_id"],))
    entry.before("memories", "procedure_id = ? AND status <> 'candidate'", (job["procedure_id"],))
    return entry


def _busy() -> BusyError:
    return BusyError(
        "A training of this profile is running in another tokmem-desk.",
        next_step="Wait for its end, or stop it there. Chatting and editing go on meanwhile.",
    )
