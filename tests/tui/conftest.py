"""The app with the scripted engine in a process of its own, and a home that holds nothing of the user."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from pytest_textual_snapshot import SVGImageExtension
from syrupy.assertion import SnapshotAssertion
from textual.pilot import Pilot
from textual.widgets import Button, Input, TextArea

from profiles.files.paths import AppPaths
from profiles.registry.registry import ProfileRegistry
from profiles.settings.settings import Settings
from profiles.store.base import JsonObject
from profiles.store.store import ProfileStore
from tests.banks import memory_file
from tests.tui.scripted_engine import FINGERPRINT, scorecard
from tests.tui.settling import settle
from tests.warm import start_of
from tokmem_desk.models.store import ModelStore
from tokmem_desk.procedures import ExamplePair, Procedure
from tui.engine_client.client import EngineClient, engine_command
from tui.shell.app import TokmemApp

Steps = Callable[[Pilot[None]], Awaitable[object]]
Pictures = Callable[[TokmemApp, Steps], Awaitable[None]]
PICTURE_SIZES = ((80, 24), (160, 50))
THEMES = ("tokmem-dark", "tokmem-light")

ROOT = Path(__file__).parents[2]

TODO = Procedure(
    "todo_line",
    tuple(
        ExamplePair(f"I need to {what} on {day}", f"( ) {what} due:{day[:3].lower()}")
        for what, day in (
            ("call the dentist", "Friday"),
            ("buy milk", "Monday"),
            ("water the plants", "Tuesday"),
            ("pay the rent", "Sunday"),
            ("feed the cat", "Thursday"),
            ("fix the bike", "Saturday"),
            ("write to Ann", "Wednesday"),
            ("return the books", "Friday"),
        )
    ),
    (ExamplePair("I need to wash the car on Monday", "( ) wash the car due:mon"),),
    "Turn a thing to do into one line",
)
MOOD = Procedure(
    "mood_log",
    (
        ExamplePair("Lovely day because my sister came", "mood: good; because: my sister came"),
        ExamplePair("Bad day because of the rain", "mood: bad; because: the rain"),
    ),
    (),
    "Log my mood",
)


@pytest.fixture(autouse=True)
def still_cursors(monkeypatch: pytest.MonkeyPatch) -> None:
    """No blinking: screenshots must not depend on the moment."""
    monkeypatch.setattr(TextArea.cursor_blink, "_default", False)
    monkeypatch.setattr(Input.cursor_blink, "_default", False)


@pytest.fixture(autouse=True)
def no_look_of_pressed_buttons(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pressed button looks so for a fifth of a second and takes no key meanwhile: tests press the next key sooner."""
    monkeypatch.setattr(Button, "_start_active_affect", lambda button: None)


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys and pauses wait until the app has settled, and no longer (``tests.tui.settling``)."""
    for module in ("app", "pilot"):
        monkeypatch.setattr(f"textual.{module}.wait_for_idle", settle)


@pytest.fixture(autouse=True)
def no_elapsed_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """How long something has taken so far is not said: it depends on the machine."""
    monkeypatch.setattr("tui.kit.words.ELAPSED_FROM", 1e9)


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the machine reaches a test."""
    for name in [name for name in os.environ if name.startswith("TOKMEM_") or name in ("NO_COLOR", "TEXTUAL_THEME")]:
        monkeypatch.delenv(name)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home for ``--home``."""
    return tmp_path / "home"


@pytest.fixture
def paths(home: Path) -> AppPaths:
    """The app's paths below it."""
    return AppPaths.resolve(home)


@pytest.fixture
def seed(paths: AppPaths) -> Callable[[Callable[[ProfileStore], None]], None]:
    """Do something with the default profile before the app opens it."""

    def seeded(change: Callable[[ProfileStore], None]) -> None:
        with ProfileRegistry(paths) as registry:
            opened = registry.open()
        with opened:
            change(opened)

    return seeded


@pytest.fixture
def make_client(home: Path, tmp_path: Path) -> Callable[..., EngineClient]:
    """A client of the scripted engine; the arguments are the engine's options."""

    def make(*options: str, log: Path | None = None) -> EngineClient:
        command = [*start_of("tests.tui.scripted_engine"), "--home", str(home), *options]
        return EngineClient(command, log or tmp_path / "engine.log", {**os.environ, "PYTHONPATH": str(ROOT)})

    return make


@pytest.fixture
def make_app(paths: AppPaths, make_client: Callable[..., EngineClient]) -> Callable[..., TokmemApp]:
    """The app with a scripted engine; the arguments are the engine's options."""

    def make(*options: str, first_start: bool = False, **flags: object) -> TokmemApp:
        if not first_start:
            paths.state.mkdir(parents=True, exist_ok=True)
            (paths.state / "welcomed").touch()

        def engine(log: Path, settings: Settings) -> EngineClient:
            return make_client("--model", settings.text("model"), *options, log=log)

        app = TokmemApp(paths, Settings.load(paths, flags), engine)
        # Each key waits for the end of every animation. The soak has them.
        app.animation_level = "none"
        return app

    return make


@pytest.fixture
def make_real_app(home: Path, paths: AppPaths, real_model_store: ModelStore) -> Callable[[], TokmemApp]:
    """The app at its first start with the real engine and the default model, which is on the computer already."""
    paths.models.parent.mkdir(parents=True, exist_ok=True)
    paths.models.symlink_to(real_model_store.folder, target_is_directory=True)

    def make() -> TokmemApp:
        def engine(log: Path, settings: Settings) -> EngineClient:
            options = engine_command(home=home, model=settings.text("model"), device="cpu")[3:]
            return EngineClient([*start_of("tui.engine"), *options], log, {**os.environ, "PYTHONPATH": str(ROOT)})

        app = TokmemApp(paths, Settings.load(paths, {}), engine)
        app.animation_level = "none"
        return app

    return make


@pytest.fixture
def notices(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every notice of the app, also those that have gone from its corner since."""
    messages: list[str] = []
    notify = TokmemApp.notify

    def noted(app: TokmemApp, message: str, **options: object) -> None:
        messages.append(message)
        notify(app, message, **options)

    monkeypatch.setattr(TokmemApp, "notify", noted)
    return messages


@pytest.fixture
def taught(seed: Callable[[Callable[[ProfileStore], None]], None]) -> None:
    """A profile with two trained procedures."""

    def teach(store: ProfileStore) -> None:
        for procedure in (TODO, MOOD):
            store.procedures.add(procedure, source="test")
        for procedure in (TODO, MOOD):
            remember(store, procedure.name)

    seed(teach)


@pytest.fixture
def pictures(snapshot: SnapshotAssertion) -> Pictures:
    """Drive the app once, then compare it at each size and in each theme."""
    exact = snapshot.use_extension(SVGImageExtension)

    async def compare(app: TokmemApp, steps: Steps) -> None:
        async with app.run_test(size=PICTURE_SIZES[0]) as pilot:
            await steps(pilot)
            for theme in THEMES:
                app.theme = theme
                for size in PICTURE_SIZES:
                    await pilot.resize_terminal(*size)
                    for _ in range(4):
                        await pilot.pause()
                    assert app.export_screenshot(title="") == exact(name=f"{size[0]}x{size[1]}-{theme[7:]}")

    return compare


def remember(store: ProfileStore, name: str, settings: JsonObject | None = None) -> None:
    """Give a procedure an active memory, as if it had been trained."""
    file = store.memories.write(memory_file(store.procedures.get(name).id))
    pairs = store.procedures.with_pairs(name).pairs
    card = scorecard(store, name, steps=8)
    record = store.memories.add(store.procedures.get(name).id, FINGERPRINT, file, pairs, settings or {}, card)
    store.memories.activate(record.id)
