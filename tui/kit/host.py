"""What a part of a screen may ask of its screen.

A screen with several jobs is composed of parts: plain objects, each with one job and its own state. A part knows its
screen by this protocol only, or by one of its room that extends it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from textual.notifications import SeverityLevel
from textual.screen import Screen

Answer = TypeVar("Answer")


class ScreenHost(Protocol):
    """The screen, as its parts see it. ``AppScreen`` offers all of this."""

    def in_background(
        self,
        work: Callable[[], Awaitable[None]],
        *,
        group: str = "default",
        exclusive: bool = False,
        asks: bool = False,
    ) -> None:
        """Run a coroutine function beside the screen. The screen shows an error that it ends with.

        Args:
            work: may wait for dialogs (``ask``) and for the engine.
            group: of the worker.
            exclusive: cancel other workers of the group first.
            asks: it will ask something; keys wait for its dialog.
        """
        ...

    async def ask(self, dialog: Screen[Answer]) -> Answer:
        """Show a dialog and wait for its answer. Works only inside ``in_background``."""
        ...

    def notify(
        self,
        message: str,
        *,
        severity: SeverityLevel = "information",
        timeout: float | None = None,
        markup: bool = True,
    ) -> None:
        """Show a message in a corner of the screen, for a while."""
        ...
