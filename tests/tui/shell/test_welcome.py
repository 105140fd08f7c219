"""First steps: from nothing to a procedure that answers, with consent before the download."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from textual.pilot import Pilot
from textual.widgets import Button, OptionList

from profiles.files.paths import AppPaths
from profiles.store.store import ProfileStore
from tests.tui.conftest import MOOD
from tests.tui.driving import SIZES, chat, ready, texts, until
from tests.tui.scripted_engine import make_model
from tokmem_desk.models.catalogue import GIB
from tokmem_desk.models.hardware_fit import Machine
from tokmem_desk.models.store import ModelStore
from tui.chat.prompt import Prompt
from tui.chat.screen import ChatScreen
from tui.models.screen import ModelsScreen
from tui.shell import welcome as welcome_module
from tui.shell.app import TokmemApp
from tui.shell.welcome import WelcomeScreen

pytestmark = pytest.mark.asyncio
MakeApp = Callable[..., TokmemApp]


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Always the same computer."""
    found = Machine(cores=4, processor="some processor", memory_bytes=6 * GIB, free_bytes=4 * GIB)
    monkeypatch.setattr(welcome_module, "look_at_machine", lambda: found)


def screen(app: TokmemApp) -> WelcomeScreen:
    """The first steps, which must be in sight."""
    assert isinstance(app.screen, WelcomeScreen)
    return app.screen


async def welcomed(pilot: Pilot[None]) -> TokmemApp:
    """The first step, with the computer's figures."""
    app = pilot.app
    assert isinstance(app, TokmemApp)
    await until(pilot, lambda: isinstance(app.screen, WelcomeScreen) and "4 cores" in texts(app, "#about"), "figures")
    return app


@pytest.mark.parametrize("size", [*SIZES, (160, 50)])
async def test_from_nothing_to_an_answer(make_app: MakeApp, paths: AppPaths, size: tuple[int, int]) -> None:
    async with make_app(first_start=True).run_test(size=size) as pilot:
        app = await welcomed(pilot)
        words = texts(app, "#about")
        for fact in ("6.0 GiB", "4.0 GiB free", "SmolLM2 135M", "Apache-2.0", "88.6 MiB", "✓ fits", "before you agree"):
            assert fact in words, fact
        assert not app.link.client.running and app.downloads.current is None, "nothing starts before consent"
        assert screen(app).query_one("#go", Button).has_focus
        await pilot.press("enter")
        await until(pilot, lambda: screen(app).step == "sample", "the model is ready")
        assert ModelStore(paths.models).is_ready("default")
        await pilot.press("up", "up", "down", "down")
        await until(pilot, lambda: "call the dentist" in texts(app, "#example"))
        await pilot.press("enter")
        await until(pilot, lambda: screen(app).step == "result", "trained")
        assert "9 of 12 word for word" in texts(app, "#about") and "0 of 12" in texts(app, "#about")
        assert not app.recallable(), "nothing is active before the person says so"
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, ChatScreen) and chat(app).query_one(Prompt).text != "", "try")
        assert chat(app).query_one(Prompt).text == "I must call the vet on Tuesday"
        await pilot.press("enter")
        await until(pilot, lambda: bool(chat(app).session.turns) and not chat(app).busy, "answered")
        assert chat(app).session.turns[-1].answer.route == "todo_line"
    async with make_app(first_start=True).run_test() as pilot:
        await ready(pilot)
        assert isinstance(pilot.app.screen, ChatScreen), "shown once"


async def test_leaving_is_remembered(make_app: MakeApp) -> None:
    async with make_app(first_start=True).run_test() as pilot:
        app = await welcomed(pilot)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, ChatScreen))
        assert not app.link.client.running
    async with make_app(first_start=True).run_test() as pilot:
        await until(pilot, lambda: isinstance(pilot.app.screen, ChatScreen))


async def test_not_for_somebody_who_has_taught(
    make_app: MakeApp, seed: Callable[[Callable[[ProfileStore], None]], None]
) -> None:
    seed(lambda store: store.procedures.add(MOOD) and None)
    async with make_app(first_start=True).run_test() as pilot:
        await until(pilot, lambda: isinstance(pilot.app.screen, ChatScreen))


async def test_a_model_that_is_here_is_loaded_at_once(make_app: MakeApp, paths: AppPaths) -> None:
    make_model(ModelStore(paths.models), "default")
    async with make_app(first_start=True).run_test(size=(80, 24)) as pilot:
        app = pilot.app
        assert isinstance(app, TokmemApp)
        await until(pilot, lambda: isinstance(app.screen, WelcomeScreen) and app.screen.step == "sample")
        assert app.downloads.current is None


async def test_download_pauses_and_goes_on(make_app: MakeApp) -> None:
    async with make_app("--fetch-waits-at", "50", first_start=True).run_test(size=(80, 24)) as pilot:
        app = await welcomed(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: "44.3 MiB of 88.6 MiB" in texts(app, "#about"), "progress")
        await pilot.press("p")
        await until(pilot, lambda: "paused at 50%" in texts(app, "#about"), "paused")
        assert "kept" in texts(app, "#about")
        await pilot.press("enter")
        await until(pilot, lambda: screen(app).step == "sample", "went on")


async def test_download_that_fails_can_be_tried_again(make_app: MakeApp) -> None:
    async with make_app("--fetch-fails", first_start=True).run_test(size=(80, 24)) as pilot:
        app = await welcomed(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: "could not be reached" in texts(app, "#fault"), "the error, in place")
        assert isinstance(app.screen, WelcomeScreen) and str(screen(app).query_one("#go", Button).label) == "Try again"
        states: list[str] = []  # a fetch that fails is over before anyone can look
        app.downloads.changed.subscribe(app, lambda pull: states.append(pull.state), immediate=True)
        await pilot.press("enter")
        await until(pilot, lambda: "failed" in states, "the error again")
        assert "running" in states and "could not be reached" in texts(app, "#fault")


async def test_offline_says_what_can_be_done(make_app: MakeApp) -> None:
    async with make_app(first_start=True, offline=True).run_test(size=(80, 24)) as pilot:
        app = await welcomed(pilot)
        assert "Offline" in texts(app, "#about") and "F9" in texts(app, "#about")


async def test_other_models_and_back(make_app: MakeApp) -> None:
    async with make_app(first_start=True).run_test(size=(80, 24)) as pilot:
        app = await welcomed(pilot)
        await pilot.press("o")
        await until(pilot, lambda: isinstance(app.screen, ModelsScreen))
        await app.run_action("switch_mode('welcome')")
        await until(pilot, lambda: isinstance(app.screen, WelcomeScreen))


async def test_training_goes_on_while_looking_around(make_app: MakeApp, paths: AppPaths) -> None:
    make_model(ModelStore(paths.models), "default")
    async with make_app("--steps", "6", "--wait-at-step", "4", first_start=True).run_test(size=(80, 24)) as pilot:
        app = pilot.app
        assert isinstance(app, TokmemApp)
        await until(pilot, lambda: isinstance(app.screen, WelcomeScreen) and app.screen.step == "sample")
        screen(app).query_one(OptionList).focus()
        await pilot.press("enter")
        await until(pilot, lambda: screen(app).step == "learning" and "done" in texts(app, "#about"))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, ChatScreen))
        await until(pilot, lambda: app.trainings.current is not None)
        await app.trainings.stop()
        await until(pilot, lambda: not app.trainings.working)
