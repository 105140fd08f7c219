"""The list of the app's own commands. A new one is entered here and nowhere else.

The palette, the keys that work everywhere, the help and the reference are made from it. A command of one screen is a
binding of that screen instead: its action, its words and, in ``check_action``, where it is possible.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from textual.binding import Binding
from textual.geometry import Size

from profiles.files.atomic import storage_error
from tokmem_desk.errors import TokmemError
from tui.kit.base import AppScreen
from tui.kit.services import AppServices
from tui.shell.debug_report import report
from tui.shell.errors import ErrorPresenter
from tui.shell.help import HelpDialog, keys_in_force
from tui.shell.lock_controller import LockController
from tui.shell.report import ReportDialog
from tui.shell.screens import ScreenEntry
from tui.shell.screenshot import Pictured, save_screenshot
from tui.shell.stage import Stage


class CommandApp(Stage, AppServices, Pictured, Protocol):
    """What the commands use of the app."""

    errors: ErrorPresenter
    locks: LockController

    @property
    def size(self) -> Size:
        """Of the terminal."""
        ...

    @property
    def screen_list(self) -> tuple[ScreenEntry, ...]:
        """The screens of the app."""
        ...

    @property
    def own_bindings(self) -> Sequence[Binding]:
        """The keys that work everywhere."""
        ...

    def action_change_theme(self) -> None:
        """Let the person choose a theme."""
        ...

    async def action_quit(self) -> None:
        """End the app, after a question while a training runs."""
        ...


def while_open(app: CommandApp) -> bool:
    """Possible while a profile is open."""
    return not app.locked


def always(app: CommandApp) -> bool:
    """Possible at any time."""
    return True


@dataclass(frozen=True, slots=True)
class AppCommand:
    """Something that the app does, whatever screen is in sight."""

    id: str
    """Names it in ``[keys]`` of the settings, if it has a key."""
    title: str
    """In the palette, the help and the reference."""
    summary: str
    """Below the title, in the palette."""
    run: Callable[[CommandApp], Any]
    """Does it; what it returns is awaited if it can be."""
    key: str = ""
    """Does it from everywhere."""
    in_footer: bool = False
    """Whether the key stands at the bottom of every screen."""
    is_possible: Callable[[CommandApp], bool] = while_open
    """Whether it can be done now; otherwise its key does nothing, and the palette leaves it out."""


def show_help(app: CommandApp) -> None:
    """Show the keys for where the focus is; leave the help where it is open."""
    screen = app.screen
    if isinstance(screen, HelpDialog):
        screen.dismiss(None)
        return
    title = next((entry.title for entry in app.screen_list if isinstance(screen, entry.screen)), "Keys")
    text = screen.HELP_TEXT if isinstance(screen, AppScreen) else "These keys work here."
    app.push_screen(HelpDialog(title, text, keys_in_force(screen, app.own_bindings)))


def show_report(app: CommandApp) -> None:
    """Show the debug report, unless it is open."""
    if not isinstance(app.screen, ReportDialog):
        app.push_screen(ReportDialog(report(app, app.size, app.errors.recent)))


def screenshot(app: CommandApp) -> None:
    """Write what is on the screen to a file in the working folder, and say where it is."""
    try:
        path = save_screenshot(app, Path.cwd())
    except (TokmemError, OSError) as caught:  # OSError: the working folder was deleted
        app.show_error(caught if isinstance(caught, TokmemError) else storage_error("No picture was written", caught))
        return
    app.notify(f"Saved to {path}\nAnyone who can read the file sees what was on the screen.", timeout=12, markup=False)


def lock(app: CommandApp) -> None:
    """Lock the open profile until its passphrase is typed."""
    if not app.store.locked:
        app.notify("This profile has no passphrase. F5 is the place to give it one.")
        return
    try:
        app.locks.lock()
    except TokmemError as caught:
        app.show_error(caught)


APP_COMMANDS: tuple[AppCommand, ...] = (
    AppCommand("help", "Help", "Keys for where the focus is", show_help, key="f1", in_footer=True),
    AppCommand("report", "Debug report", "Versions, paths, last errors", show_report, key="f12"),
    AppCommand("lock", "Lock", "Close the profile until its passphrase is typed", lock, key="ctrl+l"),
    AppCommand("load", "Load the model", "Start the engine now", lambda app: app.load_engine()),
    AppCommand("screenshot", "Screenshot", "A picture of the screen, as a file (SVG)", screenshot, is_possible=always),
    AppCommand("theme", "Change the theme", "Colours", lambda app: app.action_change_theme()),
    # Its key is a binding of the app itself: nobody can take it away.
    AppCommand("quit", "Quit", "Ctrl+Q", lambda app: app.action_quit(), is_possible=always),
)


def command_bindings(commands: tuple[AppCommand, ...]) -> list[Binding]:
    """The keys of commands, which work everywhere."""
    return [
        Binding(
            command.key,
            f"command('{command.id}')",
            command.title,
            show=command.in_footer,
            priority=True,
            id=command.id,
        )
        for command in commands
        if command.key
    ]
