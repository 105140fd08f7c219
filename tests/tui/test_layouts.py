"""Every screen at 80, 100 and 120 columns: what is drawn after a change of size is what a start at that size draws."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from textual.geometry import Size
from textual.pilot import Pilot
from textual.widgets import Input

from tests.tui.driving import ask, chat, ready, until
from tokmem_desk.models.catalogue import GIB
from tokmem_desk.models.hardware_fit import Machine
from tui.chat.history import ConversationList, HistoryPanel
from tui.chat.prompt import Prompt
from tui.chat.transcript import TranscriptPane
from tui.engine_client.link import EngineState
from tui.kit.base import AppScreen
from tui.kit.key_footer import lines_of
from tui.kit.status_header import StatusHeader, shortened, shortenings
from tui.models import screen as models_module
from tui.procedures.procedure_table import ProcedureTable
from tui.shell.app import TokmemApp
from tui.shell.screens import SCREENS
from tui.shell.setting_view import SettingTable

MakeApp = Callable[..., TokmemApp]
WIDTHS = {80: 24, 100: 30, 120: 40}
SIZES = re.compile(r"[\d.,]+ (?:[KMG]i)?B\b")
MODES = [entry.mode for entry in SCREENS if entry.key]


def drawn(app: TokmemApp) -> list[str]:
    """The lines in sight, without what differs from moment to moment: sizes on disk, and of memory once measured."""
    lines = [strip.text.rstrip() for strip in app.screen._compositor.render_strips()]
    return [" ".join(SIZES.sub("SIZE", line).replace(", SIZE measured", "").split()) for line in lines]


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
    # What is free now decides how lines are wrapped, and so whether a panel has a scroll bar.
    machine = Machine(cores=4, processor="some processor", memory_bytes=6 * GIB, free_bytes=4 * GIB)
    monkeypatch.setattr(models_module, "look_at_machine", lambda: machine)


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
        whole = {80: "default", 100: "default · smollm2-135m · cpu", 120: "default · smollm2-135m-instruct · cpu bf16"}
        line = drawn(app)[0]
        assert line.endswith(f"Settings {whole[width]}") and "F3 Procedures F4 Train F5 Profiles F8 Models" in line
        header.show("default", state, "training 1 of 2 40%, 3 s left", "default")
        await settle(pilot)
        short = {
            80: "default · 40%",
            100: "default · training 1 of 2 40%",
            120: "default · training 1 of 2 40%, 3 s left",
        }
        line = drawn(app)[0]
        assert line.endswith(short[width]) and "F3 Procedures F4 Train F5 Profiles F8 Models" in line
        header.show("a-rather-long-name", EngineState("failed"), "", "default")
        await settle(pilot)
        assert drawn(app)[0].endswith({80: "a-… · stopped", 100: "name · stopped", 120: "default"}[width])


@pytest.mark.parametrize(
    ("words", "shorter"),
    [
        ("training 1 of 2 40%, 3 s left", ("training 1 of 2 40%", "40%")),
        ("loading 7%", ("loading 7%", "7%")),
        ("1 result waits", ("1 result waits", "waits")),
        ("stopping training", ("stopping training", "stopping")),
        ("training", ("training", "training")),
    ],
)
def test_what_goes_on_is_said_in_fewer_words(words: str, shorter: tuple[str, str]) -> None:
    assert shortened(words) == (words, *shorter)


def test_the_footer_keeps_the_menu_and_takes_a_second_line_where_there_is_one() -> None:
    assert lines_of([10, 20, 30], 15, Size(80, 24)) == [[0, 1, 2]]
    assert lines_of([10, 20, 40], 15, Size(80, 24)) == [[0, 1]], "the menu is there, the last key is not"
    assert lines_of([10, 20, 60, 40], 15, Size(80, 40)) == [[0, 1], [2]]
    assert lines_of([], 15, Size(80, 24)) == [[]]


@pytest.mark.parametrize("width", WIDTHS)
async def test_every_screen_shows_help_and_menu(make_app: MakeApp, taught: None, width: int) -> None:
    async with make_app().run_test(size=(width, WIDTHS[width])) as pilot:
        app = await ready(pilot)
        for mode in MODES:
            assert (await visit(pilot, app, mode))[-1].endswith("F1 Help ^p Menu"), mode
        if width == max(WIDTHS):
            await visit(pilot, app, "procedures")
            keys = " ".join(drawn(app)[-2:])
            for words in ("o Form and command", "w When it answers", "g Group", "c From a chat", "s Samples"):
                assert words in keys, words


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


async def test_the_arrow_goes_from_a_search_into_its_list(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await ready(pilot)
        await ask(pilot, "I need to buy milk")
        await pilot.press("ctrl+r", "down")
        await until(pilot, lambda: isinstance(app.focused, ConversationList) and app.focused.highlighted == 0)
        await visit(pilot, app, "procedures")
        await pilot.press("slash", "m", "o", "o", "down")
        await until(pilot, lambda: isinstance(app.focused, ProcedureTable) and app.focused.selected_name == "mood_log")
        await visit(pilot, app, "settings")
        await pilot.press("slash", "t", "h", "e", "down")
        await until(pilot, lambda: isinstance(app.focused, SettingTable))
