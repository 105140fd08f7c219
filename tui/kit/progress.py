"""Progress of work in another thread, and the person's wish to stop it."""

from __future__ import annotations

import threading
from collections.abc import Callable

from tokmem_desk.errors import InterruptedByUser
from tui.engine_client.client import RequestHandle


class Progress:
    """One piece of work.

    Args:
        told: called in the worker's thread, with a few words and the share that is done (0 to 1, None where unknown).
    """

    def __init__(self, told: Callable[[str, float | None], None]) -> None:
        self.tell = told
        self.request: RequestHandle | None = None
        """The request that the engine works on for it, if there is one."""
        self._stopped = threading.Event()

    async def stop(self) -> None:
        """Ask for an end. The work ends at its next ``check``; a request of the engine ends with what it has."""
        self._stopped.set()
        if self.request is not None:
            await self.request.cancel()

    def check(self) -> None:
        """Return, unless the person wants an end.

        Raises:
            InterruptedByUser: they do.
        """
        if self._stopped.is_set():
            raise InterruptedByUser("Stopped; nothing was changed.")
