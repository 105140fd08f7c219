"""The palette holds every action of every screen; [keys] gives each another key, and quit stays."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from textual.command import CommandList

from profiles.files.paths import AppPaths
from tests.tui.driving import ask, ready, until
from tui.kit.failure import FailureDialog
from tui.kit.keys import BINDING_IDS, binding_id, usable_keymap
from tui.models.screen import ModelsScreen
from tui.procedures.import_pairs import ImportDialog
from tui.procedures.screen import ProceduresScreen
from tui.shell.app import TokmemApp
from tui.shell.palette import actions_of
from tui.shell.screens import SCREENS

MakeApp = Callable[..., TokmemApp]


async def test_every_action_of_every_screen_is_there(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await ready(pilot)
        titles = {command.title for command in app.get_system_commands(app.screen)}
        for entry in SCREENS:
            assert entry.title in titles
            if entry.mode != "chat":
                wanted = {f"{entry.title}: {binding.description}" for binding in actions_of(entry.screen)}
                assert wanted <= titles, wanted - titles
        assert {"Procedures: Import", "Profiles: Erase", "Models: Unload", "Settings: Reset"} <= titles


async def test_an_action_of_another_screen_goes_there(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await ready(pilot)
        commands = {command.title: command for command in app.get_system_commands(app.screen)}
        commands["Procedures: Import"].callback()
        await until(pilot, lambda: isinstance(app.screen, ImportDialog), "there, and done")
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, ProceduresScreen))


async def test_what_cannot_be_done_there_is_said(make_app: MakeApp) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await ready(pilot)
        commands = {command.title: command for command in app.get_system_commands(app.screen)}
        commands["Models: Pause"].callback()
        await until(pilot, lambda: isinstance(app.screen, ModelsScreen))
        await until(pilot, lambda: "cannot be done there now" in str([*app._notifications]), "said")


async def test_a_screenshot_says_where_it_is_and_fetches_nothing(
    make_app: MakeApp, taught: None, notices: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    monkeypatch.chdir(folder)
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await ready(pilot)

        async def take() -> None:
            await pilot.press("ctrl+p", *"screenshot")
            palette = app.screen
            await until(pilot, lambda: palette.query_one(CommandList).option_count == 1, "found")
            await pilot.press("enter")
            await until(pilot, lambda: app.screen is not palette)

        await ask(pilot, "I need to buy milk")
        for count in (1, 2):
            await take()
            await until(pilot, lambda count=count: len([*folder.iterdir()]) == count)
        picture = min(folder.iterdir())
        assert picture.name.startswith("tokmem-desk-") and picture.suffix == ".svg"
        assert stat.S_IMODE(picture.stat().st_mode) == 0o600
        drawn = picture.read_text("utf-8").replace("&#160;", " ")
        assert "buy milk due:mon" in drawn and "Search for commands" not in drawn, "the chat, not the palette"
        assert "url(http" not in drawn
        assert any(str(picture) in notice for notice in notices)
        gone = tmp_path / "gone"
        gone.mkdir()
        monkeypatch.chdir(gone)
        gone.rmdir()
        await take()
        await until(pilot, lambda: isinstance(app.screen, FailureDialog))
        await pilot.press("escape")


async def test_keys_of_the_settings(make_app: MakeApp, paths: AppPaths, taught: None, notices: list[str]) -> None:
    paths.config_file.parent.mkdir(parents=True, exist_ok=True)
    paths.config_file.write_text(
        '[keys]\n"procedures" = "f6"\n"procedures.import" = "y"\n"help" = "ctrl+q"\n"chat.nwe" = "f7"\n',
        encoding="utf-8",
    )
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(pilot)
        said = " ".join(notices)
        assert "always quits" in said and "chat.nwe" in said and "chat.new" in said
        await pilot.press("f6")
        await until(pilot, lambda: isinstance(app.screen, ProceduresScreen))
        await pilot.press("i")
        assert isinstance(app.screen, ProceduresScreen), "the old key is free"
        await pilot.press("y")
        await until(pilot, lambda: isinstance(app.screen, ImportDialog))
        await pilot.press("escape", "ctrl+q")
    assert app.return_code is not None, "quit is always bound"


def test_names_of_actions_are_one_to_one() -> None:
    assert binding_id("train", "preset('quick')") == "train.preset-quick"
    assert binding_id("procedures", "screen.add_procedure") == "procedures.add-procedure"
    assert binding_id("profiles", "move(1, 0)") != binding_id("profiles", "move(-1, 0)")
    assert {"chat.new", "procedures.import", "models.pull", "settings.reset", "profiles.erase"} <= BINDING_IDS


@pytest.mark.parametrize(
    ("wanted", "usable", "problem"),
    [
        ({"chat.new": "f6"}, {"chat.new": "f6"}, ""),
        ({"chat.new": "f6,ctrl+o"}, {"chat.new": "f6,ctrl+o"}, ""),
        ({"chat.new": ""}, {}, "has no key"),
        ({"chat.new": "ctrl+q"}, {}, "always quits"),
        ({"quit": "f6"}, {}, "no action 'quit'"),
    ],
)
def test_what_of_a_keymap_can_be_used(wanted: dict[str, str], usable: dict[str, str], problem: str) -> None:
    found, problems = usable_keymap(wanted)
    assert found == usable
    assert (problem in problems[0]) if problem else not problems
