"""Pictures of the chat in each of its states. After a wanted change: ``pytest <this file> --snapshot-update``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from tests.tui.driving import ask, chat, line, ready, texts, train, turn_texts, until
from tui.chat.choose_fault import FaultDialog
from tui.chat.choose_route import RouteDialog
from tui.chat.learn_bar import LearnBar
from tui.chat.prompt import Prompt
from tui.kit.ask_line import LineDialog
from tui.shell.app import TokmemApp
from tui.training.screen import TrainScreen

MakeApp = Callable[..., TokmemApp]
Compare = Callable[..., bool]
Steps = Callable[[Pilot[None]], Awaitable[None]]
Size = tuple[int, int]

pytestmark = pytest.mark.parametrize("size", [(80, 24), (160, 50)], ids=["80x24", "160x50"])


@pytest.fixture(autouse=True)
def no_toasts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A toast that is about to go must not decide a picture."""

    def silent(*args: Any, **kwargs: Any) -> None:
        return None

    monkeypatch.setattr(TokmemApp, "notify", silent)


def compare(snap_compare: Compare, app: TokmemApp, size: Size, steps: Steps) -> None:
    assert snap_compare(app, terminal_size=size, run_before=steps)


async def teach_three_ways(pilot: Pilot[None]) -> TokmemApp:
    """A corrected route, an answer kept as a pair, a bad answer; one correction waits."""
    app = await ready(pilot)
    await ask(pilot, "it was a lovely day because of you")
    await pilot.press("up", "w")
    await until(pilot, lambda: isinstance(app.screen, RouteDialog))
    await pilot.press("home", "enter")
    await until(pilot, lambda: bool(chat(app).session.turns[-1].answer.corrected_from) and not chat(app).busy)
    await ask(pilot, "hello there")
    await pilot.press("up", "-")
    await until(pilot, lambda: isinstance(app.screen, FaultDialog))
    await pilot.press("4")
    await until(pilot, lambda: chat(app).session.turns[-1].answer.rating == "bad")
    await ask(pilot, "I need to buy milk")
    await pilot.press("up", "+")
    await until(pilot, lambda: chat(app).query_one(LearnBar).display)
    return app


def test_nothing_said_and_nothing_taught(snap_compare: Compare, make_app: MakeApp, size: Size) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        await ready(pilot)

    compare(snap_compare, make_app(), size, steps)


def test_nothing_said(snap_compare: Compare, make_app: MakeApp, taught: None, size: Size) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        await ready(pilot)

    compare(snap_compare, make_app(), size, steps)


def test_taught(snap_compare: Compare, make_app: MakeApp, taught: None, size: Size) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        await teach_three_ways(pilot)
        await pilot.press("enter")

    compare(snap_compare, make_app(), size, steps)


def test_what_is_wrong(snap_compare: Compare, make_app: MakeApp, taught: None, size: Size) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        app = await ready(pilot)
        await ask(pilot, "I need to buy milk")
        await pilot.press("up", "-")
        await until(pilot, lambda: isinstance(app.screen, FaultDialog))

    compare(snap_compare, make_app(), size, steps)


def test_waiting_for_the_model(snap_compare: Compare, make_app: MakeApp, taught: None, size: Size) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        app = pilot.app
        assert isinstance(app, TokmemApp)
        await until(pilot, lambda: hasattr(app, "link") and "Loading the model 0%" in line(app))
        chat(app).query_one(Prompt).take("I need to buy milk")
        await pilot.press("enter")
        chat(app).query_one(Prompt).take("and feed the cat")
        await pilot.press("enter")
        await until(pilot, lambda: "1 waiting" in line(app) or "type on" in line(app))
        await until(pilot, lambda: len(chat(app).session.turns) == 2)
        await until(pilot, lambda: "loading the model" in turn_texts(app), "the engine says why the answer waits")

    compare(snap_compare, make_app("--load-delay", "600"), size, steps)


def test_error_in_place(snap_compare: Compare, make_app: MakeApp, taught: None, size: Size) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        await ready(pilot)
        await ask(pilot, "this is !oom indeed")

    compare(snap_compare, make_app(), size, steps)


def test_full_context(snap_compare: Compare, make_app: MakeApp, taught: None, size: Size) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        app = await ready(pilot)
        for word in ("one", "two", "three"):
            await ask(pilot, word)
        await until(pilot, lambda: "oldest cut" in line(app))

    compare(snap_compare, make_app("--context-messages", "2"), size, steps)


def test_temporary(snap_compare: Compare, make_app: MakeApp, taught: None, size: Size) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        app = await ready(pilot)
        await ask(pilot, "something that is kept")
        await pilot.press("ctrl+o")
        await until(pilot, lambda: "Temporary" in line(app))
        await ask(pilot, "a secret")

    compare(snap_compare, make_app(), size, steps)


def test_saving(snap_compare: Compare, make_app: MakeApp, taught: None, size: Size) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        app = await ready(pilot)
        await ask(pilot, "I need to buy milk")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: isinstance(app.screen, LineDialog))
        app.screen.query_one(Input).value = "/no/such/folder/milk.md"
        await pilot.press("enter")
        await until(pilot, lambda: "no folder" in texts(app, "#fault"))

    compare(snap_compare, make_app(), size, steps)


def test_before_and_after(snap_compare: Compare, make_app: MakeApp, taught: None, size: Size) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        app = await teach_three_ways(pilot)
        await pilot.press("f7")
        await until(pilot, lambda: isinstance(app.screen, TrainScreen))
        await until(pilot, lambda: train(app).pane == "result")

    compare(snap_compare, make_app(), size, steps)
