"""What the controllers need of the Textual app: workers, dialogs, notices and the screen in sight."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from textual.screen import Screen, ScreenResultType


class Stage(Protocol):
    """See the module. ``textual.app.App`` has all of this."""

    @property
    def screen(self) -> Screen[Any]:
        """The screen or dialog in sight."""
        ...

    def run_worker(
        self, work: Callable[[], Awaitable[object]], *, group: str = ..., exit_on_error: bool = ...
    ) -> object:
        """Run something beside everything else; the app shows its errors."""
        ...

    def push_screen(self, screen: Screen[Any]) -> object:
        """Show a dialog."""
        ...

    async def push_screen_wait(self, screen: Screen[ScreenResultType]) -> ScreenResultType:
        """Show a dialog and return the answer; in a worker only."""
        ...

    def switch_mode(self, mode: str) -> Awaitable[object]:
        """Go to a screen; awaited, it is mounted afterwards."""
        ...

    def call_after_refresh(self, callback: Callable[..., Any], *args: Any) -> object:
        """Call something once the screen in sight is drawn."""
        ...

    def notify(self, message: str, *, timeout: float | None = ..., markup: bool = ...) -> None:
        """Say something in a corner of the screen, for a while."""
        ...

    def exit(self) -> None:
        """End the app."""
        ...
