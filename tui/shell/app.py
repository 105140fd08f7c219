"""The Textual app: puts the controllers together, and gives the screens what they may use of them.

Built from explicit arguments. Loads no torch: the model lives in the engine's process, which is started after the
first frame.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual import events, work
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingsMap, BindingType
from textual.filter import LineFilter
from textual.screen import Screen
from textual.signal import Signal
from textual.worker import Worker

from profiles.files.paths import AppPaths
from profiles.settings.settings import Settings
from profiles.store.store import ProfileStore
from tokmem_desk.errors import TokmemError
from tui.engine_client.link import EngineLink, EngineState
from tui.kit.confirm import ConfirmDialog
from tui.kit.dialog import Dialog
from tui.kit.drawn_lines import VisibleLines, VisiblePrints
from tui.kit.failure import FailureDialog
from tui.kit.key_gate import KeyDone, KeyGate, asks
from tui.kit.keys import BINDING_IDS, usable_keymap
from tui.kit.stylesheet import KeptStylesheet
from tui.kit.themes import DARK, LIGHT, muted_of
from tui.procedures.screen import ProceduresScreen
from tui.process.restart import Handover
from tui.profiles.locked import LockedScreen
from tui.shared.overview import procedure_lines
from tui.shell.commands import APP_COMMANDS, AppCommand, command_bindings
from tui.shell.download_controller import DownloadController
from tui.shell.engine_controller import EngineController, EngineFactory
from tui.shell.errors import ErrorPresenter
from tui.shell.first_screen import FirstScreen
from tui.shell.idle_clock import IdleClock
from tui.shell.lock_controller import LockController
from tui.shell.mode_screens import ModeScreens
from tui.shell.open_profiles import OpenProfiles
from tui.shell.palette import palette
from tui.shell.passphrase_controller import PassphraseController
from tui.shell.profile_controller import ProfileController
from tui.shell.restart_controller import RestartController
from tui.shell.screens import SCREENS, ScreenEntry, screen_bindings
from tui.shell.session import Session
from tui.shell.training_controller import TrainingController
from tui.training.queue import TrainQueue

OUTSIDE_SECONDS = 2.0
"""How often to look for changes by other programs, and for what is due by the clock."""

HERE_WHILE_LOCKED = frozenset({"quit", "command_quit", "help_quit"})
"""Actions of the app that need no profile."""

EXAMPLES = 8
"""How many procedures an empty chat shows with an example."""


class TokmemApp(App[None]):
    """See the module.

    Args:
        paths: where everything is.
        settings: what is in force.
        engine: makes the engine's client.
        profile: the profile to open; the active one unless named.
        handover: what the process before this one left; its profile is opened.
        restarts_enabled: whoever runs the app reads ``restarts.wish`` afterwards, and restarts the program.
        screens: that there are.
        commands: of the app itself.
    """

    TITLE = "tokmem-desk"
    CSS_PATH = "app.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+p", "command_palette", "Menu", priority=True, system=True),
        Binding("ctrl+q", "quit", "Quit", show=False, priority=True),
    ]
    COMMAND_PALETTE_DISPLAY = "^p"

    def __init__(
        self,
        paths: AppPaths,
        settings: Settings,
        engine: EngineFactory,
        profile: str | None = None,
        *,
        handover: Handover | None = None,
        restarts_enabled: bool = False,
        screens: tuple[ScreenEntry, ...] = SCREENS,
        commands: tuple[AppCommand, ...] = APP_COMMANDS,
    ) -> None:
        super().__init__()
        self.stylesheet = KeptStylesheet(variables=self.get_css_variables())
        self.screen_list = screens
        self.command_list = commands
        self.own_bindings = [*screen_bindings(screens), *command_bindings(commands)]
        self._add_own_bindings()
        self.is_restarted = handover is not None
        """Whether a process before this one had the same terminal or window."""
        self._profile_wanted = profile if handover is None else handover.profile
        self._key_given = None if handover is None else handover.key
        self.engine_changed: Signal[EngineState] = Signal(self, "engine")
        self.jobs_changed: Signal[int] = Signal(self, "jobs")
        self.store_changed: Signal[int] = Signal(self, "store")
        self.idle_clock = IdleClock()
        self.key_gate = KeyGate(self, self._hand_on)
        self.errors = ErrorPresenter(self.push_screen)
        self.mode_screens = ModeScreens(
            self, {**{entry.mode: entry.screen for entry in screens}, "locked": LockedScreen}, self.errors.forget
        )
        self.session = Session(paths, settings, self.store_changed)
        self.engine = EngineController(
            self.session,
            engine,
            self,
            self.errors,
            self._engine_news,
            lambda: self.restarts.wish is None,
            exclusive=self._key_given is not None,
        )
        self.downloads = DownloadController(self.session, self.engine, self, self.errors, Signal(self, "pull"))
        self.open_profiles = OpenProfiles(self.session, self.engine, self, self._job_news, self.apply_settings)
        self.restarts = RestartController(
            self.session,
            self.open_profiles,
            self.engine,
            self.mode_screens,
            self.idle_clock,
            self,
            lambda: self.downloads.is_running,
            enabled=restarts_enabled,
        )
        self.first_screen = FirstScreen(self.session, self.engine, self, self.errors)
        self.profiles = ProfileController(
            self.session, self.open_profiles, self.engine, self.mode_screens, self.restarts, self.first_screen, self
        )
        self.passphrases = PassphraseController(self.session, self.open_profiles, self.engine, self.mode_screens, self)
        self.locks = LockController(
            self.session,
            self.open_profiles,
            self.engine,
            self.mode_screens,
            self.restarts,
            self.first_screen,
            self.idle_clock,
            self,
        )
        self.training = TrainingController(self.session, self.engine, self, self.errors, self.profiles.end_left)
        self.register_theme(DARK)
        self.register_theme(LIGHT)
        self._visible_lines = VisibleLines()
        for console in (self.console, self.error_console):
            console.push_render_hook(VisiblePrints())

    # What the rooms see, see ``tui.kit.services``

    @property
    def paths(self) -> AppPaths:
        """Where everything is."""
        return self.session.paths

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self.session.settings

    @property
    def profile(self) -> str:
        """Name of the open profile, also while it is locked."""
        return self.session.profile

    @property
    def locked(self) -> bool:
        """Whether no profile's data can be reached now; ``store`` is closed then."""
        return self.session.locked

    @property
    def store(self) -> ProfileStore:
        """The open profile's data."""
        return self.session.store

    @property
    def trainings(self) -> TrainQueue:
        """The open profile's queue of trainings."""
        return self.session.trainings

    @property
    def link(self) -> EngineLink:
        """The way to the engine."""
        return self.engine.link

    @property
    def model(self) -> str:
        """The backbone as the settings name it."""
        return self.engine.model

    @property
    def fingerprint(self) -> str | None:
        """Of the loaded backbone; before that, of the one that was used last."""
        return self.engine.fingerprint

    def engine_beside(self, model: str, changed: Callable[[EngineState], None]) -> EngineLink:
        """The way to an engine for another model, beside the app's own. Whoever asked for it closes its client.

        Raises:
            TokmemError: there can be none.
        """
        return self.engine.beside(model, changed)

    def load_engine(self) -> None:
        """Load the model, asking before any download."""
        self.engine.load()

    def train(self, names: Sequence[str], preset: str | None = None, *, show: bool = True) -> None:
        """Put trainings into the queue, and show that.

        Args:
            names: of the procedures.
            preset: how long to take; the settings' one without it.
            show: go to the Train screen.
        """
        self.training.train(names, preset, show=show)

    def improve(self, names: Sequence[str]) -> None:
        """Queue the improvement of memories from verdicts on their answers, and show that.

        Args:
            names: of the procedures.
        """
        self.training.train(names, improve=True)

    def announce_store(self) -> None:
        """Tell every screen that procedures, pairs or memories may differ."""
        self.session.announce_store()

    def show_error(self, error: TokmemError) -> None:
        """Say what happened, what is safe and what to do; the app lives on."""
        self.errors.show(error)

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """No error of a worker is dropped. Screens and dialogs hand those of their workers on."""
        self.errors.show_worker_error(event)

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Filters for every drawn line: control characters in texts are drawn as symbols, not sent to the terminal."""
        return [self._visible_lines, *super().get_line_filters()]

    def on_mount(self) -> None:
        """Open the profile, show the chat, and only then start the engine."""
        self.theme = self._theme_wanted()
        try:
            self.engine.prepare()
            self.profiles.open_first(self._profile_wanted, self._key_given)
            self._key_given = None
        except TokmemError as caught:
            self._refuse_to_start(caught)
            return
        self.set_interval(OUTSIDE_SECONDS, self._look_outside)

    def _theme_wanted(self) -> str:
        """The theme of the settings; the app's own theme if none was chosen there, or one that does not exist."""
        row = next(row for row in self.settings.show() if row.key == "theme")
        chosen = str(row.value)
        return chosen if row.source != "default" and chosen in self.available_themes else DARK.name

    def get_css_variables(self) -> dict[str, str]:
        """The theme's colours and one of ours, ``$muted``: Textual's ``$text-muted`` cannot colour a part of a text."""
        variables = super().get_css_variables()
        return {**variables, "muted": muted_of(variables)}

    @work(exit_on_error=False)
    async def _refuse_to_start(self, error: TokmemError) -> None:
        await self.push_screen_wait(FailureDialog(error, "Nothing was changed."))
        self.exit(return_code=error.exit_code, message=str(error))

    # Settings

    def apply_settings(self) -> None:
        """Apply the settings: colours and keys at once, another engine as soon as the present one is idle."""
        self.theme = self._theme_wanted()
        keymap, problems = usable_keymap(self.settings.key_bindings)
        self.set_keymap(keymap)
        for problem in problems:
            self.notify(problem, title=str(self.paths.config_file), severity="warning", timeout=15, markup=False)
        self.engine.tend()

    def _look_outside(self) -> None:
        """Do what is due by the clock, and take in what another program has changed. Runs every ``OUTSIDE_SECONDS``."""
        self.engine.tend()
        if self.link.state.phase == "loading":
            self.engine_changed.publish(self.link.state)  # how long it has been loading
        if self.locked:
            return
        try:
            self.locks.lock_when_idle()
            self.restarts.restart_when_quiet()
            self.trainings.refresh()
            self.training.resume()
            self.session.announce_outside_changes()
        except TokmemError as caught:  # usually of the disk, and then of every look from now on
            self.errors.show_once("look", caught)
        else:
            self.errors.settle("look")

    def _engine_news(self, state: EngineState) -> None:
        self.engine_changed.publish(state)
        self.training.resume()

    def _job_news(self) -> None:
        self.jobs_changed.publish(len(self.trainings.jobs))

    async def on_event(self, event: events.Event) -> None:
        """Note when somebody last touched a key or the mouse; keys and pastes go through the gate."""
        self.idle_clock.note(event)
        if isinstance(event, events.Key | events.Paste) and not event.is_forwarded:
            await self.key_gate.take(event)
        else:
            await super().on_event(event)

    async def _hand_on(self, event: events.Key | events.Paste) -> None:
        await super().on_event(event)

    async def on_key_done(self, message: KeyDone) -> None:
        """A key has been dealt with; the next may come."""
        await self.key_gate.done(message)

    def push_screen(self, screen: Any, *args: Any, **options: Any) -> Any:
        """Show a screen above this one. It may be the dialog that keys wait for."""
        shown = super().push_screen(screen, *args, **options)
        self.key_gate.note_screen(self.screen)
        return shown

    def examples(self) -> list[tuple[str, str, bool]]:
        """Of each enabled procedure: name, of the first ``EXAMPLES`` the input of a pair, whether it has a memory."""
        lines = [line for line in procedure_lines(self.store, self.fingerprint) if line.record.enabled]
        examples: list[tuple[str, str, bool]] = []
        for line in lines:
            first = self.store.pairs.first(line.record.name) if len(examples) < EXAMPLES else None
            examples.append((line.record.name, "" if first is None else first.input, line.memory is not None))
        return examples

    def recallable(self) -> list[str]:
        """The procedures that can answer now."""
        return [name for name, _, trained in self.examples() if trained]

    def open_procedure(self, name: str) -> None:
        """Show one procedure."""
        self.switch_mode("procedures")
        screen = self.screen
        if isinstance(screen, ProceduresScreen):
            self.call_after_refresh(screen.show_procedure, name)

    async def import_memories(
        self, path: Path, taken: Collection[str], changed: Callable[[str | None], object]
    ) -> None:
        """Take the memories of a bank in, after a look at what is in the file.

        Args:
            path: the file or folder.
            taken: names of the profile's procedures.
            changed: called once they are there, with the first one's name.

        Raises:
            TokmemError: nothing was imported.
        """
        # Late: this loads numpy and the ciphers, which the first frame can do without.
        from tui.banks.from_screen import import_memories

        await import_memories(self, self, path, taken, changed)

    async def export_memories(self, selected: str, trained: Sequence[str]) -> None:
        """Write memories into a bank for somebody else, as the person wishes.

        Args:
            selected: the procedure under the cursor.
            trained: names that can be exported.

        Raises:
            TokmemError: nothing was written.
        """
        from tui.banks.from_screen import export_memories

        await export_memories(self, self, selected, trained)

    # Keys

    def get_key_display(self, binding: Binding) -> str:
        """Keys of the top row as they are printed on them."""
        shown = super().get_key_display(binding)
        return shown.upper() if shown[:1] == "f" and shown[1:].isdigit() else shown

    def _add_own_bindings(self) -> None:
        """Bind the keys of screens and commands, and let the key of the menu come after them in the footer."""
        bound = self._bindings.key_to_bindings
        menu = {key: bound.pop(key) for key in list(bound) if bound[key][0].action == "command_palette"}
        self._bindings = BindingsMap.merge(
            [self._bindings, BindingsMap(self.own_bindings), BindingsMap.from_keys(menu)]
        )
        BINDING_IDS.update(binding.id for binding in self.own_bindings if binding.id is not None)

    async def action_command(self, name: str) -> None:
        """Run a command of the app, by its id."""
        result = self._command(name).run(self)
        if inspect.isawaitable(result):
            await result

    def _command(self, name: object) -> AppCommand:
        return next(command for command in self.command_list if command.id == name)

    async def action_switch_mode(self, mode: str) -> None:
        """Go to a screen, and close what lies above this one, as far as nothing is lost by it."""
        while isinstance(self.screen, Dialog) and self.screen.leaves_for_screens:
            closed = self.screen
            closed.action_leave()
            if self.screen is closed:  # it refused
                break
        await super().action_switch_mode(mode)

    async def action_quit(self) -> None:
        """Quit; while a training runs, ask first. Ctrl+Q during the question quits at once."""
        if isinstance(self.screen, Dialog) and not self.screen.may_quit():
            return
        if self.session.is_training and not isinstance(self.screen, ConfirmDialog):
            self._ask_then_quit()
        else:
            await self._quit()

    @asks
    @work(exit_on_error=False)
    async def _ask_then_quit(self) -> None:
        question = ConfirmDialog(
            "A training is running",
            "It is kept as far as it has come, and goes on by itself when the app is opened again.",
            "Quit",
            "Stay",
        )
        if await self.push_screen_wait(question):
            await self._quit()

    async def _quit(self) -> None:
        if not self.locked:
            self.mode_screens.keep_unsaved()
        self.exit()

    async def on_unmount(self) -> None:
        """End the engine and close the profile, however the app came to its end."""
        await self.engine.close()
        self.open_profiles.close_all()
        await self.downloads.close()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Ask commands whether they are possible; while no profile is open, allow no other action but quitting."""
        if action == "command":
            return self._command(parameters[0]).is_possible(self)
        if self.locked and action not in HERE_WHILE_LOCKED:
            return False
        return super().check_action(action, parameters)

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Everything that can be done, for the palette."""
        screens = () if self.locked else self.screen_list
        commands = [command for command in self.command_list if command.is_possible(self)]
        yield from palette(self, screen, screens, commands, run=lambda command: command.run(self), run_on=self.run_on)

    @work(group="elsewhere", exit_on_error=False)
    async def run_on(self, mode: str, action: str) -> None:
        """Go to a screen and run one of its actions, or say that it is not possible now."""
        if self.locked:  # also while a profile is being rewritten: no screen has anything to draw
            self.notify("The profile is closed now; try again in a moment.")
            return
        await self.switch_mode(mode)
        screen = self.screen
        name = action.removeprefix("screen.")
        if screen.check_action(name.partition("(")[0], ()):
            await self.run_action(name, screen)
        else:
            self.notify("That cannot be done there now.")


if TYPE_CHECKING:
    from tui.chat.services import ChatServices
    from tui.models.services import ModelServices
    from tui.procedures.services import ProcedureServices
    from tui.profiles.services import ProfileServices
    from tui.shell.services import ShellServices
    from tui.training.services import TrainingServices

    def _offered(
        app: TokmemApp,
    ) -> tuple[ChatServices, ModelServices, ProcedureServices, ProfileServices, ShellServices, TrainingServices]:
        """Here the type checker says what a room is promised and the app does not have."""
        return app, app, app, app, app, app
