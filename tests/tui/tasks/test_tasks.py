"""What people come to do, from the first key to the last, at three sizes: each task ends where its person wanted.

Only keys are pressed and pasted text is pasted, as in a terminal; nothing is set from outside. What is in a browser has
its own tests (``tests/web``).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from textual import events
from textual.drivers.headless_driver import HeadlessDriver
from textual.pilot import Pilot

from profiles.files.paths import AppPaths
from tests.tui.driving import chat, last_view, ready, texts, train, until
from tui.banks.dialogs import ExportDialog
from tui.chat.choose_route import RouteDialog
from tui.chat.learn_bar import LearnBar
from tui.chat.prompt import Prompt
from tui.chat.screen import ChatScreen
from tui.kit import editor
from tui.kit.failure import FailureDialog
from tui.procedures.edit_procedure import ProcedureDialog
from tui.procedures.import_pairs import ImportDialog
from tui.procedures.screen import ProceduresScreen
from tui.profiles.lock_dialogs import NewPassphraseDialog, RecoveryKeyDialog
from tui.profiles.locked import LockedScreen
from tui.profiles.screen import ProfilesScreen
from tui.shell.app import TokmemApp
from tui.shell.welcome import WelcomeScreen
from tui.training.screen import TrainScreen

pytestmark = pytest.mark.asyncio
MakeApp = Callable[..., TokmemApp]

SIZES = [(80, 24), (120, 40), (160, 50)]
at_all_sizes = pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))
Size = tuple[int, int]


def keys_of(text: str) -> list[str]:
    """The keys that type a text."""
    return ["space" if letter == " " else letter for letter in text]


async def typed(pilot: Pilot[None], text: str, *then: str) -> None:
    """Type a text, then press some keys."""
    await pilot.press(*keys_of(text), *then)


async def shown(pilot: Pilot[None], kind: type) -> None:
    """Wait for a screen or a dialog."""
    await until(pilot, lambda: isinstance(pilot.app.screen, kind), kind.__name__)


async def say(pilot: Pilot[None], app: TokmemApp, text: str) -> str:
    """Type a message into the prompt, send it, and return the route of its answer."""
    await typed(pilot, text, "enter")
    await until(pilot, lambda: bool(chat(app).session.turns) and not chat(app).busy, f"answer to {text!r}")
    assert chat(app).session.turns[-1].question == text
    return str(chat(app).session.turns[-1].answer.route)


async def train_and_use(pilot: Pilot[None], app: TokmemApp, name: str) -> None:
    """Train the one procedure there is, from the Procedures screen, and take its memory into use."""
    await pilot.press("t")
    await shown(pilot, TrainScreen)
    if not app.trainings.jobs:
        await pilot.press("t")
    await until(pilot, lambda: train(app).pane == "result", "trained")
    await pilot.press("a")
    await until(pilot, lambda: app.recallable() == [name], "in use")


@at_all_sizes
async def test_import_a_file_train_it_use_it_and_give_it_away(make_app: MakeApp, tmp_path: Path, size: Size) -> None:
    rows = [
        f"lent the {thing} to {who},LENT {thing} | {who}"
        for thing, who in (("drill", "Paula"), ("tent", "Omar"), ("saw", "Ines"), ("rope", "Tim"), ("lamp", "Ada"))
    ]
    (tmp_path / "lending.csv").write_text("\n".join(["input,response", *rows]), "utf-8")
    async with make_app().run_test(size=size) as pilot:
        app = await ready(pilot)
        await pilot.press("f3")
        await shown(pilot, ProceduresScreen)
        await pilot.press("i")
        await shown(pilot, ImportDialog)
        await typed(pilot, str(tmp_path / "lending.csv"), "enter")
        await until(pilot, lambda: "5 pairs to learn from" in texts(app, "#found"), "read")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: [one.name for one in app.store.procedures.list()] == ["lending"], "imported")
        await shown(pilot, ProceduresScreen)
        await train_and_use(pilot, app, "lending")
        await pilot.press("f2")
        await shown(pilot, ChatScreen)
        assert await say(pilot, app, "lent the kettle to Noor") == "lending"
        await pilot.press("f3")
        await shown(pilot, ProceduresScreen)
        await pilot.press("x")
        await shown(pilot, ExportDialog)
        file = tmp_path / "lending.tokmem"
        await pilot.press("tab", "end", *["backspace"] * 30)
        await typed(pilot, str(file), "ctrl+s")
        await until(pilot, file.exists, "written")
        await shown(pilot, ProceduresScreen)


@at_all_sizes
async def test_teach_by_hand_correct_an_answer_and_train_again(make_app: MakeApp, size: Size) -> None:
    async with make_app().run_test(size=size) as pilot:
        app = await ready(pilot)
        await pilot.press("f3")
        await shown(pilot, ProceduresScreen)
        await pilot.press("a")
        await shown(pilot, ProcedureDialog)
        await typed(pilot, "tea_list", "ctrl+s")
        await shown(pilot, ProceduresScreen)
        for message, wanted in (("buy green tea", "TEA green"), ("buy black tea", "TEA black"), ("get tea", "TEA -")):
            await typed(pilot, message, "tab")
            await typed(pilot, wanted, "tab")
        await pilot.press("escape")
        await until(pilot, lambda: len(app.store.pairs.list("tea_list")) == 3, "three pairs")
        await train_and_use(pilot, app, "tea_list")
        await pilot.press("f2")
        await shown(pilot, ChatScreen)
        assert await say(pilot, app, "buy white tea") == "tea_list"
        await pilot.press("up", "plus")
        await until(pilot, lambda: len(app.store.pairs.list("tea_list")) == 4, "the answer is a pair")
        await until(pilot, lambda: chat(app).query_one(LearnBar).display, "it waits")
        await pilot.press("f7")
        await shown(pilot, TrainScreen)
        await until(pilot, lambda: train(app).pane == "result", "trained again")
        await pilot.press("a")
        await until(pilot, lambda: not app.store.feedback.waiting(app.fingerprint), "learned")


@at_all_sizes
async def test_send_a_wrong_route_back_to_plain_chat(
    make_app: MakeApp, taught: None, notices: list[str], size: Size
) -> None:
    async with make_app().run_test(size=size) as pilot:
        app = await ready(pilot)
        assert await say(pilot, app, "I need to buy a hat, which one?") == "todo_line"
        await pilot.press("up", "w")
        await shown(pilot, RouteDialog)
        await pilot.press("down", "enter")
        await until(pilot, lambda: isinstance(app.screen, ChatScreen) and not chat(app).busy, "answered again")
        [verdict] = app.store.corrections.list()
        assert (verdict.wrong_route, verdict.right_route) == ("todo_line", "none")
        assert chat(app).session.turns[-1].answer.route == "none"
        assert any("goes to plain chat from now on" in one for one in notices)


@at_all_sizes
async def test_paste_a_long_text_resize_and_write_without_an_editor(
    make_app: MakeApp, taught: None, monkeypatch: pytest.MonkeyPatch, size: Size
) -> None:
    monkeypatch.setattr(HeadlessDriver, "can_suspend", True)
    monkeypatch.setattr(editor, "EDITORS", ("no-such-editor",))
    for name in ("VISUAL", "EDITOR"):
        monkeypatch.delenv(name, raising=False)
    text = "\n".join(f"line {number} of a long text" for number in range(120))
    async with make_app().run_test(size=size) as pilot:
        app = await ready(pilot)
        app.post_message(events.Paste(text))
        await until(pilot, lambda: chat(app).query_one(Prompt).text == text, "pasted")
        await pilot.press("ctrl+g")
        await shown(pilot, FailureDialog)
        assert "EDITOR" in texts(app)
        await pilot.press("enter")
        await shown(pilot, ChatScreen)
        for width, height in ((40, 12), (200, 60), size):
            await pilot.resize_terminal(width, height)
            await pilot.pause()
        assert chat(app).query_one(Prompt).text == text, "nothing is lost"
        await pilot.press("enter")
        await until(pilot, lambda: bool(chat(app).session.turns) and not chat(app).busy, "answered")
        assert chat(app).session.turns[-1].question == text
        assert "more lines" in last_view(app).text, "folded"


@at_all_sizes
async def test_go_on_after_the_engine_was_killed(make_app: MakeApp, taught: None, size: Size) -> None:
    async with make_app("--token-delay", "0.2").run_test(size=size) as pilot:
        app = await ready(pilot)
        await typed(pilot, "tell me about tea", "enter")
        await until(pilot, lambda: bool(chat(app).session.turns and chat(app).session.turns[-1].answer.text), "begun")
        pid = app.link.client.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await shown(pilot, FailureDialog)
        await pilot.press("enter")
        await shown(pilot, ChatScreen)
        assert await say(pilot, app, "I need to buy milk") == "todo_line"


@at_all_sizes
async def test_lock_a_profile_and_open_it_again(make_app: MakeApp, taught: None, size: Size) -> None:
    async with make_app().run_test(size=size) as pilot:
        app = await ready(pilot)
        await pilot.press("f5")
        await shown(pilot, ProfilesScreen)
        await pilot.press("p")
        await shown(pilot, NewPassphraseDialog)
        await typed(pilot, "correct horse", "tab")
        await typed(pilot, "correct horse", "ctrl+s")
        await shown(pilot, RecoveryKeyDialog)
        await typed(pilot, texts(app, "#recovery")[-4:].lower(), "enter")
        await shown(pilot, ProfilesScreen)
        await pilot.press("ctrl+l")
        await shown(pilot, LockedScreen)
        await typed(pilot, "correct horse", "enter")
        await until(pilot, lambda: not app.locked, "open again")
        assert [one.name for one in app.store.procedures.list()] == ["mood_log", "todo_line"]


@at_all_sizes
async def test_begin_without_a_network(make_app: MakeApp, paths: AppPaths, size: Size) -> None:
    async with make_app(first_start=True, offline=True).run_test(size=size) as pilot:
        app = pilot.app
        assert isinstance(app, TokmemApp)
        await shown(pilot, WelcomeScreen)
        await until(pilot, lambda: "Offline" in texts(app, "#about"), "it says so")
        await pilot.press("escape")
        await shown(pilot, ChatScreen)
        assert not app.link.client.running and (paths.state / "welcomed").exists()
