"""The Textual app: owns the open profile, the engine link and the training job; the screens draw them.

Built from explicit arguments. Loads no torch: the model lives in the engine's process, which is started after the
first frame.
"""

from __future__ import annotations

import time
import traceback
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual import work
from textual.app import SystemCommand
from textual.binding import Binding, BindingType
from textual.filter import LineFilter
from textual.screen import Screen
from textual.signal import Signal
from textual.worker import Worker, WorkerState

from profiles.files.paths import AppPaths
from profiles.settings.settings import Settings
from tokmem_desk.errors import TokmemError
from tui.chat.screen import ChatScreen
from tui.kit.base import AppScreen
from tui.kit.confirm import ConfirmDialog
from tui.kit.drawn_lines import VisibleLines, VisiblePrints
from tui.kit.error_dialogs import shows_errors
from tui.kit.failure import FailureDialog
from tui.kit.keys import BINDING_IDS, usable_keymap
from tui.kit.themes import DARK, LIGHT, muted_of
from tui.models.screen import ModelsScreen
from tui.procedures.screen import ProceduresScreen
from tui.process.anew import Anew
from tui.profiles.locked import LockedScreen
from tui.profiles.screen import ProfilesScreen
from tui.shared.overview import changed_words, procedure_lines
from tui.shell import debug_report
from tui.shell.commands import commands
from tui.shell.engine_controller import EngineDesk, EngineFactory
from tui.shell.help import HelpDialog, keys_in_force
from tui.shell.report import ReportDialog
from tui.shell.settings import SettingsScreen
from tui.shell.welcome import WelcomeScreen
from tui.training.screen import TrainScreen

OUTSIDE_SECONDS = 2.0
"""How often to look whether another program changed the profile."""

KEPT_ERRORS = 10

EXAMPLES = 8
"""How many procedures an empty chat shows with an example."""


class TokmemApp(EngineDesk):
    """See the module.

    Args:
        paths: where everything is.
        settings: what is in force.
        engine: makes the engine's client.
        profile: the profile to open; the active one unless named.
        began: what the process before this one left; its profile is opened.
        starts_anew: whoever runs the app heeds ``anew`` afterwards.
    """

    TITLE = "tokmem-desk"
    CSS_PATH = "app.tcss"
    MODES: ClassVar[dict[str, Any]] = {
        "chat": ChatScreen,
        "procedures": ProceduresScreen,
        "train": TrainScreen,
        "profiles": ProfilesScreen,
        "models": ModelsScreen,
        "settings": SettingsScreen,
        "welcome": WelcomeScreen,
        "locked": LockedScreen,
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f2", "switch_mode('chat')", "Chat", show=False, priority=True, id="chat"),
        Binding("f3", "switch_mode('procedures')", "Procedures", show=False, priority=True, id="procedures"),
        Binding("f4", "switch_mode('train')", "Train", show=False, priority=True, id="train"),
        Binding("f5", "switch_mode('profiles')", "Profiles", show=False, priority=True, id="profiles"),
        Binding("f8", "switch_mode('models')", "Models", show=False, priority=True, id="models"),
        Binding("f9", "switch_mode('settings')", "Settings", show=False, priority=True, id="settings"),
        Binding("f1", "help", "Help", key_display="F1", priority=True, id="help"),
        Binding("f12", "report", "Debug report", show=False, priority=True, id="report"),
        Binding("ctrl+l", "lock", "Lock", show=False, priority=True, id="lock"),
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
        began: Anew | None = None,
        starts_anew: bool = False,
    ) -> None:
        super().__init__(engine)
        self.starts_anew = starts_anew
        self.began_anew = began is not None
        self._key_given = None if began is None else began.key
        self.own_engine = self._key_given is not None
        self.paths = paths
        self.settings = settings
        self.errors: deque[str] = deque(maxlen=KEPT_ERRORS)
        """The last unexpected errors, with tracebacks."""
        self._lasting: dict[str, str] = {}
        """What goes on going wrong by itself, by what was being done: each is shown once, until that goes well."""
        self._profile_wanted = profile if began is None else began.profile
        self.jobs_changed: Signal[int] = Signal(self, "jobs")
        self.store_changed: Signal[int] = Signal(self, "store")
        self.register_theme(DARK)
        self.register_theme(LIGHT)
        self._visible_lines = VisibleLines()
        for console in (self.console, self.error_console):
            console.push_render_hook(VisiblePrints())

    def get_line_filters(self) -> Sequence[LineFilter]:
        """What every line of every widget goes through: what a text holds is shown, never obeyed."""
        return [self._visible_lines, *super().get_line_filters()]

    def on_mount(self) -> None:
        """Open the profile, show the chat, and only then start the engine."""
        self.theme = self._theme_wanted()
        try:
            self.prepare_engine()
            self.open_first_profile(self._profile_wanted, self._key_given)
            self._key_given = None
        except TokmemError as caught:
            self._refuse_to_start(caught)
            return
        self.set_interval(OUTSIDE_SECONDS, self._look_outside)

    @shows_errors
    def end_welcome(self, example: str = "") -> None:
        """Go to the chat, and not through the first steps again.

        Args:
            example: what to put into the prompt.
        """
        self._note_welcomed()
        self.switch_mode("chat")
        if example:
            self.call_after_refresh(self._offer, example)

    def _offer(self, text: str) -> None:
        if isinstance(self.screen, ChatScreen):
            self.screen.offer(text)

    def _theme_wanted(self) -> str:
        """The theme of the settings; the app's own one where nobody has chosen, or an unknown one was."""
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
        """Put the settings in force: colours and keys at once, another engine as soon as this one is idle."""
        self.theme = self._theme_wanted()
        keymap, problems = usable_keymap(self.settings.key_bindings)
        self.set_keymap(keymap)
        for problem in problems:
            self.notify(problem, title=str(self.paths.config_file), severity="warning", timeout=15, markup=False)
        self._care_for_engine()

    def holds_unsaved(self) -> bool:
        """A temporary chat, or a download that runs."""
        chat = self.screen if isinstance(self.screen, ChatScreen) else None
        downloads = self.pull is not None and self.pull.running
        return downloads or (chat is not None and chat.session.temporary)

    def announce_store(self) -> None:
        """Tell every screen that procedures, pairs or memories may differ."""
        self._revision = self.store.revision
        self.store_changed.publish(self._revision)

    def _look_outside(self) -> None:
        self._care_for_engine()
        if self.locked:
            return
        try:
            self._lock_when_idle()
            self._start_anew_when_quiet()
            self.trainings.refresh()
            self._go_on_training()
            if self.store.revision != self._revision:
                self.announce_store()
        except TokmemError as caught:  # of the disk, as a rule, and of every look from now on
            self._show_lasting("look", caught)
        else:
            self._lasting.pop("look", None)

    def examples(self) -> list[tuple[str, str, bool]]:
        """Of each enabled procedure: name, of the first ``EXAMPLES`` the input of a pair, whether it has a memory."""
        lines = [line for line in procedure_lines(self.store, self.fingerprint) if line.record.enabled]
        found: list[tuple[str, str, bool]] = []
        for line in lines:
            first = self.store.first_pair(line.record.name) if len(found) < EXAMPLES else None
            found.append((line.record.name, "" if first is None else first.input, line.memory is not None))
        return found

    def recallable(self) -> list[str]:
        """The procedures that can answer now."""
        return [name for name, _, trained in self.examples() if trained]

    def changed_words(self, name: str) -> str:
        """``3 pairs changed since training``, or nothing."""
        fingerprint = self.fingerprint
        changed = self.store.pairs_changed(name, fingerprint) if fingerprint else None
        return f"{changed_words(changed)} changed since training" if changed else ""

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

    # Training

    @property
    def preset(self) -> str:
        """How long training takes its time unless chosen otherwise."""
        return self.settings.text("preset")

    @shows_errors
    def train(self, names: Sequence[str], preset: str | None = None, *, show: bool = True) -> None:
        """Put trainings into the queue, and show that.

        Args:
            names: of the procedures.
            preset: how long to take; the settings' one without it.
            show: go to the Train screen.
        """
        self.trainings.add(
            names,
            preset or self.preset,
            span=self.settings.whole("span") or None,
            router=self.settings.text("router"),
        )
        self.work_off()
        if show:
            self.switch_mode("train")

    @work(group="train", exit_on_error=False)
    async def work_off(self, *, asked: bool = True) -> None:
        """Train what is queued, unless that is being done. Goes on whatever screen or profile is in sight.

        Args:
            asked: the person has just wished for it, and is told of what goes wrong though it went wrong before.
        """
        trainings, profile = self.trainings, self.profile
        if asked:
            self._lasting.pop("train", None)
        try:
            if not await trainings.work():
                return
            self._lasting.pop("train", None)
        except TokmemError as caught:  # the queue stays; a profile that was left is closed all the same
            self._show_lasting("train", caught)
        if trainings is not self.trainings or self.locked:
            await self.end_left_profile(profile)
            if not self.locked:
                self.notify(f"The training in {profile} has ended. F5 goes there.", markup=False)
                self.work_off(asked=False)
            return
        self.announce_store()

    def _go_on_training(self) -> None:
        """Take up what waits in the queue, as after a restart; not before the engine is there."""
        if not self.locked and self.link.state.phase == "ready" and self.trainings.may_work:
            self.work_off(asked=False)

    def _job_news(self) -> None:
        self.jobs_changed.publish(len(self.trainings.jobs))

    # Errors

    def show_error(self, error: TokmemError) -> None:
        """Say what happened, what is safe and what to do; the app lives on."""
        self.errors.append(f"{time.strftime('%H:%M:%S')} {type(error).__name__}: {error}")
        self.push_screen(FailureDialog(error))

    def _show_lasting(self, doing: str, error: TokmemError) -> None:
        """Show an error of what is tried again and again without the person, unless it is the one of the last time."""
        if self._lasting.get(doing) != str(error):
            self._lasting[doing] = str(error)
            self.show_error(error)

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """No error of a worker is dropped: ours are shown as they are, others as what they are, a fault of the app."""
        error = event.worker.error
        if event.state is not WorkerState.ERROR or error is None:
            return
        if isinstance(error, TokmemError):
            self.show_error(error)
            return
        self.errors.append("".join(traceback.format_exception(error)))
        fault = TokmemError(
            f"The app made a mistake: {type(error).__name__}: {error}",
            next_step="F12 shows a report that you can copy.",
        )
        self.push_screen(FailureDialog(fault))

    # Keys

    def get_key_display(self, binding: Binding) -> str:
        """Keys of the top row as they are printed on them."""
        shown = super().get_key_display(binding)
        return shown.upper() if shown[:1] == "f" and shown[1:].isdigit() else shown

    def action_help(self) -> None:
        """The keys for where the focus is."""
        if isinstance(self.screen, HelpDialog):
            self.screen.dismiss(None)
            return
        screen = self.screen
        title = screen.HELP_TITLE if isinstance(screen, AppScreen) else "Keys"
        text = screen.HELP_TEXT if isinstance(screen, AppScreen) else "These keys work here."
        self.push_screen(HelpDialog(title, text, keys_in_force(screen)))

    @shows_errors
    def action_lock(self) -> None:
        """Lock the open profile until its passphrase is typed."""
        if self.store.locked:
            self.lock_now()
        else:
            self.notify("This profile has no passphrase. F5 is the place to give it one.")

    def action_report(self) -> None:
        """The debug report."""
        if not isinstance(self.screen, ReportDialog):
            self.push_screen(ReportDialog(debug_report.report(self)))

    async def action_quit(self) -> None:
        """Quit; a running training is asked about once, a second Ctrl+Q quits at once."""
        if hasattr(self, "trainings") and self.trainings.working and not isinstance(self.screen, ConfirmDialog):
            self._ask_then_quit()
        else:
            await self._quit()

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
            self.keep_unsaved()
        self.exit()

    async def on_unmount(self) -> None:
        """End the engine and close the profile, however the app came to its end."""
        if hasattr(self, "link"):
            await self.link.client.close()
            self.close_stores()
            if self.pull is not None:
                await self.pull.close()

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Everything that can be done, for the palette."""
        yield from commands(
            self, screen, run_on=self.run_on, show_help=self.action_help, show_report=self.action_report
        )

    @work(group="elsewhere", exit_on_error=False)
    async def run_on(self, mode: str, action: str) -> None:
        """Go to a screen and do something there, where it can be done now."""
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


BINDING_IDS.update(one.id for one in TokmemApp.BINDINGS if isinstance(one, Binding) and one.id is not None)

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
