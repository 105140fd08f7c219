"""The app's trainings of one profile: runs the queue, and does what the person wants with it.

The queue itself and the states of its jobs are in the profile's database (``profiles.store.jobs``); this is the one
place of the app that changes them. Owned by the app and not by a screen, so that it survives switching. Draws nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from profiles.files.paths import AppPaths
from profiles.store.checkpoints import drop_checkpoints
from profiles.store.jobs import IMPROVE, JobRecord, JobState
from profiles.store.store import ProfileStore
from tokmem_desk.errors import (
    BusyError,
    EngineError,
    InterruptedByUser,
    NotFoundError,
    OfflineError,
    TokmemError,
    UsageError,
    error_from_dict,
)
from tui.engine_client.link import EngineLink
from tui.engine_client.protocol import Scorecard, Trained, TrainResult
from tui.kit.words import duration
from tui.shared.job_progress import Progress
from tui.shared.job_run import JobRun

PRESETS = ("quick", "normal", "thorough")


@dataclass(slots=True)
class TrainJob:
    """One job, with what its row does not hold."""

    record: JobRecord
    progress: Progress
    trained: Trained | None = None
    """The new memory while it is undecided."""
    ending: Literal["", "keep", "pause", "drop"] = ""
    """How a running job was asked to end."""
    elsewhere: bool = False
    """Whether another program works on it."""
    begun: float = 0.0
    """When this app began with it, by the monotonic clock; 0 where it does not work on it."""

    @property
    def id(self) -> int:
        """The job's number."""
        return self.record.id

    @property
    def name(self) -> str:
        """The procedure's name."""
        return self.record.procedure

    @property
    def state(self) -> JobState:
        """As it is in the database."""
        return self.record.state

    @property
    def preset(self) -> str:
        """How long it takes."""
        return str(self.record.request.get("preset") or "normal")

    @property
    def how(self) -> str:
        """What is learned from, or how long it takes, in words."""
        return "from verdicts" if self.record.request.get(IMPROVE) else f"preset {self.preset}"

    @property
    def error(self) -> TokmemError | None:
        """Why it failed."""
        return None if self.record.error is None else error_from_dict(self.record.error)


class TrainQueue:
    """Runs the queue of one profile.

    Args:
        store: of the open profile.
        link: the engine.
        profile: its name.
        paths: where checkpoints are.
        changed: called after each change of ``jobs``.
    """

    def __init__(
        self, store: ProfileStore, link: EngineLink, profile: str, paths: AppPaths, changed: Callable[[], None]
    ) -> None:
        self.jobs: list[TrainJob] = []
        """All that is not over, in the queue's order."""
        self.current: TrainJob | None = None
        """The one that this app works on."""
        self.working = False
        self.ended_in_row = 0
        """Jobs that ended since the queue was last at rest, for "2 of 5"."""
        self._held = False
        self._set_aside = False
        self._store = store
        self._link = link
        self._profile = profile
        self._paths = paths
        self._changed = changed
        self._run: JobRun | None = None
        try:
            with store.jobs.working_off(seconds=0.0):  # queues again what a crash broke off
                pass
        except BusyError:
            pass
        self._read()

    # What there is

    def of(self, name: str) -> TrainJob | None:
        """The newest job of a procedure that is not over."""
        return next((job for job in reversed(self.jobs) if job.name == name), None)

    def job(self, job_id: int) -> TrainJob | None:
        """The job of that number, unless it is over."""
        return next((job for job in self.jobs if job.id == job_id), None)

    def in_state(self, *states: JobState) -> list[TrainJob]:
        """The jobs in one of some states."""
        return [job for job in self.jobs if job.state in states]

    @property
    def running(self) -> bool:
        """True while one of this profile's jobs is being worked on, here or by another program."""
        return bool(self.in_state("running"))

    @property
    def text(self) -> str:
        """The queue in a few words, for the header; empty when there is nothing to say."""
        running = self.in_state("running")
        if running:
            job = running[0]
            if job.ending:
                return {"keep": "stopping training", "pause": "pausing training"}.get(job.ending, "cancelling training")
            place, of = self.ended_in_row + 1, self.ended_in_row + 1 + len(self.in_state("queued"))
            words = f"training {place} of {of}" if of > 1 else "training"
            done = f" {job.progress.fraction:.0%}" if job.progress.phase else ""
            left = "" if job.progress.eta_s is None else f", {duration(job.progress.eta_s)} left"
            return f"{words}{done}{left}"
        if undecided := self.in_state("undecided"):
            return "1 result waits" if len(undecided) == 1 else f"{len(undecided)} results wait"
        rest = {"queued": "training waits", "paused": "training paused", "failed": "training failed"}
        return next((said for state, said in rest.items() if self.in_state(cast(JobState, state))), "")

    @property
    def may_work(self) -> bool:
        """Whether something is queued, and this app does not train already."""
        return not self.working and not self._link.training and bool(self.in_state("queued"))

    def refresh(self) -> None:
        """Read the queue again, as another program may have changed it."""
        before = [job.record for job in self.jobs]
        self._read()
        if before != [job.record for job in self.jobs]:
            self._changed()

    def _read(self) -> None:
        known = {job.id: job for job in self.jobs}
        found = []
        for record in self._store.jobs.list_open():
            job = known.get(record.id)
            if job is not None and job is self.current:
                job.record = record
            elif job is None or job.record != record:
                job = TrainJob(record, Progress.from_dict(record.progress))
                if record.state == "undecided" and record.memory_id is not None:
                    card = cast(Scorecard, self._store.memories.get(record.memory_id).scorecard)
                    job.trained = Trained(name=record.procedure, memory_id=record.memory_id, scorecard=card)
            job.elsewhere = record.state == "running" and job is not self.current
            found.append(job)
        self.jobs = found

    def _tell(self) -> None:
        self._read()
        self._changed()

    # What the person wants

    def add(
        self, names: Sequence[str], preset: str, *, span: int | None, router: str | None, improve: bool = False
    ) -> None:
        """Put trainings at the end of the queue; ``work`` does them.

        Args:
            improve: go on from the memories that answer, with the verdicts on their answers.

        Raises:
            UsageError: no procedure was chosen.
            NotFoundError: there is no such procedure.
        """
        if not names:
            raise UsageError("No procedure is chosen.", next_step="Tick at least one with Space.")
        request = {"preset": preset, "span": span, "router": router, **({IMPROVE: True} if improve else {})}
        self._store.jobs.queue(names, request)
        self._held = False
        self._tell()

    async def stop(self) -> bool:
        """Ask for an early end of what runs; it keeps the best so far. False when nothing runs here."""
        return await self._end("keep")

    async def pause(self) -> None:
        """Halt: what runs stops with a checkpoint, and what is queued waits until ``resume``.

        Raises:
            BusyError: it runs in another program.
        """
        self._refuse_elsewhere(self.in_state("running"))
        for job in self.in_state("queued"):
            with contextlib.suppress(NotFoundError, UsageError):  # begun, cancelled or removed meanwhile, elsewhere
                self._store.jobs.update(job.id, "paused")
        await self._end("pause")
        self._tell()

    def resume(self, jobs: Iterable[TrainJob]) -> None:
        """Queue paused and failed jobs again; ``work`` does them."""
        for job in jobs:
            with contextlib.suppress(NotFoundError, UsageError):  # cancelled or removed meanwhile, elsewhere
                self._store.jobs.resume(job.id)
        self._held = False
        self._tell()

    async def remove(self, job: TrainJob) -> None:
        """Take a job out of the queue, with all that it has learned so far; the memory so far stays as it is.

        Raises:
            BusyError: it runs in another program.
        """
        if job.state == "undecided":
            self._store.jobs.decide(job.id, activate=False)
        elif job.state == "running":
            self._refuse_elsewhere([job])
            await self._end("drop")
        else:
            record = self._store.jobs.update(job.id, "cancelled")
            drop_checkpoints(self._paths, self._store, record.procedure)
        self._tell()

    def move(self, job: TrainJob, by: int) -> bool:
        """Let a waiting job change places with its neighbour; False when it has none there."""
        moved = self._store.jobs.move(job.id, by)
        self._tell()
        return moved

    def decide(self, jobs: Iterable[TrainJob], *, activate: bool) -> list[str]:
        """Let the new memories of jobs answer from now on, or drop them; returns the names.

        Raises:
            TokmemError: the store refused.
        """
        decided = []
        for job in jobs:
            try:
                self._store.jobs.decide(job.id, activate=activate)
            except (NotFoundError, UsageError):  # decided meanwhile in another program
                continue
            decided.append(job.name)
        self._tell()
        return decided

    def hold(self) -> None:
        """Begin no other job after the one that runs."""
        self._held = True

    async def set_aside(self) -> None:
        """Halt for a while: what runs here stops with a checkpoint and is queued again. Returns when it has ended."""
        self.hold()
        self._set_aside = True
        await self._end("pause")
        while self.working:
            await asyncio.sleep(0.02)

    def _refuse_elsewhere(self, jobs: Iterable[TrainJob]) -> None:
        if any(job.elsewhere for job in jobs):
            raise BusyError(
                "This training runs in another tokmem-desk.", next_step="Stop it there, or wait for its end."
            )

    async def _end(self, how: Literal["keep", "pause", "drop"]) -> bool:
        job, run = self.current, self._run
        if job is None or run is None or (job.ending and how != "drop"):
            return False
        job.ending = how
        self._changed()
        await run.cancel(how)
        return True

    # Work

    async def work(self) -> bool:
        """Train until nothing is queued.

        Returns:
            False, at once, when there is nothing to do, or this app or another program is working on a queue.

        Raises:
            OfflineError: the model would have to be fetched; the queue stays as it is.
        """
        if not self.may_work:
            return False
        self.working = self._link.training = True
        self._held = self._set_aside = False
        try:
            with self._store.jobs.working_off(seconds=0.0):
                while not self._held and (record := self._store.jobs.next()) is not None:
                    await self._train(record)
                    self.ended_in_row += 1
            return True
        except BusyError:  # of another program; the app asks again from time to time
            return False
        finally:
            self.working = self._link.training = False
            self.ended_in_row = 0

    async def _train(self, record: JobRecord) -> None:
        run = self._run = JobRun(self._store, self._link, self._profile, record)
        job = self.current = TrainJob(record, run.progress, begun=time.monotonic())
        self.jobs = [job if other.id == job.id else other for other in self.jobs]
        self._tell()
        state: JobState | None = "queued"  # where the app ends in the middle
        error: TokmemError | None = None
        try:
            async for _ in run.events():
                self._changed()
            if run.result is not None:
                state = self._state_after(job, run.result)
        except InterruptedByUser:
            state = "cancelled"
        except (BusyError, OfflineError):
            raise
        except EngineError as caught:  # perhaps killed for lack of memory: once more, from the checkpoint
            state, error = None, caught
        except TokmemError as caught:
            state, error = "failed", caught
        finally:
            self.current = self._run = None
            with contextlib.suppress(NotFoundError):  # the procedure was removed meanwhile
                self._record_end(job, state, error)
        self._tell()

    def _state_after(self, job: TrainJob, result: TrainResult) -> JobState:
        """The state of a job after the engine's result. A new memory is in the database already."""
        if result["trained"]:
            return "undecided"
        if job.ending == "pause":
            return "queued" if self._set_aside else "paused"
        return "cancelled"

    def _record_end(self, job: TrainJob, state: JobState | None, error: TokmemError | None) -> None:
        told = None if error is None else cast(dict[str, Any], error.as_dict())
        if state is None:
            assert told is not None
            job.progress.notes.append("The engine ended unexpectedly; going on from the last checkpoint.")
            self._store.jobs.update(job.id, progress=job.progress.as_dict())
            record = self._store.jobs.note_break(job.id, told)
        else:
            if error is not None:  # stays with the job where its result is there all the same
                job.progress.notes.append(error.message)
            record = self._store.jobs.end(job.id, state, progress=job.progress.as_dict(), error=told)
        if record.state == "undecided" and job.ending == "drop":  # it had ended before it got the request
            self._store.jobs.decide(job.id, activate=False)
        elif record.state == "cancelled":
            drop_checkpoints(self._paths, self._store, record.procedure)
