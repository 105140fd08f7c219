"""The Settings screen: searching, changing, previewing, refusing, putting back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, OptionList

from profiles.files.paths import AppPaths
from tests.tui.driving import SIZES, ready, texts, until
from tui.shell.app import TokmemApp
from tui.shell.setting_view import SettingTable
from tui.shell.settings import SettingsScreen

pytestmark = pytest.mark.asyncio
MakeApp = Callable[..., TokmemApp]


async def settings(pilot: Pilot[None], name: str = "") -> TokmemApp:
    """F9, the cursor on a setting."""
    app = await ready(pilot)
    await pilot.press("f9")
    await until(pilot, lambda: isinstance(app.screen, SettingsScreen) and table(app).row_count > 0)
    if name:
        table(app).select(name)
        await pilot.pause()
    return app


def table(app: TokmemApp) -> SettingTable:
    """The list."""
    return app.screen.query_one(SettingTable)


def rows(app: TokmemApp) -> list[str]:
    """The names in the list."""
    return [str(key.value) for key in table(app).rows]


def written(paths: AppPaths) -> str:
    """The user's file."""
    return paths.config_file.read_text(encoding="utf-8") if paths.config_file.exists() else ""


@pytest.mark.parametrize("size", SIZES)
async def test_every_setting_and_place_is_listed(make_app: MakeApp, paths: AppPaths, size: tuple[int, int]) -> None:
    async with make_app().run_test(size=size) as pilot:
        app = await settings(pilot)
        assert {row.key for row in app.settings.show()} <= set(rows(app))
        assert {"place settings file", "place models", "place all profiles"} <= set(rows(app))
        assert "The language model" in texts(app, "#about")
        table(app).select("place models")
        await until(pilot, lambda: str(paths.models) in texts(app, "#about"))
        await pilot.press("enter")
        assert app.clipboard == str(paths.models)


async def test_places_are_measured(make_app: MakeApp, paths: AppPaths) -> None:
    paths.models.mkdir(parents=True)
    (paths.models / "weights").write_bytes(bytes(3 * 2**20))
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await settings(pilot, "place models")
        await until(pilot, lambda: "3.0 MiB" in texts(app, "#about"), "measured")


async def test_search_narrows_and_escape_clears(make_app: MakeApp) -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        app = await settings(pilot)
        everything = rows(app)
        await pilot.press("slash", *"colour")
        await until(pilot, lambda: rows(app) == ["theme"], "found by what it is for")
        await pilot.press(*"xx")
        await until(pilot, lambda: app.screen.query_one("#none").display, "nothing found")
        await pilot.press("escape")
        await until(pilot, lambda: rows(app) == everything)
        assert table(app).has_focus
        await pilot.press("slash", *"span", "enter")
        assert table(app).has_focus and rows(app) == ["span"]


async def test_a_typed_value_is_kept_and_a_bad_one_refused_in_place(make_app: MakeApp, paths: AppPaths) -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        app = await settings(pilot, "temperature")
        await pilot.press("enter")
        value = app.screen.query_one("#value", Input)
        assert value.has_focus and value.value == "0.7"
        value.value = "9"
        await pilot.press("enter")
        await until(pilot, lambda: "not from 0 to 2" in texts(app, "#fault"), "the fault")
        assert "The old value stays" in texts(app, "#fault")
        assert app.settings.number("temperature") == 0.7 and written(paths) == ""
        value.value = "0.3"
        await until(pilot, lambda: not app.screen.query_one("#fault").display, "fault gone")
        await pilot.press("enter")
        await until(pilot, lambda: table(app).has_focus)
        assert app.settings.number("temperature") == 0.3 and "temperature = 0.3" in written(paths)
        assert "settings file" in texts(app, "#about")


async def test_escape_leaves_the_old_value(make_app: MakeApp, paths: AppPaths) -> None:
    async with make_app().run_test() as pilot:
        app = await settings(pilot, "span")
        await pilot.press("e", "4", "2", "escape")
        assert table(app).has_focus and app.settings.whole("span") == 0 and written(paths) == ""


async def test_choices_are_chosen(make_app: MakeApp, paths: AppPaths) -> None:
    async with make_app().run_test() as pilot:
        app = await settings(pilot, "preset")
        await pilot.press("enter", "down", "enter")
        await until(pilot, lambda: app.settings.text("preset") == "thorough")
        await pilot.press("space")
        await until(pilot, lambda: app.settings.text("preset") == "quick")
        assert 'preset = "quick"' in written(paths)
        assert app.training.preset == "quick"


async def test_theme_is_previewed_and_put_back(make_app: MakeApp, paths: AppPaths) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await settings(pilot, "theme")
        await pilot.press("enter")
        assert app.screen.query_one(OptionList).option_count >= 20
        await pilot.press("down")
        await until(pilot, lambda: app.theme == "tokmem-light", "preview")
        await pilot.press("escape")
        await until(pilot, lambda: app.theme == "tokmem-dark", "put back")
        await pilot.press("enter", "down", "enter")
        await until(pilot, lambda: 'theme = "tokmem-light"' in written(paths))
        assert app.theme == "tokmem-light"


async def test_reset_takes_it_out_of_its_file(make_app: MakeApp, paths: AppPaths) -> None:
    paths.config_file.parent.mkdir(parents=True, exist_ok=True)
    paths.config_file.write_text('# mine\npreset = "quick"\n', encoding="utf-8")
    async with make_app().run_test() as pilot:
        app = await settings(pilot, "preset")
        assert "● Training" in str(table(app).get_row("preset")[0])
        await pilot.press("r")
        await until(pilot, lambda: app.settings.text("preset") == "normal")
        assert written(paths) == "# mine\n"
        await pilot.press("r")
        assert app.settings.text("preset") == "normal"


async def test_for_this_profile_alone(make_app: MakeApp, paths: AppPaths) -> None:
    async with make_app().run_test() as pilot:
        app = await settings(pilot, "preset")
        await pilot.press("o")
        assert "this profile alone" in texts(app, "#about")
        await pilot.press("space")
        await until(pilot, lambda: app.settings.text("preset") == "thorough")
        own = Path(app.store.folder) / "config.toml"
        assert 'preset = "thorough"' in own.read_text() and written(paths) == ""
        await pilot.press("r")
        await until(pilot, lambda: app.settings.text("preset") == "normal")


async def test_a_flag_wins_and_is_named(make_app: MakeApp, paths: AppPaths) -> None:
    async with make_app(preset="thorough").run_test() as pilot:
        app = await settings(pilot, "preset")
        assert "flag" in texts(app, "#about") and "wins" in texts(app, "#hint")
        await pilot.press("space")
        await until(pilot, lambda: 'preset = "quick"' in written(paths))
        assert app.settings.text("preset") == "thorough"


async def test_another_device_means_another_engine(make_app: MakeApp) -> None:
    async with make_app().run_test() as pilot:
        app = await settings(pilot, "device")
        before = app.link.client
        await pilot.press("space")
        await until(pilot, lambda: app.link.client is not before, "another engine")
        assert not before.running and app.link.state.phase == "off"
        await pilot.press("f2")
        app.load_engine()
        await until(pilot, lambda: app.link.state.phase == "ready")
