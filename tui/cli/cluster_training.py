"""A training on a cluster from the command line's side: consent, one line of progress, activating what was made."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from typing import Any, cast

from profiles.store.jobs import JobRecord
from tokmem_desk.errors import BadInputError, InterruptedByUser, NotFoundError, TokmemError, UsageError, error_from_dict
from tui.cli.context import Context
from tui.cli.training import wanted_training
from tui.engine_client.protocol import Message, Trained, TrainResult
from tui.kit.words import duration
from tui.shared.job_progress import Progress
from tui.shared.job_run import KEEP_SECONDS

LOCAL = "local"


def agree_to_send(context: Context, address: str, count: int) -> None:
    """Say what leaves this process, and have that agreed to where the profile is encrypted.

    Raises:
        BadInputError: it was not agreed to, or nobody is there to ask.
    """
    what = (
        f"names and pairs of {count} procedures, what was learned of them so far, and numbers by which messages are "
        "told apart"
    )
    where = (
        "worker processes on this computer, through Ray's shared memory and, where that is full, its folder in /tmp"
        if address == LOCAL
        else f"the computers of the cluster at {address}, over Ray's connections, which are encrypted only where the "
        "cluster is set up so"
    )
    console = context.console
    if not context.profile.locked:
        if address != LOCAL:
            console.say(f"To {where} go {what}.")
        return
    console.tell(f"This profile is encrypted. To {where} go, not encrypted: {what}. Key and passphrase stay here.")
    if context.options.yes:
        return
    if not console.can_ask:
        raise BadInputError("Nothing was sent: nobody agreed to that.", next_step="Agree with --yes.")
    if not console.ask("Send them?"):
        raise BadInputError("Nothing was sent.")


def train_on_cluster(context: Context, names: Sequence[str], workers: dict[str, Any]) -> TrainResult:
    """Train procedures on a cluster and let what was trained answer from now on.

    A procedure that fails stops no other one. What a run leaves behind when it is killed is taken up by the next one.

    Args:
        context: with the engine, loaded.
        names: what to train.
        workers: ``address``, and ``workers``, ``cpus``, ``gpus`` where they were given.

    Raises:
        InterruptedByUser: stopped before there was anything to keep.
        BusyError: another program trains in this profile.
        TokmemError: there is no cluster; or the first error of a procedure, after the others were trained.
    """
    store = context.store
    with store.jobs.working_off():
        jobs = store.jobs.queue(names, wanted_training(context.settings))
        return _ClusterRun(context, jobs).run(workers)


class _ClusterRun:
    def __init__(self, context: Context, jobs: Sequence[JobRecord]) -> None:
        self._context, self._store = context, context.store
        self._jobs = {job.id: job for job in jobs}
        self._progress = {job.id: Progress.from_dict(job.progress) for job in jobs}
        self._kept_at: dict[int, float] = {}
        self._running: set[int] = set()
        self._over: set[int] = set()
        self._errors: list[TokmemError] = []
        self._trained: list[Trained] = []
        self._began: float | None = None

    def run(self, workers: dict[str, Any]) -> TrainResult:
        """All jobs, to their ends."""
        engine, result = self._context.engine, None
        caught: TokmemError | None = None
        handle = engine.link.submit(
            "train_cluster", profile=self._context.profile.name, jobs=list(self._jobs), **workers
        )
        try:
            for event in engine.drive(engine.link.events(handle), handle.cancel, patient=True):
                if event["event"] == "done":
                    result = cast(TrainResult, event["result"])
                elif event["event"] == "job":
                    self._take_job(event)
                elif event["event"] == "progress":
                    self._take_progress(event)
                self._show()
            self._context.console.end_progress()
            if result is None:
                raise InterruptedByUser("Stopped.")
        except TokmemError as error:
            caught = error
            raise
        finally:
            self._context.console.end_progress()
            self._leave(caught)
        if self._errors and not result["cancelled"]:
            raise self._errors[0]
        return TrainResult(cancelled=result["cancelled"], trained=self._trained)

    def _take_job(self, event: Message) -> None:
        number, state, console = int(event["job"]), event["state"], self._context.console
        self._running.discard(number)
        if state == "running":
            self._running.add(number)
            self._began = self._began or time.monotonic()
        elif state == "undecided":
            self._over.add(number)
            with contextlib.suppress(NotFoundError, UsageError):  # removed, or decided elsewhere meanwhile
                self._store.jobs.decide(number, activate=True)
                self._trained.append(cast(Trained, event["trained"]))
        elif state != "queued":
            self._over.add(number)
            if event["error"] is not None:
                error = error_from_dict(event["error"])
                self._errors.append(error)
                console.end_progress()
                console.error(f"{event['procedure']}: {error}")

    def _take_progress(self, event: Message) -> None:
        if note := event.get("note"):
            self._context.console.end_progress()
            self._context.console.say(f"  {note}")
        number = event.get("job")
        if number is None:
            return
        progress = self._progress[int(number)]
        progress.take(event)
        now = time.monotonic()
        if now - self._kept_at.get(int(number), 0.0) >= KEEP_SECONDS:
            self._kept_at[int(number)] = now
            with contextlib.suppress(NotFoundError):  # the procedure was removed meanwhile
                self._store.jobs.update(int(number), progress=progress.as_dict())

    def _show(self) -> None:
        """One line for all: how many are done and how long the rest may take, by what those took so far."""
        if self._began is None:
            return
        count, over = len(self._jobs), len(self._over)
        done = over + sum(self._progress[number].fraction for number in self._running)
        line = f"{over} of {count} procedures trained, {len(self._running)} at work, {done / count:.0%}"
        if over:
            line += f", {duration((time.monotonic() - self._began) * (count - done) / done)} left"
        self._context.console.progress(line)

    def _leave(self, error: TokmemError | None) -> None:
        """Leave nothing in the queue that nobody expects there; checkpoints stay."""
        for number in self._jobs.keys() - self._over:
            with contextlib.suppress(NotFoundError, UsageError):
                state = self._store.jobs.get(number).state
                if state == "running" and error is not None and not isinstance(error, InterruptedByUser):
                    self._store.jobs.end(number, "failed", error=dict(error.as_dict()))
                elif state in ("queued", "running"):
                    self._store.jobs.update(number, "cancelled")
