"""Long jobs as they stand on disk, so that closing the app or a crash loses track of none."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from profiles.base import Row, StoreBase, as_json, from_json, now
from profiles.guards import SUFFIX, guarded
from profiles.records import JobRecord, JobState, JsonObject
from tokmem_desk.errors import BusyError, NotFoundError, UsageError

_NEXT: dict[JobState, frozenset[JobState]] = {
    "queued": frozenset({"running", "paused", "done", "failed", "cancelled"}),
    "running": frozenset({"queued", "paused", "done", "failed", "cancelled"}),
    "paused": frozenset({"queued", "running", "failed", "cancelled"}),
    # Both may be taken up again from their checkpoint; what is done stays done.
    "failed": frozenset({"queued", "running"}),
    "cancelled": frozenset({"queued", "running"}),
    "done": frozenset(),
}


class JobTable(StoreBase):
    """The part of the store that keeps jobs."""

    def add_job(self, kind: str, request: JsonObject) -> JobRecord:
        """Queue a job; ``request`` is all that is needed to start it again."""
        moment = now()
        with self._database.writing() as connection:
            cursor = connection.execute(
                "INSERT INTO jobs (kind, state, request, created, updated) VALUES (?, 'queued', ?, ?, ?)",
                (kind, as_json(request), moment, moment),
            )
            return _record(self._job_row(int(cursor.lastrowid or 0)))

    def set_job(
        self,
        job_id: int,
        state: JobState | None = None,
        *,
        progress: JsonObject | None = None,
        result: JsonObject | None = None,
        error: JsonObject | None = None,
    ) -> JobRecord:
        """Change what is given and leave the rest. A job that goes on again loses its old error.

        Raises:
            NotFoundError: there is no such job.
            UsageError: a job in its present state cannot get to ``state``, as when it was cancelled meanwhile.
        """
        with self._database.writing() as connection:
            row = self._job_row(job_id)
            before: JobState = row["state"]
            state = state or before
            if state != before and state not in _NEXT[before]:
                raise UsageError(f"Job {job_id} is {before} and cannot become {state}.")
            old_error = row["error"] if state == before or state in ("failed", "cancelled") else None
            connection.execute(
                """
                UPDATE jobs SET state = ?, progress = coalesce(?, progress), result = coalesce(?, result),
                    error = coalesce(?, ?), updated = ? WHERE id = ?
                """,
                (state, as_json(progress), as_json(result), as_json(error), old_error, now(), job_id),
            )
            return _record(self._job_row(job_id))

    @contextlib.contextmanager
    def training(self, *, seconds: float = 1.0) -> Iterator[None]:
        """Be the one process that trains in this profile.

        Args:
            seconds: how long to wait for another one; above 0, lest a glance of ``is_training`` look like one.

        Raises:
            BusyError: another one is training in it.
        """
        busy = BusyError(
            "A training of this profile is running in another tokmem-desk.",
            next_step="Wait for its end, or stop it there. Chatting and editing go on meanwhile.",
        )
        with guarded(self._training_guard, busy, seconds=seconds):
            yield

    def is_training(self) -> bool:
        """Whether some process trains in this profile now."""
        try:
            with self.training(seconds=0.0):
                return False
        except BusyError:
            return True

    @property
    def _training_guard(self) -> Path:
        return self.memory_folder.parent / f"training{SUFFIX}"

    def jobs(self, state: JobState | None = None) -> list[JobRecord]:
        """All jobs, or those in one state, oldest first."""
        where, parameters = ("WHERE state = ?", (state,)) if state else ("", ())
        return [_record(row) for row in self._database.rows(f"SELECT * FROM jobs {where} ORDER BY id", parameters)]

    def job(self, job_id: int) -> JobRecord:
        """One job.

        Raises:
            NotFoundError: there is no such job.
        """
        return _record(self._job_row(job_id))

    def _job_row(self, job_id: int) -> Row:
        row = self._database.row("SELECT * FROM jobs WHERE id = ?", (job_id,))
        if row is None:
            raise NotFoundError(f"There is no job number {job_id}.")
        return row


def _record(row: Row) -> JobRecord:
    return JobRecord(
        id=row["id"],
        kind=row["kind"],
        state=row["state"],
        request=from_json(row["request"]) or {},
        progress=from_json(row["progress"]),
        result=from_json(row["result"]),
        error=from_json(row["error"]),
        created=row["created"],
        updated=row["updated"],
    )
