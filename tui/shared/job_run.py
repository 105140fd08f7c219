"""One training on its way through the engine. The app and the command line both train by this.

What a wish, an end or an error means for the job is decided by whoever runs it: the app lets a person decide about
the new memory, a command activates it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncGenerator
from typing import cast

from profiles.store.jobs import JobRecord
from profiles.store.store import ProfileStore
from tokmem_desk.errors import NotFoundError
from tui.engine_client.link import EngineLink
from tui.engine_client.protocol import CancelHow, Message, TrainResult
from tui.shared.job_progress import Progress

KEEP_SECONDS = 2.0
"""How often the progress is written to the job's row."""


class JobRun:
    """Asks the engine to train, and keeps the progress in the job's row.

    Args:
        store: of the profile; the job is ``running`` there.
        link: the engine.
        profile: name of the profile.
        job: what to train.
    """

    def __init__(self, store: ProfileStore, link: EngineLink, profile: str, job: JobRecord) -> None:
        self.job = job
        self.progress = Progress.from_dict(job.progress)
        """How far it is; an earlier run may have begun it."""
        self.result: TrainResult | None = None
        """What the engine reported at the end; None before that."""
        self._store = store
        self._link = link
        self._handle = link.submit("train", profile=profile, job=job.id, names=[job.procedure], **job.request)
        self._kept_at = time.monotonic()

    async def events(self) -> AsyncGenerator[Message, None]:
        """The ``progress`` events. ``progress`` is up to date at each, and ``result`` is there after the last.

        Raises:
            TokmemError: what the engine reported, or EngineError when it died.
        """
        async with contextlib.aclosing(self._link.events(self._handle)) as events:
            async for event in events:
                if event["event"] == "done":
                    self.result = cast(TrainResult, event["result"])
                elif event["event"] == "progress":
                    self.progress.take(event)
                    self._keep_progress()
                    yield event

    async def cancel(self, how: CancelHow = "keep") -> None:
        """Ask for an end; ``events`` then ends by itself.

        Args:
            how: ``keep`` the best so far, ``pause`` with a checkpoint and no result, or ``drop`` everything.
        """
        await self._handle.cancel(how)

    def _keep_progress(self) -> None:
        """Write the progress down, for an app that looks on, or that goes on after a crash."""
        if time.monotonic() - self._kept_at >= KEEP_SECONDS:
            self._kept_at = time.monotonic()
            with contextlib.suppress(NotFoundError):  # the procedure was removed meanwhile
                self._store.jobs.update(self.job.id, progress=self.progress.as_dict())
