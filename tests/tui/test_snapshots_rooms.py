"""Pictures of Profiles, Models, Settings, the first steps and the lock: each state at two sizes and in two themes.

After a wanted change: ``pytest tests/tui/test_snapshots_rooms.py --snapshot-update``, and look at them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Static

from profiles.files.paths import AppPaths
from profiles.registry.registry import ProfileInfo, ProfileRegistry
from tests.tui.conftest import MOOD, Pictures
from tests.tui.driving import ready, texts, until
from tests.tui.models.test_models_screen import QWEN, models, table
from tests.tui.profiles.test_lock_screens import PASSPHRASE
from tests.tui.profiles.test_profiles import profiles
from tests.tui.scripted_engine import make_model
from tests.tui.shell.test_settings_screen import settings
from tokmem_desk.models.catalogue import GIB
from tokmem_desk.models.hardware_fit import Machine
from tokmem_desk.models.store import ModelStore
from tui.kit.confirm import ConfirmDialog
from tui.kit.failure import FailureDialog
from tui.models import screen as models_module
from tui.models.dialogs import ModelNameDialog
from tui.profiles import profile_card
from tui.profiles.dialogs import EraseDialog, ProfileNameDialog
from tui.profiles.lock_dialogs import NewPassphraseDialog, UnlockDialog
from tui.profiles.locked import LockedScreen
from tui.shell import settings as settings_module
from tui.shell import welcome as welcome_module
from tui.shell.app import TokmemApp
from tui.shell.setting_view import SettingTable
from tui.shell.welcome import WelcomeScreen

pytestmark = pytest.mark.asyncio
MakeApp = Callable[..., TokmemApp]


@pytest.fixture(autouse=True)
def still_life(monkeypatch: pytest.MonkeyPatch) -> None:
    """Always the same computer, paths, sizes, times, and no toasts."""
    found = Machine(cores=4, processor="Some Processor 3000", memory_bytes=8 * GIB, free_bytes=5 * GIB)
    monkeypatch.setattr(models_module, "look_at_machine", lambda: found)
    monkeypatch.setattr(welcome_module, "look_at_machine", lambda: found)
    monkeypatch.setattr(models_module, "disk_words", lambda folder, entry: (2 * GIB, 90 * GIB))
    monkeypatch.setattr(profile_card, "ago", lambda moment: "2 hours ago")
    monkeypatch.setattr(TokmemApp, "notify", lambda *args, **kwargs: None)
    monkeypatch.setattr(settings_module.SettingsScreen, "_places_of", _places)
    plain_info = ProfileRegistry._info

    def info(self: ProfileRegistry, row: Any) -> ProfileInfo:
        one = plain_info(self, row)
        fields = {name: getattr(one, name) for name in ProfileInfo.__slots__}
        return ProfileInfo(**{**fields, "bytes": 12_400_000})

    monkeypatch.setattr(ProfileRegistry, "_info", info)


def _places(self: Any, *, measured: bool) -> list[Any]:
    root = "/home/me/.local/share/tokmem-desk"
    return [
        settings_module.Place(name, f"{root}/{name.replace(' ', '-')}", 12_400_000 if measured else None, what)
        for name, what in (("this profile", "Procedures, memories and chats."), ("models", "Prepared models."))
    ]


@pytest.fixture
def here(paths: AppPaths) -> None:
    """The default model is on this computer."""
    make_model(ModelStore(paths.models), "default")


@pytest.fixture
def family(paths: AppPaths, taught: None) -> None:
    """Three profiles, one of them locked."""
    with ProfileRegistry(paths) as registry:
        for name in ("anna", "work"):
            registry.create(name)
        with registry.open("anna") as store:
            store.procedures.add(MOOD)
        registry.locks.add("work", PASSPHRASE)


@pytest.fixture(autouse=True)
def plain_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders are named by chance: pictures show a fixed one."""
    plain = profile_card.ProfileDetails.show

    def show(self: Any, info: Any, found: Any, folder: Path) -> None:
        plain(self, info, found, Path("/home/me/.local/share/tokmem-desk/profiles/4f0c"))

    monkeypatch.setattr(profile_card.ProfileDetails, "show", show)


async def test_profiles(pictures: Pictures, make_app: MakeApp, family: None) -> None:
    await pictures(make_app(), profiles)


async def test_profiles_alone(pictures: Pictures, make_app: MakeApp) -> None:
    await pictures(make_app(), profiles)


async def test_profiles_busy(pictures: Pictures, make_app: MakeApp, family: None) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        app = await ready(pilot)
        app.train(["todo_line"])
        await until(
            pilot,
            lambda: app.trainings.current is not None and app.trainings.current.progress.step == 4,
            "training",
        )
        await profiles(pilot)

    app = make_app("--steps", "6", "--wait-at-step", "4")
    await pictures(app, steps)


async def test_profiles_name_taken(pictures: Pictures, make_app: MakeApp, family: None) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        app = await profiles(pilot)
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, ProfileNameDialog))
        app.screen.query_one(Input).value = "anna"
        await pilot.press("enter")
        await until(pilot, lambda: "already" in texts(app, "#fault"))

    await pictures(make_app(), steps)


async def test_profiles_erase(pictures: Pictures, make_app: MakeApp, family: None) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        app = await profiles(pilot)
        await pilot.press("left", "d")
        await until(pilot, lambda: isinstance(app.screen, EraseDialog))
        # The last line names a folder by chance.
        going = app.screen.query_one(".going", Static)
        going.update("\n".join([*str(going.render()).splitlines()[:-1], "  ✗ 11.8 MiB in /home/me/profiles/4f0c"]))

    await pictures(make_app(), steps)


async def test_profiles_unlock(pictures: Pictures, make_app: MakeApp, family: None) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        app = await profiles(pilot)
        await pilot.press("right", "enter")
        await until(pilot, lambda: isinstance(app.screen, UnlockDialog))
        await pilot.press("enter")

    await pictures(make_app(), steps)


async def test_profiles_new_passphrase(pictures: Pictures, make_app: MakeApp, family: None) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        app = await profiles(pilot)
        await pilot.press("p")
        await until(pilot, lambda: isinstance(app.screen, NewPassphraseDialog))

    await pictures(make_app(), steps)


async def test_locked(pictures: Pictures, make_app: MakeApp, paths: AppPaths, taught: None) -> None:
    with ProfileRegistry(paths) as registry:
        registry.locks.add("default", PASSPHRASE)

    async def steps(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: isinstance(pilot.app.screen, LockedScreen))

    await pictures(make_app(), steps)


async def test_models(pictures: Pictures, make_app: MakeApp, here: None) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        app = await models(pilot, "Qwen/Qwen2.5-7B-Instruct")
        await until(pilot, lambda: "measured" in texts(app, "#machine"))

    await pictures(make_app(), steps)


async def test_models_offline(pictures: Pictures, make_app: MakeApp, here: None) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        app = await models(pilot, QWEN)
        await until(pilot, lambda: "measured" in texts(app, "#machine"))

    await pictures(make_app(offline=True), steps)


async def test_models_question(pictures: Pictures, make_app: MakeApp, here: None) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        app = await models(pilot, QWEN)
        await until(pilot, lambda: "measured" in texts(app, "#machine"))
        await pilot.press("p")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))

    await pictures(make_app(), steps)


async def test_models_paused(pictures: Pictures, make_app: MakeApp, here: None) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        app = await models(pilot, QWEN)
        await until(pilot, lambda: "measured" in texts(app, "#machine"))
        await pilot.press("p")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("enter")
        await until(pilot, lambda: app.downloads.current is not None and app.downloads.current.fraction == 0.5)
        await pilot.press("escape")
        await until(pilot, lambda: "paused" in texts(app, "ModelDetails"))

    await pictures(make_app("--fetch-waits-at", "50"), steps)


async def test_models_failed(pictures: Pictures, make_app: MakeApp, here: None) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        app = await models(pilot, QWEN)
        await until(pilot, lambda: "measured" in texts(app, "#machine"))
        await pilot.press("p")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("enter")
        await until(pilot, lambda: "could not be reached" in texts(app, "ModelDetails"))

    await pictures(make_app("--fetch-fails"), steps)


async def test_models_unloaded(pictures: Pictures, make_app: MakeApp, here: None) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        app = await models(pilot)
        await pilot.press("o")
        await until(pilot, lambda: "nothing; the next message" in texts(app, "#machine"))

    await pictures(make_app(), steps)


async def test_models_engine_failed(pictures: Pictures, make_app: MakeApp, here: None) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        app = pilot.app
        assert isinstance(app, TokmemApp)
        await until(pilot, lambda: isinstance(app.screen, FailureDialog))
        await pilot.press("enter", "f8")
        await until(pilot, lambda: bool(app.screen.query("ModelTable")) and table(app).row_count > 0)

    await pictures(make_app("--refuse"), steps)


async def test_models_another(pictures: Pictures, make_app: MakeApp, here: None) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        app = await models(pilot)
        await until(pilot, lambda: "measured" in texts(app, "#machine"))
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, ModelNameDialog))
        app.screen.query_one(Input).value = "qwen-0.5"
        await pilot.press("enter")
        await until(pilot, lambda: "No model is called" in texts(app, "#fault"))

    await pictures(make_app(), steps)


async def test_settings(pictures: Pictures, make_app: MakeApp, paths: AppPaths) -> None:
    paths.config_file.parent.mkdir(parents=True, exist_ok=True)
    paths.config_file.write_text('preset = "quick"\ntemperature = 0.3\n', encoding="utf-8")

    async def steps(pilot: Pilot[None]) -> None:
        app = await settings(pilot, "offline")
        await until(pilot, lambda: "11.8 MiB" in str(table_text(app)), "measured")

    await pictures(make_app(), steps)


def table_text(app: TokmemApp) -> list[str]:
    """All cells of the settings."""
    shown = app.screen.query_one(SettingTable)
    return [str(cell) for key in shown.rows for cell in shown.get_row(key)]


async def test_settings_nothing_found(pictures: Pictures, make_app: MakeApp) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        app = await settings(pilot)
        await pilot.press("slash", *"zzz")
        await until(pilot, lambda: app.screen.query_one("#none").display)

    await pictures(make_app(), steps)


async def test_settings_bad_value(pictures: Pictures, make_app: MakeApp) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        app = await settings(pilot, "temperature")
        await pilot.press("enter")
        app.screen.query_one("#value", Input).value = "9"
        await pilot.press("enter")
        await until(pilot, lambda: "not from 0 to 2" in texts(app, "#fault"))

    await pictures(make_app(), steps)


async def test_settings_choices(pictures: Pictures, make_app: MakeApp) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        await settings(pilot, "preset")
        await pilot.press("enter")

    await pictures(make_app(), steps)


async def first_steps(pilot: Pilot[None]) -> TokmemApp:
    """The first step, with the computer's figures."""
    app = pilot.app
    assert isinstance(app, TokmemApp)
    await until(pilot, lambda: isinstance(app.screen, WelcomeScreen) and "4 cores" in texts(app, "#about"), "figures")
    return app


async def test_welcome(pictures: Pictures, make_app: MakeApp) -> None:
    await pictures(make_app(first_start=True), first_steps)


async def test_welcome_offline(pictures: Pictures, make_app: MakeApp) -> None:
    await pictures(make_app(first_start=True, offline=True), first_steps)


async def test_welcome_paused(pictures: Pictures, make_app: MakeApp) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        app = await first_steps(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: app.downloads.current is not None and app.downloads.current.fraction == 0.5)
        await pilot.press("p")
        await until(pilot, lambda: "paused" in texts(app, "#about"))

    await pictures(make_app("--fetch-waits-at", "50", first_start=True), steps)


async def test_welcome_failed(pictures: Pictures, make_app: MakeApp) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        app = await first_steps(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: "could not be reached" in texts(app, "#fault"))

    await pictures(make_app("--fetch-fails", first_start=True), steps)


async def test_welcome_sample(pictures: Pictures, make_app: MakeApp, here: None) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        app = pilot.app
        await until(pilot, lambda: isinstance(app.screen, WelcomeScreen) and app.screen.step == "sample")

    await pictures(make_app(first_start=True), steps)


async def test_welcome_result(pictures: Pictures, make_app: MakeApp, here: None) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        app = pilot.app
        await until(pilot, lambda: isinstance(app.screen, WelcomeScreen) and app.screen.step == "sample")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, WelcomeScreen) and app.screen.step == "result")

    await pictures(make_app(first_start=True), steps)
