"""Workers on a Ray cluster. The one module that knows Ray; what it raises comes out in words.

A lost worker is an event like any other, ``lost``, and another one starts in its place: what it was at is the caller's
to give out again.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tokmem_desk.errors import EngineError, IncompatibleError, OfflineError, TokmemError, UsageError, error_from_dict
from tui.engine.cluster.task import Neighbours, Sent, TrainingTask, WorkerSetup
from tui.engine.cluster.worker import Worker

if TYPE_CHECKING:
    from tui.engine_client.protocol import CancelHow

LOCAL = "local"
"""The address of a cluster of this computer alone, which begins and ends with the run."""
_CONNECT_SECONDS = 20.0
_WAIT_SECONDS = 0.2
_STORE_BYTES = 256 * 2**20
"""Of a local cluster, for what is on its way; a third of the memory would be Ray's own choice."""
_LOST_AT_START = 3
"""So many workers that end while they load, and none that is ready: then there will be none."""
INSTALL = "Install it beside tokmem-desk: pip install 'tokmem-desk[cluster]'"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which workers to have.

    Attributes:
        address: of a running cluster (``HOST:PORT``, or ``auto`` on one of its computers), or ``local``.
        workers: how many; None: as many as there is room for.
        cpus: processor cores of each.
        gpus: cards of each, which may be a part of one.
    """

    address: str
    workers: int | None = None
    cpus: float = 1.0
    gpus: float | None = None


@dataclass(slots=True)
class Seat:
    """One worker: what Ray knows it by, what it is, and what is awaited of it."""

    actor: Any
    awaited: Any
    """A reference, or a stream of them while it trains; None while it has nothing to do."""
    about: dict[str, Any] = field(default_factory=dict)
    """What it said of itself; empty while it loads."""
    job: int | None = None

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.about['host']}, process {self.about['pid']}" if self.about else "a worker that was starting"


@dataclass(frozen=True, slots=True)
class PoolEvent:
    """``ready``, ``refused`` (with ``error``), ``sent`` (with ``sent``) or ``lost``; ``job`` is what it was at."""

    kind: Literal["ready", "refused", "sent", "lost"]
    seat: Seat
    job: int | None = None
    sent: Sent | None = None
    error: TokmemError | None = None


class Pool:
    """Connected to a cluster; use as a context manager, which takes the workers down at its end.

    Args:
        wanted: which workers.
        setup: what each is given.
        neighbours: the same for all.
        most: workers that are of use at most.

    Raises:
        UsageError: Ray is not installed, or the cluster has no room for one worker.
        OfflineError: nothing answers at the address, or this computer is none of the cluster.
        IncompatibleError: the cluster runs another version of Ray or Python.
    """

    def __init__(self, wanted: Wanted, setup: WorkerSetup, neighbours: Neighbours, most: int) -> None:
        self._ray = ray = _connected(wanted)
        try:
            self.gpus = self._gpus(wanted)
            self.size = min(most, self._room(wanted))
        except TokmemError:
            ray.shutdown()
            raise
        self._cpus = wanted.cpus
        self._setup, self._neighbours = ray.put(setup), ray.put(neighbours)
        self._lost_at_start = 0
        self.refusal: TokmemError | None = None
        """Why the last worker that was refused is of no use."""
        self.seats = [self._seat() for _ in range(self.size)]

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        for seat in self.seats:
            with suppress(Exception):
                self._ray.kill(seat.actor)
        self._ray.shutdown()

    @property
    def idle(self) -> list[Seat]:
        """Workers that are ready and have nothing to do."""
        return [seat for seat in self.seats if seat.about and seat.awaited is None]

    def begin(self, seat: Seat, job: int, task: TrainingTask) -> None:
        """Have an idle worker train."""
        seat.job = job
        seat.awaited = seat.actor.train.options(num_returns="streaming").remote(task)

    def end(self, how: CancelHow) -> None:
        """Ask all workers that train for an end."""
        for seat in self.seats:
            if seat.job is not None:
                seat.actor.end.remote(how)

    def events(self) -> Iterator[PoolEvent]:
        """What has come in, waiting a moment for it.

        Raises:
            EngineError: no worker gets as far as being ready.
            TokmemError: every worker was refused; why the last one was.
        """
        if not self.seats:
            raise self.refusal or EngineError("No worker is left.", next_step="Look at the cluster: ray status")
        awaited = {seat.awaited: seat for seat in self.seats if seat.awaited is not None}
        if not awaited:
            return
        ready, _ = self._ray.wait(list(awaited), num_returns=len(awaited), timeout=0, fetch_local=False)
        if not ready:
            ready, _ = self._ray.wait(list(awaited), num_returns=1, timeout=_WAIT_SECONDS, fetch_local=False)
        for reference in ready:
            yield from self._take(awaited[reference])

    def _take(self, seat: Seat) -> Iterator[PoolEvent]:
        errors, job = self._ray.exceptions, seat.job
        try:
            if job is None:
                yield from self._introduced(seat, self._ray.get(seat.awaited))
                return
            kind, value = self._ray.get(next(seat.awaited))
        except StopIteration:  # after its last message, which made it idle, nothing is awaited
            seat.awaited = seat.job = None
            return
        except errors.RayError as caught:
            seat.awaited = seat.job = None
            if isinstance(caught, errors.RayTaskError) or _misses_program(caught):  # its code could not even begin
                self._drop(seat)
                self.refusal = _of_another_program(caught)
                yield PoolEvent("refused", seat, job, error=self.refusal)
                return
            self._replace(seat)
            yield PoolEvent("lost", seat, job)
            return
        if kind in ("learned", "error"):
            seat.awaited = seat.job = None
        yield PoolEvent("sent", seat, job, (kind, value))

    def _introduced(self, seat: Seat, about: dict[str, Any]) -> Iterator[PoolEvent]:
        seat.awaited = None
        if "error" in about:
            self._drop(seat)
            error = error_from_dict(about["error"])
            error.message = f"The worker on {about['host']} is of no use. {error.message}"
            self.refusal = error
            yield PoolEvent("refused", seat, error=error)
            return
        seat.about = about
        self._lost_at_start = 0
        yield PoolEvent("ready", seat)

    def _replace(self, seat: Seat) -> None:
        """Start another worker for one that is lost.

        Raises:
            EngineError: none of them gets ready.
        """
        if not seat.about:
            self._lost_at_start += 1
            if self._lost_at_start >= _LOST_AT_START and not any(other.about for other in self.seats):
                raise EngineError(
                    "Workers end while they load the model; perhaps their memory is too small.",
                    next_step="Have fewer of them on a computer (--workers), or choose a smaller model.",
                )
        self._drop(seat)
        self.seats.append(self._seat())

    def _drop(self, seat: Seat) -> None:
        self.seats.remove(seat)
        with suppress(Exception):
            self._ray.kill(seat.actor)

    def _seat(self) -> Seat:
        remote = self._ray.remote(num_cpus=self._cpus, num_gpus=self.gpus, concurrency_groups={"control": 1})
        # Asking for an end must not wait for what is to end.
        Worker.end.__ray_concurrency_group__ = "control"  # type: ignore[attr-defined]
        actor = remote(Worker).options(max_restarts=0).remote(self._setup, self._neighbours)
        return Seat(actor, actor.introduce.remote())

    def _gpus(self, wanted: Wanted) -> float:
        if wanted.gpus is not None:
            return wanted.gpus
        return 1.0 if self._ray.cluster_resources().get("GPU", 0) >= 1 else 0.0

    def _room(self, wanted: Wanted) -> int:
        there = self._ray.cluster_resources()
        needs = {"CPU": wanted.cpus, "GPU": self.gpus}
        room = min(int(there.get(kind, 0.0) / each + 1e-9) for kind, each in needs.items() if each)
        if not room:
            has = ", ".join(f"{there.get(kind, 0.0):g} {kind}" for kind in needs)
            asked = ", ".join(f"{each:g} {kind}" for kind, each in needs.items() if each)
            raise UsageError(
                f"The cluster has no room for a worker of {asked}: it has {has}.",
                next_step="Ask for less: --worker-cpus N, --worker-gpus N (0.5 is half a card)",
            )
        return room if wanted.workers is None else min(room, wanted.workers)


def _connected(wanted: Wanted) -> Any:
    """Ray, connected."""
    # Ray reports its use to its makers unless it is told not to; nothing of a profile shall lie in its logs.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # A worker without a card would not see one either where Ray hides them; it asks for none then.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as error:
        raise UsageError("Training on a cluster needs Ray, which is not installed.", next_step=INSTALL) from error
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "error", "configure_logging": False}
    try:
        if wanted.address == LOCAL:
            count = wanted.workers or max(1, int((os.cpu_count() or 1) / wanted.cpus))
            ray.init(
                address=LOCAL,
                num_cpus=max(1, round(count * wanted.cpus)),
                object_store_memory=_STORE_BYTES,
                include_dashboard=False,
                **quiet,
            )
        else:
            _refuse_silence(wanted.address)
            ray.init(address=wanted.address, **quiet)
    except (ConnectionError, ValueError) as error:
        raise OfflineError(
            f"No cluster answers at {wanted.address!r} ({_first_line(error)}).",
            next_step="This computer must be one of the cluster's: ray start --address HOST:PORT",
        ) from error
    except RuntimeError as error:
        if "ersion mismatch" in str(error):
            raise IncompatibleError(
                f"The cluster at {wanted.address!r} runs another Ray or Python: {_first_line(error)}",
                next_step="Install the same on all its computers.",
            ) from error
        raise EngineError(f"Ray could not be started: {_first_line(error)}", next_step="Try again.") from error
    return ray


def _refuse_silence(address: str) -> None:
    """Ask the address whether a cluster is there, in a process of its own: Ray itself would try for two minutes.

    Raises:
        UsageError: it is an address of another kind.
        OfflineError: nothing answers, or something else.
    """
    if address == "auto":
        return
    if "://" in address or not address.rpartition(":")[2].isdigit():
        raise UsageError(
            f"{address!r} is no address of a cluster.",
            next_step="Give HOST:PORT as 'ray start --head' shows it, or 'local', or 'auto'.",
        )
    command = [str(Path(sys.executable).parent / "ray"), "health-check", "--address", address]
    try:
        answered = subprocess.run(command, capture_output=True, timeout=_CONNECT_SECONDS, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        answered = False
    if not answered:
        raise OfflineError(
            f"No cluster answers at {address!r}.",
            next_step="See that it runs (ray status), and that the address is the one that 'ray start --head' showed.",
        )


def _of_another_program(error: Exception) -> TokmemError:
    if _misses_program(error):
        return IncompatibleError(
            "A worker of the cluster has no tokmem-desk, or another version of it.",
            next_step="Install the same version, in the environment that 'ray start' runs in, on all computers.",
        )
    return EngineError(f"A worker could not begin: {_first_line(error)}", next_step="Look at its logs: ray logs")


def _misses_program(error: Exception) -> bool:
    return any(name in str(error) for name in ("ModuleNotFoundError", "ImportError"))


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
