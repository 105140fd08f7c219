"""Shows errors as dialogs, and remembers the last ones for the debug report."""

from __future__ import annotations

import time
import traceback
from collections import deque
from collections.abc import Callable
from typing import Any

from textual.screen import Screen
from textual.worker import Worker, WorkerState

from tokmem_desk.errors import TokmemError
from tui.kit.failure import FailureDialog

KEPT_ERRORS = 10


class ErrorPresenter:
    """See the module.

    Args:
        push_screen: shows a dialog.
    """

    def __init__(self, push_screen: Callable[[Screen[Any]], object]) -> None:
        self.recent: deque[str] = deque(maxlen=KEPT_ERRORS)
        """The last errors, the oldest first; unexpected ones with their tracebacks."""
        self._push_screen = push_screen
        self._repeated: dict[str, str] = {}
        """The message that was shown last for each task that is tried again and again, until the task succeeds."""

    def show(self, error: TokmemError) -> None:
        """Say what happened, what is safe and what to do next. The app goes on."""
        self.recent.append(f"{time.strftime('%H:%M:%S')} {type(error).__name__}: {error}")
        self._push_screen(FailureDialog(error))

    def show_once(self, task: str, error: TokmemError) -> None:
        """Show an error of a task that the app repeats by itself, unless it showed the same one the last time.

        Args:
            task: names the task, for ``settle``.
            error: what went wrong.
        """
        if self._repeated.get(task) != str(error):
            self._repeated[task] = str(error)
            self.show(error)

    def settle(self, task: str) -> None:
        """A repeated task has succeeded, or the person asked for it again: show its next error in any case."""
        self._repeated.pop(task, None)

    def show_worker_error(self, event: Worker.StateChanged) -> None:
        """Show the error of a worker, if it ended with one; an error that is not ours is a fault of the app."""
        error = event.worker.error
        if event.state is not WorkerState.ERROR or error is None:
            return
        if isinstance(error, TokmemError):
            self.show(error)
            return
        self.recent.append("".join(traceback.format_exception(error)))
        fault = TokmemError(
            f"The app made a mistake: {type(error).__name__}: {error}",
            next_step="F12 shows a report that you can copy.",
        )
        self._push_screen(FailureDialog(fault))

    def forget(self) -> None:
        """Drop the remembered errors: they may quote a profile that is closed now."""
        self.recent.clear()
