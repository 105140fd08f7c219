"""Every screen at 80, 100 and 120 columns: what is drawn after a change of size is what a start at that size draws."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from tests.tui.driving import ask, chat, ready, until
from tui.chat.history import HistoryPanel
from tui.chat.prompt import Prompt
from tui.chat.transcript import TranscriptPane
from tui.engine_client.link import EngineState
from tui.kit.base import AppScreen
from tui.kit.status_header import StatusHeader, shortenings
from tui.shell.app import TokmemApp
from tui.shell.screens import SCREENS

MakeApp = Callable[..., TokmemApp]
WIDTHS = {80: 24, 100: 30, 120: 40}
SIZES = re.compile(r"[\d.,]+ (?:[KMG]i)?B\b")
MODES = [entry.mode for entry in SCREENS if entry.key]


def drawn(app: TokmemApp) -> list[str]:
    """The lines in sight, without what differs from moment to moment: sizes on disk and of memory."""
    lines = [strip.text.rstrip() for strip in app.screen._compositor.render_strips()]
    return [" ".join(SIZES.sub("SIZE", line).split()) for line in lines]


async def settle(pilot: Pilot[None]) -> None:
    """Let the screen come to rest."""
    for _ in range(6):
        await pilot.pause()


async def visit(pilot: Pilot[None], app: TokmemApp, mode: str) -> list[str]:
    """Go to a screen and read it."""
    await app.switch_mode(mode)
    await settle(pilot)
    return drawn(app)


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that tells of the moment: what memory is in use, and toasts."""
    monkeypatch.setattr(TokmemApp, "notify", lambda *args, **kwargs: None)


@pytest.mark.parametrize("way", [(120, 80), (80, 120), (120, 100)], ids=lambda way: f"{way[0]}-{way[1]}")
async def test_a_resized_screen_is_as_one_that_began_so(
    make_app: MakeApp, taught: None, still: None, way: tuple[int, int]
) -> None:
    before, after = way
    async with make_app().run_test(size=(before, WIDTHS[before])) as pilot:
        app = await ready(pilot)
        await ask(pilot, "I need to buy milk")
        resized = {}
        for mode in MODES:
            await pilot.resize_terminal(before, WIDTHS[before])
            await visit(pilot, app, mode)
            await pilot.resize_terminal(after, WIDTHS[after])
            await settle(pilot)
            resized[mode] = drawn(app)
    async with make_app().run_test(size=(after, WIDTHS[after])) as pilot:
        app = await ready(pilot)
        await settle(pilot)
        fresh = {mode: await visit(pilot, app, mode) for mode in MODES}
    for mode in MODES:
        assert resized[mode] == fresh[mode], mode


@pytest.mark.parametrize("width", WIDTHS)
async def test_the_header_names_model_and_device_whole(make_app: MakeApp, taught: None, width: int) -> None:
    async with make_app().run_test(size=(width, WIDTHS[width])) as pilot:
        app = await ready(pilot)
        header = app.screen.query_one(StatusHeader)
        backbone = {"id": "HuggingFaceTB/smollm2-135m-instruct", "device": "cpu", "dtype": "bf16"}
        state = EngineState("ready", backbone=backbone)  # type: ignore[arg-type]
        header.show("default", state, "", "default")
        await settle(pilot)
        assert drawn(app)[0].rstrip().endswith("default · smollm2-135m-instruct · cpu bf16")
        header.show("default", state, "training 1 of 2", "default")
        await settle(pilot)
        line = drawn(app)[0]
        assert "training 1 of 2 · smollm2-135m" in line and "cpu" in line and "…" not in line


def test_words_go_before_names_are_cut() -> None:
    assert shortenings("Qwen2.5-0.5B-Instruct", "cuda", "bf16")[:3] == [
        ("Qwen2.5-0.5B-Instruct", "cuda bf16"),
        ("Qwen2.5-0.5B-Instruct", "cuda"),
        ("Qwen2.5-0.5B", "cuda"),
    ]


async def test_made_narrower_while_an_answer_streams_the_chat_is_whole(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await ready(pilot)
        history, pane = app.screen.query_one(HistoryPanel), app.screen.query_one(TranscriptPane)
        assert history.display
        chat(app).query_one(Prompt).take("!slow one")
        await pilot.press("enter")
        await until(pilot, lambda: "word3" in chat(app).session.turns[-1].answer.text)
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: not history.display)
        await until(pilot, lambda: pane.region.x == 0 and pane.region.width >= 78, "the whole width")
        await until(pilot, lambda: any("word" in line for line in drawn(app)))
        await pilot.resize_terminal(100, 30)
        await until(pilot, lambda: history.display)
        await until(pilot, lambda: pane.region.x >= history.region.right > 0, "beside the history")
        await pilot.press("escape")
        await until(pilot, lambda: not chat(app).busy)


async def test_the_history_stays_as_the_person_wants_it(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await ready(pilot)
        history = app.screen.query_one(HistoryPanel)
        await pilot.press("ctrl+r")
        await until(pilot, lambda: isinstance(app.focused, Input))
        await pilot.press("ctrl+r")
        await until(pilot, lambda: not history.display)
        for width in (80, 120):
            await pilot.resize_terminal(width, 24)
            await settle(pilot)
            assert not history.display, "hidden by hand"
        await pilot.resize_terminal(80, 24)
        await pilot.press("ctrl+r")
        await until(pilot, lambda: history.display and history.has_focus_within)
        await pilot.resize_terminal(90, 24)
        await settle(pilot)
        assert history.display, "in use, over the chat"
        assert isinstance(app.screen, AppScreen)
