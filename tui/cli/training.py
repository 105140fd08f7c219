"""A training from the command line's side: show its progress, keep its job, activate what it made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from profiles.records import JobRecord, JobState
from tokmem_desk.errors import InterruptedByUser, NotFoundError, TokmemError, UsageError
from tui.cli.context import Context
from tui.engine.protocol import Message, Trained, TrainResult
from tui.training import PHASES, duration


def train_and_activate(context: Context, names: Sequence[str]) -> TrainResult:
    """Train procedures and let what was trained answer from now on.

    A training that was cut off by a crash goes on from its last checkpoint; its job is taken up again here.

    Args:
        context: with the engine.
        names: what to train.

    Raises:
        InterruptedByUser: stopped before there was anything to keep.
        BusyError: another program trains in this profile.
        TokmemError: the training failed.
    """
    settings, store = context.settings, context.store
    request = {
        "names": list(names),
        "preset": settings.text("preset"),
        "span": settings.whole("span") or None,
        "router": settings.text("router"),
    }
    with store.training():  # a job that another program works on is none to take up
        job = _unfinished(context, request)
    if job is None:
        job = store.add_job("train", request)
    store.set_job(job.id, "running")
    result: TrainResult | None = None
    try:
        for event in context.engine.stream("train", patient=True, job=job.id, **request):
            if event["event"] == "done":
                result = cast(TrainResult, event["result"])
            elif event["event"] == "progress":
                _show(context, event)
        context.console.end_progress()
        if result is None:
            raise InterruptedByUser("Stopped.")
    except InterruptedByUser:
        _record(context, job, "cancelled")
        raise
    except TokmemError as caught:
        _record(context, job, "failed", error=caught)
        raise
    _record(context, job, "cancelled" if result["cancelled"] else "done", trained=result["trained"])
    return TrainResult(cancelled=result["cancelled"], trained=_activated(context, result["trained"]))


def _activated(context: Context, trained: Sequence[Trained]) -> list[Trained]:
    """Activate memories; one whose procedure was removed meanwhile is left out."""
    active = []
    for one in trained:
        try:
            context.store.activate_memory(one["memory_id"])
        except NotFoundError:
            context.console.error(f"{one['name']} was removed while it was being trained.")
            continue
        active.append(one)
    return active


def _unfinished(context: Context, request: dict[str, Any]) -> JobRecord | None:
    """The newest training with this request that has not ended."""
    jobs = [job for job in context.store.jobs() if job.kind == "train" and not job.ended and job.request == request]
    return jobs[-1] if jobs else None


def _record(
    context: Context,
    job: JobRecord,
    state: JobState,
    *,
    trained: Sequence[Trained] = (),
    error: TokmemError | None = None,
) -> None:
    """Write the job's end, unless the engine has done so."""
    try:
        if context.store.job(job.id).state != state:
            context.store.set_job(
                job.id,
                state,
                result={"trained": list(trained)} if trained else None,
                error=None if error is None else dict(error.as_dict()),
            )
    except UsageError:  # the engine has written another end, which stands
        return


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
