"""Train: choosing, watching, stopping, deciding, resuming."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from textual.pilot import Pilot
from textual.widgets import SelectionList

from profiles.store import ProfileStore
from tests.tui.conftest import MOOD, TODO
from tests.tui.driving import SIZES, ask, ready, texts, train, until
from tests.tui.scripted_engine import FINGERPRINT
from tui.app import TokmemApp
from tui.screens.chat import ChatScreen
from tui.screens.confirm import ConfirmDialog
from tui.screens.failure import FailureDialog
from tui.screens.procedures import ProceduresScreen
from tui.screens.train import TrainScreen
from tui.training import TrainJob
from tui.widgets.train_setup import TrainSetup

pytestmark = pytest.mark.asyncio
MakeApp = Callable[..., TokmemApp]


@pytest.fixture
def untaught(seed: Callable[[Callable[[ProfileStore], None]], None]) -> None:
    """Two procedures without memories."""

    def add(store: ProfileStore) -> None:
        store.add_procedure(TODO)
        store.add_procedure(MOOD)

    seed(add)


async def open_train(pilot: Pilot[None]) -> TokmemApp:
    """Wait for the app and go to the screen."""
    app = await ready(pilot)
    await pilot.press("f4")
    await until(pilot, lambda: isinstance(app.screen, TrainScreen))
    return app


def job_of(app: TokmemApp) -> TrainJob:
    """The job, which must be there."""
    assert app.runner.job is not None
    return app.runner.job


@pytest.mark.parametrize("size", SIZES)
async def test_train_and_activate(make_app: MakeApp, untaught: None, size: tuple[int, int]) -> None:
    async with make_app("--step-delay", "0.2", "--steps", "12").run_test(size=size) as pilot:
        app = await open_train(pilot)
        assert train(app).query_one(TrainSetup).names == ["mood_log", "todo_line"]
        await pilot.press("3", "t")
        await until(pilot, lambda: train(app).pane == "progress")
        assert job_of(app).preset == "thorough"
        await until(pilot, lambda: "step" in texts(app, "#now") and "left" in texts(app, "#now"))
        await until(pilot, lambda: "loss" in texts(app, "#loss-line"))
        await pilot.press("l")
        await until(pilot, lambda: "not seen" in texts(app, "#sample-lines"))
        await until(pilot, lambda: train(app).pane == "result")
        assert "Trained 2 procedures" in texts(app, "#outcome")
        card = texts(app, "#card")
        for words in (
            "this memory",
            "untrained model",
            "pairs in the prompt",
            "640 tokens",
            "none",
            "more pairs like it",
        ):
            assert words in card
        assert app.store.active_memory("mood_log", FINGERPRINT) is None
        await pilot.press("a")
        await until(pilot, lambda: train(app).pane == "setup")
        assert app.store.active_memory("mood_log", FINGERPRINT) is not None
        assert app.store.jobs()[0].state == "done"
        assert train(app).query_one(TrainSetup).names == []


async def test_untick_and_keep_old(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test() as pilot:
        app = await open_train(pilot)
        assert train(app).query_one(TrainSetup).names == []
        await pilot.press("t")
        await until(pilot, lambda: isinstance(app.screen, FailureDialog))
        assert "No procedure is chosen" in texts(app)
        await pilot.press("escape")
        train(app).query_one(SelectionList).focus()
        await pilot.press("home", "space", "down", "space", "t")
        await until(pilot, lambda: train(app).pane == "result")
        await pilot.press("space", "a")
        await until(pilot, lambda: train(app).pane == "setup")
        versions = [len(app.store.memories(name)) for name in ("mood_log", "todo_line")]
        assert versions == [1, 2]
        await pilot.press("t")
        await until(pilot, lambda: train(app).pane == "result")
        await pilot.press("k")
        await until(pilot, lambda: train(app).pane == "setup")
        assert [len(app.store.memories(name)) for name in ("mood_log", "todo_line")] == versions


async def test_escape_keeps_the_best(make_app: MakeApp, untaught: None) -> None:
    async with make_app("--step-delay", "0.1", "--steps", "200").run_test() as pilot:
        app = await open_train(pilot)
        await pilot.press("t")
        await until(pilot, lambda: job_of(app).current == "mood_log" and job_of(app).progress["mood_log"].step > 2)
        await pilot.press("escape")
        await until(pilot, lambda: train(app).pane == "result")
        assert "best so far of 1 procedure" in texts(app, "#outcome")
        assert app.store.jobs()[0].state == "cancelled"
        await pilot.press("a")
        await until(pilot, lambda: app.store.active_memory("mood_log", FINGERPRINT) is not None)


async def test_chat_works_meanwhile_and_job_survives(make_app: MakeApp, taught: None) -> None:
    async with make_app("--step-delay", "0.1", "--steps", "60").run_test() as pilot:
        app = await open_train(pilot)
        train(app).query_one(TrainSetup).choose(["mood_log"])
        await pilot.press("t")
        await until(pilot, lambda: job_of(app).progress)
        await pilot.press("f2")
        await until(pilot, lambda: isinstance(app.screen, ChatScreen))
        turn = await ask(pilot, "I need to buy milk")
        assert turn.answer.text == "( ) buy milk due:mon"
        assert job_of(app).running
        assert "training" in texts(app, "#status")
        await until(pilot, lambda: not job_of(app).running)
        await pilot.press("f4")
        await until(pilot, lambda: train(app).pane == "result")


async def test_add_pairs_goes_to_the_procedure(make_app: MakeApp, untaught: None) -> None:
    async with make_app().run_test() as pilot:
        app = await open_train(pilot)
        await pilot.press("t")
        await until(pilot, lambda: train(app).pane == "result")
        await pilot.press("down", "p")
        await until(pilot, lambda: isinstance(app.screen, ProceduresScreen))
        await until(pilot, lambda: "todo_line" in texts(app, "#about"))
        await pilot.press("t")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("escape", "f4")
        await until(pilot, lambda: isinstance(app.screen, TrainScreen) and train(app).pane == "result")


async def test_crash_can_be_resumed(make_app: MakeApp, untaught: None) -> None:
    async with make_app("--crash-at-step", "3").run_test() as pilot:
        app = await open_train(pilot)
        await pilot.press("t")
        await until(pilot, lambda: isinstance(app.screen, FailureDialog) or train(app).pane == "result")
        if isinstance(app.screen, FailureDialog):
            await pilot.press("escape")
        assert "The memories you had are unchanged" in texts(app, "#outcome")
        first = job_of(app).job_id
        await pilot.press("r")
        await until(pilot, lambda: job_of(app).running or job_of(app).state == "failed")
        assert job_of(app).job_id == first


async def test_broken_off_job_is_offered_next_time(make_app: MakeApp, untaught: None) -> None:
    async with make_app("--step-delay", "0.1", "--steps", "200").run_test() as pilot:
        app = await open_train(pilot)
        await pilot.press("t")
        await until(pilot, lambda: job_of(app).progress)
        await pilot.press("ctrl+q")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("enter")
    async with make_app().run_test() as pilot:
        app = await open_train(pilot)
        assert "mood_log, todo_line was broken off" in texts(app, "#waiting-job")
        await pilot.press("r")
        await until(pilot, lambda: app.runner.job is not None and train(app).pane == "result")
        assert app.store.jobs()[0].state == "done"


async def test_broken_off_job_can_be_forgotten(make_app: MakeApp, untaught: None, seed: Callable[..., None]) -> None:
    def leave_job(store: ProfileStore) -> None:
        store.add_job("train", {"names": ["mood_log"], "preset": "quick", "span": None, "router": None})

    seed(leave_job)
    async with make_app().run_test() as pilot:
        app = await open_train(pilot)
        await until(pilot, lambda: "broken off" in texts(app, "#waiting-job"))
        await pilot.press("x")
        await until(pilot, lambda: "broken off" not in texts(app, "#waiting-job"))
        assert app.store.jobs()[0].state == "cancelled"
