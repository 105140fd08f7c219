"""The one training job of the app: its progress, its end, and what becomes of the trained memories.

Owned by the app and not by a screen, so that it survives switching. Knows the store and the engine's protocol; draws
nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from profiles.records import JobRecord, JobState
from profiles.store import ProfileStore
from tokmem_desk.errors import BusyError, InterruptedByUser, NotFoundError, TokmemError, UsageError
from tui.engine.client import RequestHandle
from tui.engine.protocol import Message, Trained, TrainResult, TrainSample
from tui.engine_link import EngineLink

PRESETS = ("quick", "normal", "thorough")
PHASES = {"cache": "reading the examples", "train": "learning", "evaluate": "measuring"}
_SHARES = {"cache": (0.0, 0.1), "train": (0.1, 0.8), "evaluate": (0.8, 1.0)}
"""Where a phase begins and ends within the whole of one procedure, roughly."""


@dataclass(slots=True)
class ProcedureProgress:
    """How far one procedure of the job is."""

    name: str
    phase: str = ""
    step: int = 0
    """Within the phase."""
    steps: int = 0
    """Of the phase, as far as it is known."""
    train_steps: int = 0
    """Of the phase ``train``."""
    loss: float | None = None
    held_out_loss: float | None = None
    best_held_out_loss: float | None = None
    losses: list[tuple[int, float]] = field(default_factory=list)
    """Step and loss of the phase ``train``."""
    samples: list[TrainSample] = field(default_factory=list)
    """The newest state of each held-out pair that was shown, first seen first."""

    @property
    def fraction(self) -> float:
        """Done of this procedure, 0 to 1."""
        begin, end = _SHARES.get(self.phase, (0.0, 1.0))
        return begin + (end - begin) * (min(1.0, self.step / self.steps) if self.steps else 0.0)


@dataclass(slots=True)
class TrainJob:
    """A training from its start to the decision about its memories."""

    names: list[str]
    preset: str
    job_id: int
    state: Literal["running", "stopping", "done", "cancelled", "failed"] = "running"
    progress: dict[str, ProcedureProgress] = field(default_factory=dict)
    current: str = ""
    eta_s: float | None = None
    notes: list[str] = field(default_factory=list)
    trained: list[Trained] = field(default_factory=list)
    error: TokmemError | None = None
    started: float = field(default_factory=time.monotonic)
    decided: bool = False
    """True once the memories were activated or discarded."""

    @property
    def running(self) -> bool:
        """True while the engine works on it."""
        return self.state in ("running", "stopping")

    @property
    def fraction(self) -> float | None:
        """Done of the whole job, 0 to 1; None before the engine has said anything."""
        if not self.progress:
            return None
        # They are trained one after the other: what is not the current one is done, or has not begun.
        done = sum(one.fraction if one.name == self.current else 1.0 for one in self.progress.values())
        return min(1.0, done / max(1, len(self.names)))

    @property
    def text(self) -> str:
        """The job in a few words, for the header."""
        if not self.running:
            return {"done": "training done", "cancelled": "training stopped", "failed": "training failed"}[self.state]
        if self.state == "stopping":
            return "stopping training"
        done = "" if self.fraction is None else f" {self.fraction:.0%}"
        left = "" if self.eta_s is None else f", {duration(self.eta_s)} left"
        return f"training{done}{left}"


class TrainRunner:
    """Runs one training at a time.

    Args:
        store: of the open profile.
        link: the engine.
        profile: its name.
        changed: called after each change of ``job``.
    """

    def __init__(
        self, store: ProfileStore, link: EngineLink, profile: str, changed: Callable[[TrainJob], None]
    ) -> None:
        self.job: TrainJob | None = None
        self._store = store
        self._link = link
        self._profile = profile
        self._changed = changed
        self._handle: RequestHandle | None = None

    def begin(self, names: Sequence[str], preset: str, *, span: int | None, router: str | None) -> TrainJob:
        """Queue a training; ``run`` does it.

        Raises:
            BusyError: one is running, here or in another program.
            UsageError: no procedure was chosen.
        """
        if self.job is not None and self.job.running:
            raise BusyError("A training is running.", next_step="Wait for its end, or stop it with Esc.")
        if not names:
            raise UsageError("No procedure is chosen.", next_step="Tick at least one with Space.")
        with self._store.training():  # refused before the old result is dropped
            pass
        self.keep_old()
        request = {"names": list(names), "preset": preset, "span": span, "router": router}
        record = self._store.add_job("train", request)
        self.job = TrainJob(list(names), preset, record.id)
        return self.job

    def resume(self, record: JobRecord) -> TrainJob:
        """Take up a job that an earlier run of the app did not finish; ``run`` does it.

        Raises:
            BusyError: another one is running.
        """
        if self.job is not None and self.job.running:
            raise BusyError("A training is running.", next_step="Wait for its end, or stop it with Esc.")
        self.job = TrainJob(list(record.request["names"] or ()), str(record.request["preset"]), record.id)
        return self.job

    async def run(self) -> None:
        """Do what ``begin`` or ``resume`` queued. Errors of the engine end in ``job.error``."""
        job = self.job
        assert job is not None
        request = self._store.set_job(job.job_id, "running").request
        self._handle = self._link.submit("train", profile=self._profile, job=job.job_id, **request)
        self._changed(job)
        try:
            async for event in self._link.events(self._handle):
                self._take(job, event)
                self._changed(job)
        except InterruptedByUser:
            job.state = "cancelled"
        except TokmemError as caught:
            job.state, job.error = "failed", caught
        finally:
            self._handle = None
            if job.running:  # the app is ending; the job can be resumed
                self._record(job, "paused")
            else:
                self._record(job, cast(JobState, job.state))
        self._changed(job)

    async def cancel(self) -> bool:
        """Ask for an early end, which keeps the best so far; False when nothing runs."""
        if self.job is None or self._handle is None or self.job.state != "running":
            return False
        self.job.state = "stopping"
        self._changed(self.job)
        await self._handle.cancel()
        return True

    def activate(self, names: Sequence[str]) -> list[str]:
        """Activate the named memories, discard the other ones of the job, and return what is active now.

        Raises:
            TokmemError: the store refused; nothing is discarded then.
        """
        job = self.job
        if job is None or job.decided:
            return []
        active = []
        for one in job.trained:
            if one["name"] in names:
                self._store.activate_memory(one["memory_id"])
                active.append(one["name"])
        for one in job.trained:
            if one["name"] not in names:
                self._discard(one["memory_id"])
        job.decided = True
        self._changed(job)
        return active

    def keep_old(self) -> None:
        """Discard what the job trained, unless that was decided already."""
        self.activate(())

    def unfinished(self) -> JobRecord | None:
        """A training that an earlier run left in the middle, the newest; none while another program trains."""
        if self._store.is_training():
            return None
        left = [record for record in self._store.jobs() if record.kind == "train" and not record.ended]
        mine = None if self.job is None else self.job.job_id
        left = [record for record in left if record.id != mine]
        return left[-1] if left else None

    def give_up(self, record: JobRecord) -> None:
        """Do not offer an unfinished job again."""
        self._store.set_job(record.id, "cancelled")

    def _discard(self, memory_id: str) -> None:
        try:
            self._store.discard_memory(memory_id)
        except (NotFoundError, UsageError):  # removed with its procedure, or activated elsewhere
            return

    def _record(self, job: TrainJob, state: JobState) -> None:
        """Write the job's end, unless the engine has done so."""
        try:
            if self._store.job(job.job_id).state != state:
                self._store.set_job(
                    job.job_id,
                    state,
                    result={"trained": job.trained} if job.trained else None,
                    error=None if job.error is None else cast(dict[str, Any], job.error.as_dict()),
                )
        except UsageError:  # the engine has written another end, which stands
            return

    def _take(self, job: TrainJob, event: Message) -> None:
        if event["event"] == "done":
            result = cast(TrainResult, event["result"])
            job.trained = result["trained"]
            job.state = "cancelled" if result["cancelled"] else "done"
            return
        if event["event"] != "progress":
            return
        if note := event.get("note"):
            job.notes.append(str(note))
        name = str(event.get("procedure") or "")
        if not name:
            return
        job.current, job.eta_s = name, event.get("eta_s")
        one = job.progress.setdefault(name, ProcedureProgress(name))
        one.phase = str(event.get("phase") or one.phase)
        one.step, one.steps = int(event.get("step") or 0), int(event.get("steps") or 0)
        for key in ("loss", "held_out_loss", "best_held_out_loss"):
            if event.get(key) is not None:
                setattr(one, key, float(event[key]))
        if one.phase == "train":
            one.train_steps = one.steps
            if event.get("loss") is not None:
                one.losses.append((one.step, float(event["loss"])))
        if event.get("sample"):
            _take_sample(one, cast(TrainSample, event["sample"]))


def _take_sample(progress: ProcedureProgress, sample: TrainSample) -> None:
    for place, known in enumerate(progress.samples):
        if known["input"] == sample["input"]:
            progress.samples[place] = sample
            return
    progress.samples.append(sample)


def duration(seconds: float) -> str:
    """``42 s``, ``3 min 20 s`` or ``1 h 05 min``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
