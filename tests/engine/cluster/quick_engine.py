"""The engine with quick fits (``tests.quick_fits``); its workers have them too, and can be told to end early."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokmem_desk.system.threads import wait_asleep
from tui.engine.cluster.task import Sent, TrainingTask
from tui.engine.cluster.worker import Worker

KILL_FOLDER = "TOKMEM_TEST_KILL"
"""Names a folder; a worker that has sent a checkpoint of the procedure NAME ends where it can take NAME.1 or NAME.2 out
of it."""


class QuickWorker(Worker):
    """A worker with quick fits."""

    def introduce(self) -> dict[str, Any]:
        from tests.quick_fits import fit_quickly

        fit_quickly()
        return super().introduce()

    def train(self, task: TrainingTask) -> Iterator[Sent]:
        name, folder = task.work.procedure.name, os.environ.get(KILL_FOLDER)
        behind = 0
        for kind, value in super().train(task):
            yield kind, value
            behind += kind == "checkpoint" or behind > 0
            # What was sent some messages ago has left this process.
            if folder and (behind > 2 or task.checkpoint is not None):
                found = next(iter(sorted(Path(folder).glob(f"{name}.*"))), None)
                if found is not None:
                    found.unlink()
                    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    wait_asleep()
    from tests.quick_fits import fit_quickly
    from tui.engine.__main__ import main
    from tui.engine.cluster import pool

    pool.Worker = QuickWorker  # type: ignore[misc]
    fit_quickly()
    sys.exit(main())
