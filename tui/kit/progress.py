"""How far some work has come, told by whoever does it, in any thread; and whether the person wants it stopped."""

from __future__ import annotations

import threading
from collections.abc import Callable

from tokmem_desk.errors import InterruptedByUser
from tui.engine_client.client import RequestHandle


class Progress:
    """One piece of work.

    Args:
        told: is called with a few words and the share that is done (0 to 1; None: not known), in the worker's thread.
    """

    def __init__(self, told: Callable[[str, float | None], None]) -> None:
        self.tell = told
        self.request: RequestHandle | None = None
        """The engine's part of it, while there is one."""
        self._stopped = threading.Event()

    async def stop(self) -> None:
        """Ask for an end; the work ends at its next ``check``, a request of the engine with what it has."""
        self._stopped.set()
        if self.request is not None:
            await self.request.cancel()

    def check(self) -> None:
        """Go on, unless the person wants an end.

        Raises:
            InterruptedByUser: they do.
        """
        if self._stopped.is_set():
            raise InterruptedByUser("Stopped; nothing was changed.")
