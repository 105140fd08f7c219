"""The base class of the main screens: header, footer, and news from the app."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, TypeVar

from textual.app import ComposeResult
from textual.dom import DOMNode
from textual.screen import Screen
from textual.worker import Worker

from tui.engine_client.link import EngineState
from tui.kit.key_footer import KeyFooter
from tui.kit.keys import name_bindings
from tui.kit.services import AppServices, services
from tui.kit.status_header import StatusHeader

Answer = TypeVar("Answer")


class AppScreen(Screen[None]):
    """A main screen. Subclasses have a ``MODE`` and a ``HELP_TEXT``, compose ``body``, and may override the hooks.

    A whole screen, listed in ``tui.shell.screens`` and with ``screen.tcss`` beside its module::

        class NotesScreen(AppScreen):
            MODE, HELP_TEXT, CSS_PATH = "notes", "What you noted.", "screen.tcss"

            def body(self) -> ComposeResult:
                yield Static(f"Notes of {self.tokmem.profile}", markup=False)

    The app is ``self.tokmem``; what a screen may ask of it is in ``tui.kit.services.AppServices``.

    It is a ``tui.kit.host.ScreenHost`` for the parts that a screen with several jobs is composed of.
    """

    MODE: ClassVar[str]
    HELP_TEXT: ClassVar[str]
    LISTS: ClassVar[tuple[type[DOMNode], ...]] = ()
    """Widgets whose bindings act on the screen (``screen.…``); the palette shows them too."""
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide"), (130, "-roomy")]  # declared without ClassVar in Textual

    def __init_subclass__(cls, **options: Any) -> None:
        """Give the bindings of each screen the ids that ``[keys]`` of the settings uses."""
        name_bindings(cls, cls.MODE if hasattr(cls, "MODE") else "chat")
        super().__init_subclass__(**options)

    def compose(self) -> ComposeResult:
        yield StatusHeader(self.MODE, self.tokmem.screen_list)
        yield from self.body()
        yield KeyFooter()

    @abstractmethod
    def body(self) -> ComposeResult:
        """Compose the widgets between header and footer."""

    @property
    def tokmem(self) -> AppServices:
        """The app, as far as this room uses it. Rooms that use more of it say so in a protocol of their own."""
        return services(self)

    async def on_mount(self) -> None:
        """Subscribe to the app's signals, and draw."""
        self.tokmem.engine_changed.subscribe(self, self._engine_news)
        self.tokmem.jobs_changed.subscribe(self, self._job_news)
        self.tokmem.store_changed.subscribe(self, self._store_news)
        self.show_header()
        await self.begin()

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """Show errors of this screen's workers as those of the app's are shown. Textual does not pass them on."""
        self.tokmem.on_worker_state_changed(event)

    async def begin(self) -> None:
        """Hook: draw for the first time."""

    def keep_unsaved(self) -> None:
        """Hook: store what is being written, because the profile is about to be left or locked, or the app to end."""

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

        def start() -> Worker[Any]:
            return self.run_worker(work, group=group, exclusive=exclusive, exit_on_error=False)

        if asks:
            self.tokmem.key_gate.asking(start)
        else:
            start()

    async def ask(self, dialog: Screen[Answer]) -> Answer:
        """Show a dialog and wait for its answer. Works only inside ``in_background``."""
        return await self.app.push_screen_wait(dialog)

    def show_header(self) -> None:
        """Draw the header again."""
        app = self.tokmem
        self.query_one(StatusHeader).show(app.profile, app.link.state, app.trainings.text, app.model)

    def on_engine_changed(self, state: EngineState) -> None:
        """Hook: the engine began, continued or ended loading, or it died."""

    def on_jobs_changed(self) -> None:
        """Hook: a training made a step, began or ended, or another queue is open."""

    def on_store_changed(self) -> None:
        """Hook: procedures, pairs or memories may have changed, here or in another program."""

    def _engine_news(self, state: EngineState) -> None:
        self.show_header()
        self.on_engine_changed(state)

    def _job_news(self, count: int) -> None:
        self.show_header()
        self.on_jobs_changed()

    def _store_news(self, revision: int) -> None:
        self.on_store_changed()
