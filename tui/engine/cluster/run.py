"""The jobs of a profile, given to workers and taken back: states, retries, checkpoints, results.

A checkpoint comes back every 25 steps and is kept as one of this computer's own: a lost worker costs the steps since
then, and so does the end of this process. A job whose workers are lost twice has failed. What a memory becomes depends
on its pairs, its settings and the seed, not on the worker, nor on the order: what other procedures answer with is taken
from before the run.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from profiles.settings.settings import Settings
from profiles.store.jobs import JobRecord, JobState
from profiles.store.store import ProfileStore
from tokmem_desk.errors import BadInputError, EngineError, NotFoundError, TokmemError, error_from_dict
from tui.engine.cluster.fits import fits_of
from tui.engine.cluster.pool import Pool, PoolEvent, Seat, Wanted
from tui.engine.cluster.task import Earlier, Neighbour, Neighbours, TrainingTask, WorkerSetup, versions
from tui.engine.engine import Engine
from tui.engine.stored_training import StoredTraining, wanted_config

if TYPE_CHECKING:
    from tui.engine.request import Request


def train_on_cluster(engine: Engine, request: Request, store: ProfileStore, settings: Settings) -> Iterator[None]:
    """Train the queued jobs of a request; see ``operations.train_cluster``.

    Raises:
        BusyError: another process trains in this profile.
        TokmemError: there is no cluster, or no worker of use.
    """
    with store.jobs.training():
        yield from _Run(engine, request, store, settings).steps()


class _Run:
    def __init__(self, engine: Engine, request: Request, store: ProfileStore, settings: Settings) -> None:
        self._engine, self._request, self._store, self._settings = engine, request, store, settings
        self._waiting = deque(store.jobs.get(int(number)) for number in request.fields["jobs"])
        self._trainings: dict[int, StoredTraining] = {}
        self._trained: list[dict[str, Any]] = []
        self._open: dict[int, JobRecord] = {}
        """What workers are at."""

    def steps(self) -> Iterator[None]:
        request, fields = self._request, self._request.fields
        wanted = Wanted(request.text("address"), fields.get("workers"), fields.get("cpus") or 1.0, fields.get("gpus"))
        request.emit("progress", phase="cluster", note=f"Connecting to the cluster ({wanted.address}).")
        yield
        with Pool(wanted, self._setup(), self._neighbours(), len(self._waiting)) as pool:
            said_end = False
            while self._waiting or self._open:
                if request.cancelled.is_set() and not said_end:
                    said_end = True
                    pool.end(request.how)
                    while self._waiting:
                        self._end(self._waiting.popleft(), "cancelled")
                    continue
                while self._waiting and pool.idle:
                    self._begin(pool, pool.idle[0], self._waiting.popleft())
                for event in pool.events():
                    self._take(event)
                yield
        request.emit("done", result={"cancelled": request.cancelled.is_set(), "trained": self._trained})

    # --- what is sent ------------------------------------------------------------------------------

    def _setup(self) -> WorkerSetup:
        model = self._engine.model
        return WorkerSetup(
            model.name,
            model.backbone.fingerprint.digest,
            model.wanted_device,
            str(self._engine.paths.cache),
            fits_of(model),
            versions(),
        )

    def _neighbours(self) -> Neighbours:
        bank_cache, store = self._engine.bank_cache, self._store
        memories = bank_cache.memories(store)
        names = {*memories, *(job.procedure for job in self._waiting)}
        return Neighbours(
            {name: Neighbour(m.address.cpu(), m.tied, m.statistics) for name, m in memories.items()},
            bank_cache.corrections(store),
            bank_cache.examples(store, names),
        )

    def _task(self, training: StoredTraining) -> TrainingTask:
        work = training.work
        found = training.unlearned((*work.procedure.pairs, *work.procedure.held_out))
        earlier = None
        if found is not None:
            version, pairs, known = found
            earlier = Earlier(training.earlier_file(), version, frozenset(pair.input for pair in pairs), known)
        checkpoint = None
        try:
            checkpoint = training.read_checkpoint()
        except FileNotFoundError:
            pass
        except (OSError, BadInputError) as error:
            self._tell(work.procedure.name, f"Starting anew: {error}")
        return TrainingTask(work, earlier, checkpoint)

    def _begin(self, pool: Pool, seat: Seat, job: JobRecord) -> None:
        engine, fields = self._engine, {**job.request, "job": job.id}
        try:
            training = self._trainings[job.id] = StoredTraining(
                self._store,
                self._settings,
                engine.paths,
                engine.model,
                engine.bank_cache,
                job.procedure_id,
                wanted_config(fields, self._settings, engine.model),
                fields,
            )
            task = self._task(training)
            self._store.jobs.update(job.id, "running")
        except NotFoundError as error:  # removed meanwhile; the others still train
            self._emit_job(job, "failed", error)
            return
        except TokmemError as error:
            self._end(job, "failed", error)
            return
        self._open[job.id] = job
        self._emit_job(job, "running")
        pool.begin(seat, job.id, task)

    # --- what comes back ---------------------------------------------------------------------------

    def _take(self, event: PoolEvent) -> None:
        job = None if event.job is None else self._open.get(event.job)
        if event.kind == "ready":
            about = event.seat.about
            self._tell("", f"Worker {event.seat.name}: {about['device']}, {about['dtype']}.")
        elif event.kind == "refused":
            assert event.error is not None
            self._tell("", str(event.error))
        if job is None:
            if event.kind == "lost":
                self._tell("", f"Lost {event.seat.name}; another one starts.")
            return
        if event.kind in ("lost", "refused"):
            self._again(job, event)
            return
        assert event.sent is not None
        kind, value = event.sent
        try:
            self._take_sent(job, kind, value)
        except NotFoundError as error:
            self._open.pop(job.id, None)
            self._emit_job(job, "failed", error)

    def _take_sent(self, job: JobRecord, kind: str, value: Any) -> None:
        training = self._trainings[job.id]
        if kind == "progress":
            self._request.emit("progress", **{**value, "job": job.id})
        elif kind == "checkpoint":
            training.keep_checkpoint(value)
        elif kind == "error":
            del self._open[job.id]
            self._end(job, "failed", error_from_dict(value))
        else:
            del self._open[job.id]
            if value is None:
                self._end(job, "cancelled")
                return
            trained = training.keep(value, job.id)
            self._trained.append(trained)
            self._emit_job(job, "undecided", trained=trained)
        if kind in ("error", "learned"):
            self._trainings.pop(job.id, None)

    def _again(self, job: JobRecord, event: PoolEvent) -> None:
        """Give a job out again whose worker is lost, or end it where that has happened before."""
        del self._open[job.id]
        lost = EngineError(f"Its worker was lost ({event.seat.name}).", next_step="Try again; see the cluster's logs.")
        if self._request.cancelled.is_set():
            self._end(job, "cancelled")
            return
        told = cast(dict[str, Any], lost.as_dict())
        try:
            record = self._store.jobs.note_break(job.id, told)
        except NotFoundError as error:
            self._emit_job(job, "failed", error)
            return
        if record.state == "queued":
            self._tell(job.procedure, f"Lost {event.seat.name}: {job.procedure} goes on from its last checkpoint.")
            self._waiting.append(record)
            self._emit_job(record, "queued")
        elif record.state == "failed":
            self._emit_job(record, "failed", lost)

    # --- what is told ------------------------------------------------------------------------------

    def _end(self, job: JobRecord, state: JobState, error: TokmemError | None = None) -> None:
        told = None if error is None else cast(dict[str, Any], error.as_dict())
        with suppress(NotFoundError):
            if self._store.jobs.get(job.id).state == "queued":
                self._store.jobs.update(job.id, "running")
            self._store.jobs.end(job.id, state, error=told)
        self._emit_job(job, state, error)

    def _emit_job(
        self, job: JobRecord, state: JobState, error: TokmemError | None = None, trained: dict[str, Any] | None = None
    ) -> None:
        self._request.emit(
            "job",
            job=job.id,
            procedure=job.procedure,
            state=state,
            error=None if error is None else error.as_dict(),
            trained=trained,
        )

    def _tell(self, procedure: str, note: str) -> None:
        self._request.emit("progress", phase="cluster", procedure=procedure, note=note)
