"""The way out to an editor and back: with programs that are missing, fail or are killed, the screen always returns."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from textual.drivers.headless_driver import HeadlessDriver

from profiles.files.paths import AppPaths
from tests.memory_look import CTRL_Q, ENTER, PATIENCE, InTerminal
from tests.memory_look import until as eventually
from tests.tui.driving import chat, ready, texts, until
from tui.chat.prompt import Prompt
from tui.kit import editor
from tui.shell.app import TokmemApp

MakeApp = Callable[..., TokmemApp]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the editors here are shell scripts")


@pytest.fixture
def drawing(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Let the test's terminal be handed over. Whether the app draws, after each change of that."""
    states: list[bool] = []
    start, stop = HeadlessDriver.start_application_mode, HeadlessDriver.stop_application_mode

    def started(driver: HeadlessDriver) -> None:
        states.append(True)
        start(driver)

    def stopped(driver: HeadlessDriver) -> None:
        states.append(False)
        stop(driver)

    monkeypatch.setattr(HeadlessDriver, "can_suspend", True)
    monkeypatch.setattr(HeadlessDriver, "start_application_mode", started)
    monkeypatch.setattr(HeadlessDriver, "stop_application_mode", stopped)
    return states


def script(path: Path, text: str, interpreter: str = "/bin/sh") -> str:
    path.write_text(f"#!{interpreter}\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("body", "said", "text"),
    [
        ("exit 1", "ended with code 1", "milk"),
        ('echo lost > "$1"; exit 3', "ended with code 3", "milk"),
        ("kill -9 $$", "ended by SIGKILL before it saved", "milk"),
        ("sh -c 'kill -TERM $$'; exit $?", "ended by SIGTERM before it saved", "milk"),
        ('rm "$1"', "no such file", "milk"),
    ],
)
async def test_an_editor_that_fails(
    make_app: MakeApp,
    taught: None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    drawing: list[bool],
    body: str,
    said: str,
    text: str,
) -> None:
    monkeypatch.setenv("VISUAL", script(tmp_path / "broken-editor", body))
    async with make_app().run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        prompt = chat(app).query_one(Prompt)
        prompt.take("milk")
        await pilot.press("ctrl+g")
        await until(pilot, lambda: said in texts(app), said)
        assert drawing == [True, False, True], "the screen was left and is back"
        await pilot.press("enter")
        await until(pilot, lambda: app.screen is app.get_screen_stack("chat")[0], "the dialog is closed")
        await pilot.press("end", "x")
        assert prompt.text == text + "x", "keys arrive, and nothing is lost"
        assert not list(app.paths.state.glob("*.md"))


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "wanted",
    ["missing", "not executable", "unclosed", "no interpreter", "nothing installed"],
)
async def test_an_editor_that_cannot_be_started(
    make_app: MakeApp,
    taught: None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    drawing: list[bool],
    wanted: str,
) -> None:
    plain = tmp_path / "plain.txt"
    plain.write_text("no program")
    editors = {
        "missing": str(tmp_path / "missing"),
        "not executable": str(plain),
        "unclosed": "vim 'unclosed",
        "no interpreter": script(tmp_path / "odd", "true", str(tmp_path / "no-such-shell")),
        "nothing installed": " ",
    }
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", editors[wanted])
    monkeypatch.setattr(editor, "EDITORS", ("no-such-editor-1", "no-such-editor-2"))
    async with make_app().run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        prompt = chat(app).query_one(Prompt)
        prompt.take("milk")
        await pilot.press("ctrl+g")
        await until(pilot, lambda: "EDITOR" in texts(app), "what to do next")
        assert drawing == ([True, False, True] if wanted == "no interpreter" else [True])
        await pilot.press("enter")
        await until(pilot, lambda: app.screen is app.get_screen_stack("chat")[0], "the dialog is closed")
        await pilot.press("end", "x")
        assert prompt.text == "milkx"


@pytest.mark.asyncio
async def test_what_a_killed_editor_had_saved_comes_back(
    make_app: MakeApp,
    taught: None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    drawing: list[bool],
    notices: list[str],
) -> None:
    monkeypatch.setenv("VISUAL", script(tmp_path / "vim", 'printf " and eggs" >> "$1"; kill -9 $$'))
    async with make_app().run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        prompt = chat(app).query_one(Prompt)
        prompt.take("milk")
        await pilot.press("ctrl+g")
        await until(pilot, lambda: prompt.text == "milk and eggs")
        assert "SIGKILL; this is what it had saved" in notices[-1]
        assert drawing[-1]


@pytest.mark.asyncio
async def test_the_first_editor_that_is_installed(
    make_app: MakeApp, taught: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, drawing: list[bool]
) -> None:
    found = script(tmp_path / "second", 'printf " and eggs" >> "$1"')
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.delenv("EDITOR", raising=False)
    monkeypatch.setattr(editor, "EDITORS", ("no-such-editor", found))
    async with make_app().run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        prompt = chat(app).query_one(Prompt)
        prompt.take("milk")
        await pilot.press("ctrl+g")
        await until(pilot, lambda: prompt.text == "milk and eggs")


@pytest.mark.asyncio
async def test_ctrl_c_in_the_editor_does_not_end_the_app(
    make_app: MakeApp, taught: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, drawing: list[bool]
) -> None:
    before = signal.getsignal(signal.SIGINT)
    # The terminal sends Ctrl+C to both. What is ignored would be ignored by the editor too; it must not be.
    body = f'kill -INT {os.getpid()}; printf " and eggs" >> "$1"; kill -INT $$; printf " never" >> "$1"'
    monkeypatch.setenv("VISUAL", script(tmp_path / "cat", body))
    async with make_app().run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        prompt = chat(app).query_one(Prompt)
        prompt.take("milk")
        await pilot.press("ctrl+g")
        await until(pilot, lambda: prompt.text == "milk and eggs")
        assert signal.getsignal(signal.SIGINT) is before


@pytest.fixture
def in_terminal(paths: AppPaths, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[InTerminal]:
    """The app in a real terminal, whose editor draws, takes the terminal's echo away and is killed."""
    paths.state.mkdir(parents=True, exist_ok=True)
    (paths.state / "welcomed").touch()
    monkeypatch.setenv("VISUAL", script(tmp_path / "vim", "stty raw -echo; echo EDITOR-RUNS; kill -9 $$"))
    made = InTerminal("tests.tui.app_in_terminal", "--home", str(home))
    yield made
    made.end()


def test_the_terminal_is_as_before_after_an_editor_was_killed(in_terminal: InTerminal) -> None:
    app = in_terminal
    eventually(lambda: b"\x1b[?1049h" in app.shown and b"F2" in app.shown, "the first frame")
    app.type(b"milk\x07")
    eventually(lambda: b"EDITOR-RUNS" in app.shown, "the editor")
    eventually(lambda: b"SIGKILL" in app.shown.rpartition(b"EDITOR-RUNS")[2], "what happened, on the screen")
    app.type(ENTER)
    app.type(CTRL_Q)
    assert app.process.wait(PATIENCE) == 0
    assert app.echoes, "the shell gets its terminal as it was"
