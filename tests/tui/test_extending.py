"""A new screen and a new command of the app, each entered at one place, and everything that follows from that."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import pytest
from textual.command import CommandPalette

import tui
from docs.generate import everywhere_keys
from profiles.files.paths import AppPaths
from profiles.settings.settings import Settings
from tests.tui.driving import ready, texts, until
from tui.engine_client.client import EngineClient
from tui.kit.keys import BINDING_IDS
from tui.shell.app import TokmemApp
from tui.shell.commands import APP_COMMANDS, AppCommand
from tui.shell.help import HelpDialog
from tui.shell.screens import SCREENS, ScreenEntry

ROOM = {
    "__init__.py": '"""A room that a contributor has made."""\n',
    "screen.tcss": "#tune { color: $accent; }\n",
    "screen.py": '''
"""A screen that a contributor has made."""

from textual.binding import Binding
from textual.widgets import Static

from tui.kit.base import AppScreen


class JukeboxScreen(AppScreen):
    MODE = "jukebox"
    CSS_PATH = "screen.tcss"
    HELP_TEXT = "Plays one tune."
    BINDINGS = [Binding("y", "play", "Play the tune")]
    can_focus = True

    def body(self):
        yield Static("silence", id="tune")

    def action_play(self):
        self.query_one("#tune", Static).update("la la la")
''',
}


@pytest.fixture
def jukebox(tmp_path: Path) -> Iterator[ScreenEntry]:
    """The room's files lie below ``tui`` as those of every room do; its entry is the one line that names it."""
    folder = tmp_path / "rooms" / "jukebox"
    folder.mkdir(parents=True)
    for name, text in ROOM.items():
        (folder / name).write_text(text, encoding="utf-8")
    names = set(BINDING_IDS)
    tui.__path__.append(str(folder.parent))
    try:
        yield ScreenEntry(import_module("tui.jukebox.screen").JukeboxScreen, "Jukebox", "Plays a tune", key="f6")
    finally:
        tui.__path__.remove(str(folder.parent))
        for name in [name for name in sys.modules if name.startswith("tui.jukebox")]:
            del sys.modules[name]
        BINDING_IDS.intersection_update(names)


@pytest.fixture
def extend(paths: AppPaths, make_client: Callable[..., EngineClient], taught: None) -> Callable[..., TokmemApp]:
    """The app with more screens or commands than it has."""
    paths.state.mkdir(parents=True, exist_ok=True)
    (paths.state / "welcomed").touch()

    def extended(*, screens: tuple[ScreenEntry, ...] = (), commands: tuple[AppCommand, ...] = ()) -> TokmemApp:
        def engine(log: Path, settings: Settings) -> EngineClient:
            return make_client("--model", settings.text("model"), log=log)

        return TokmemApp(
            paths, Settings.load(paths, {}), engine, screens=(*SCREENS, *screens), commands=(*APP_COMMANDS, *commands)
        )

    return extended


async def test_a_new_screen_is_entered_once(extend: Callable[..., TokmemApp], jukebox: ScreenEntry) -> None:
    async with extend(screens=(jukebox,)).run_test(size=(120, 40)) as pilot:
        app = await ready(pilot)
        titles = {command.title: command for command in app.get_system_commands(app.screen)}
        assert {"Jukebox", "Jukebox: Play the tune"} <= set(titles)
        assert titles["Jukebox"].help == "Plays a tune (F6)"
        await pilot.click("#tab-jukebox")
        await until(pilot, lambda: isinstance(app.screen, jukebox.screen), "its tab goes there")
        await pilot.press("f2", "f6")
        await until(pilot, lambda: isinstance(app.screen, jukebox.screen), "its key goes there")
        assert {"jukebox", "jukebox.play"} <= BINDING_IDS, "both keys can be changed in the settings"
        await pilot.press("f1")
        await until(pilot, lambda: isinstance(app.screen, HelpDialog))
        assert "Plays one tune." in texts(app) and app.screen.query_one(".dialog").border_title == "Jukebox"
        keys = " ".join(texts(app, "#keys").split())
        assert "y Play the tune" in keys and "F6 Jukebox" in keys
        await pilot.press("f1", "f2")
        await pilot.press("ctrl+p")
        await until(pilot, lambda: isinstance(app.screen, CommandPalette))
        await pilot.press(*"play the tune")
        await pilot.press("enter")
        await until(pilot, lambda: "la la la" in texts(app, "#tune"), "the palette goes there and does it")
    assert ("F6", "Jukebox") in everywhere_keys((*SCREENS, jukebox), APP_COMMANDS), "the reference has its key"


async def test_a_new_command_is_entered_once(extend: Callable[..., TokmemApp]) -> None:
    counted: list[str] = []
    command = AppCommand(
        "count-procedures",
        "Count the procedures",
        "Says how many",
        lambda app: counted.append(f"{len(app.store.procedures.list())} in {app.profile}"),
        key="ctrl+k",
        is_possible=lambda app: not app.locked and not counted,
    )
    async with extend(commands=(command,)).run_test(size=(120, 40)) as pilot:
        app = await ready(pilot)
        found = {one.title: one for one in app.get_system_commands(app.screen)}
        assert found["Count the procedures"].help == "Says how many (Ctrl+K)"
        await pilot.press("f1")
        await until(pilot, lambda: isinstance(app.screen, HelpDialog))
        assert "^k Count the procedures" in " ".join(texts(app, "#keys").split())
        await pilot.press("f1", "ctrl+k")
        await until(pilot, lambda: counted == ["2 in default"], "its key")
        await pilot.press("ctrl+k")
        assert len(counted) == 1, "it is not possible any more"
        assert "Count the procedures" not in {one.title for one in app.get_system_commands(app.screen)}
        counted.clear()
        await pilot.press("ctrl+p")
        await until(pilot, lambda: isinstance(app.screen, CommandPalette))
        await pilot.press(*"count the")
        await pilot.press("enter")
        await until(pilot, lambda: counted == ["2 in default"], "the palette")
    assert "count-procedures" in BINDING_IDS
    assert ("Ctrl+K", "Count the procedures") in everywhere_keys(SCREENS, (*APP_COMMANDS, command))


def test_names_and_keys_of_screens_and_commands_are_their_own() -> None:
    keys = [entry.key for entry in SCREENS if entry.key] + [command.key for command in APP_COMMANDS if command.key]
    names = [entry.mode for entry in SCREENS] + [command.id for command in APP_COMMANDS]
    assert len(set(keys)) == len(keys) and len(set(names)) == len(names)
