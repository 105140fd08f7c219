"""A dialog that runs work that takes a while. It shows the progress, and Esc stops the work."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from textual import work
from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Button, Static
from textual.worker import Worker, WorkerState

from tokmem_desk.errors import InterruptedByUser, TokmemError
from tui.kit.bar import bar
from tui.kit.dialog import Dialog, buttons
from tui.kit.progress import Progress
from tui.kit.services import services


class BusyDialog(Dialog[list[str] | None]):
    """Closes with what the work returns, or with None if it was stopped or failed. An error is shown.

    Args:
        title: of the box.
        task: the work; it reports to the ``Progress`` that it is given.
    """

    def __init__(self, title: str, task: Callable[[Progress], Awaitable[list[str]]]) -> None:
        super().__init__(title)
        self._work = task
        self._progress = Progress(self._told)
        self._stopping = False

    def body(self) -> ComposeResult:
        yield Static("", id="words", markup=False)
        yield Static(bar(0.0), id="bar")
        yield buttons(("cancel", "Esc Stop"))

    def on_mount(self) -> None:
        """Begin."""
        self._run()

    @work(exit_on_error=False)
    async def _run(self) -> None:
        try:
            self.dismiss(await self._work(self._progress))
        except InterruptedByUser as caught:
            self.app.notify(caught.message, markup=False)
            self.dismiss(None)
        except TokmemError as caught:
            self.dismiss(None)
            services(self).show_error(caught)

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """Close the box if the work ended with an unexpected error; the base class then shows that."""
        if event.state is WorkerState.ERROR:
            self.dismiss(None)

    def _told(self, words: str, share: float | None) -> None:
        self.call_later(self._show, words, share)

    def _show(self, words: str, share: float | None) -> None:
        if self._stopping:
            return
        self.query_one("#words", Static).update(Content(words))
        place = self.query_one("#bar", Static)
        place.visible = share is not None
        place.update(bar(share or 0.0))

    @property
    def leaves_for_screens(self) -> bool:
        """The work goes on."""
        return False

    async def on_button_pressed(self, event: Button.Pressed) -> None:
        """Stop."""
        await self.action_leave()

    async def action_leave(self) -> None:  # type: ignore[override]  # Textual awaits actions that are coroutines
        """Stop; the box stays until that has happened."""
        self._show("Stopping …", None)
        self._stopping = True
        await self._progress.stop()
