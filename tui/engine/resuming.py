"""Drive resumable runs over a whole model: their checkpoint, their progress, their end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol, TypeVar

from profiles.files.atomic import write_bytes
from tokmem_desk.errors import TokmemError
from trainer.checkpoint import Checkpoint
from trainer.loop import Progress
from tui.engine.request import Request

Save = Callable[[bytes], None]


class Run(Protocol):
    """What ``trainer.paper.adaptation`` and ``trainer.prior.training`` have in common."""

    result: bytes | None

    def stop(self) -> None: ...

    def checkpoint(self) -> Checkpoint: ...

    def __iter__(self) -> Iterator[Progress]: ...


_Run = TypeVar("_Run", bound=Run)


def begin(request: Request, phase: str, path: Path, make: Callable[[Checkpoint | None, Save], _Run]) -> _Run:
    """A run that goes on from the checkpoint at ``path``, or a new one where that is missing or of no use.

    Raises:
        TokmemError: a new run is not possible.
    """

    def save(data: bytes) -> None:
        write_bytes(path, data)

    try:
        run = make(Checkpoint.from_bytes(path.read_bytes()), save)
    except FileNotFoundError:
        return make(None, save)
    except (OSError, TokmemError) as error:
        reason = error.message if isinstance(error, TokmemError) else error  # without "start anew": that is done here
        request.emit("progress", phase=phase, note=f"Starting anew: {reason}")
        return make(None, save)
    request.emit("progress", phase=phase, note="Going on where the interrupted run stopped.")
    return run


def drive(request: Request, path: Path, run: Run, keep: Callable[[bytes], None]) -> Iterator[None]:
    """Run to the end, or until the request is cancelled: then a checkpoint is written and nothing else changes.

    Args:
        path: of the checkpoint, which goes once the result is kept.
        keep: receives the result.

    Raises:
        TokmemError: what running and keeping know.
    """
    for progress in run:
        request.emit(
            "progress",
            phase=progress.phase,
            step=progress.step,
            steps=progress.steps,
            loss=progress.loss,
            eta_s=progress.seconds_left,
        )
        yield
        if request.cancelled.is_set():
            run.stop()
    if run.result is None:
        write_bytes(path, run.checkpoint().to_bytes())
        return
    keep(run.result)
    with suppress(OSError):
        path.unlink(missing_ok=True)
