"""A training from the command line's side: put it into the queue, show its progress, activate what it made."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from profiles.store.jobs import IMPROVE, JobRecord
from tokmem_desk.errors import InterruptedByUser, NotFoundError, TokmemError, UsageError
from tui.cli.context import Context
from tui.engine_client.protocol import Message, Trained, TrainResult
from tui.kit.words import duration
from tui.shared.job_progress import PHASES
from tui.shared.job_run import JobRun

if TYPE_CHECKING:
    from profiles.settings.settings import Settings


def train_and_activate(
    context: Context,
    names: Sequence[str],
    *,
    improve: bool = False,
    activates: Callable[[Trained], bool] = lambda _: True,
) -> TrainResult:
    """Train procedures and let what was trained answer from now on.

    A training that was cut off by a crash goes on from its last checkpoint; its job is taken up again here. What this
    command cannot train because it is stopped or fails does not stay in the queue: nobody would expect it there.

    Args:
        context: with the engine.
        names: what to train.
        improve: go on from the memories that answer, with the verdicts on their answers.
        activates: whether what came out answers from now on; else it is dropped.

    Raises:
        InterruptedByUser: stopped before there was anything to keep.
        BusyError: another program trains in this profile.
        TokmemError: the training failed.
    """
    store = context.store
    request = {**wanted_training(context.settings), **({IMPROVE: True} if improve else {})}
    trained: list[Trained] = []
    cancelled = False
    with store.jobs.working_off():
        jobs = store.jobs.queue(names, request)
        try:
            while jobs and not cancelled:
                one, cancelled = _train_one(context, jobs.pop(0), activates)
                trained += one
        finally:
            for job in jobs:
                with contextlib.suppress(NotFoundError, UsageError):  # removed, or taken out of the queue meanwhile
                    store.jobs.update(job.id, "cancelled")
    return TrainResult(cancelled=cancelled, trained=trained)


def wanted_training(settings: Settings) -> dict[str, Any]:
    """How to train by the settings, as a job keeps it."""
    return {
        "preset": settings.text("preset"),
        "span": settings.whole("span") or None,
        "router": settings.text("router"),
    }


def _train_one(context: Context, job: JobRecord, activates: Callable[[Trained], bool]) -> tuple[list[Trained], bool]:
    """What was trained and decided about, and whether Ctrl-C was pressed."""
    store, engine = context.store, context.engine
    run = JobRun(store, engine.link, context.profile.name, store.jobs.update(job.id, "running"))
    try:
        for event in engine.drive(run.events(), run.cancel, patient=True):
            _show(context, event)
        result = run.result
        context.console.end_progress()
        if result is None:
            raise InterruptedByUser("Stopped.")
        if not result["trained"]:
            store.jobs.end(job.id, "cancelled")
            return [], result["cancelled"]
        store.jobs.decide(job.id, activate=all(map(activates, result["trained"])))
    except InterruptedByUser:
        store.jobs.end(job.id, "cancelled")
        raise
    except NotFoundError:  # the other procedures still train
        context.console.error(f"{job.procedure} was removed while it was being trained.")
        return [], False
    except TokmemError as caught:
        store.jobs.end(job.id, "failed", error=dict(caught.as_dict()))
        raise
    return result["trained"], result["cancelled"]


def _show(context: Context, event: Message) -> None:
    if note := event.get("note"):
        context.console.end_progress()
        context.console.say(f"  {note}")
    name, phase, steps = event.get("procedure"), str(event.get("phase") or ""), int(event.get("steps") or 0)
    if not name:
        return
    parts = [f"{name}: {PHASES.get(phase, phase)}"]
    if steps:
        parts.append(f"step {int(event.get('step') or 0)} of {steps}")
    if event.get("loss") is not None:
        parts.append(f"loss {event['loss']:.3f}")
    if event.get("held_out_loss") is not None:
        parts.append(f"held out {event['held_out_loss']:.3f}")
    if event.get("eta_s") is not None:
        parts.append(f"{duration(event['eta_s'])} left")
    context.console.progress(", ".join(parts))
