"""One picture per screen and size. After a wanted change: ``pytest tests/tui/test_snapshots.py --snapshot-update``."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from tests.banks import bank, write
from tests.tui.driving import SIZES, ask, chat, ready, texts, until
from tui.banks.dialogs import BankDialog, ExportDialog
from tui.chat.choose_route import RouteDialog
from tui.chat.prompt import Prompt
from tui.kit.failure import FailureDialog
from tui.procedures.import_pairs import ImportDialog
from tui.procedures.screen import ProceduresScreen
from tui.shell.app import TokmemApp
from tui.shell.help import HelpDialog

MakeApp = Callable[..., TokmemApp]
Compare = Callable[..., bool]
Steps = Callable[[Pilot[None]], Awaitable[None]]

pytestmark = pytest.mark.parametrize("size", SIZES, ids=["80x24", "120x40"])


async def say_three_things(pilot: Pilot[None]) -> None:
    """A procedure, plain chat with Markdown, a forced route."""
    await ready(pilot)
    await ask(pilot, "I need to buy milk")
    await ask(pilot, "!markdown please")
    await ask(pilot, "@mood_log it was a lovely day")


async def go_to_procedures(pilot: Pilot[None]) -> TokmemApp:
    """F3, drawn."""
    app = await ready(pilot)
    await pilot.press("f3")
    await until(pilot, lambda: isinstance(app.screen, ProceduresScreen))
    return app


def compare(snap_compare: Compare, app: TokmemApp, size: tuple[int, int], steps: Steps) -> None:
    """Drive the app, then compare its picture."""
    assert snap_compare(app, terminal_size=size, run_before=steps)


def test_first_start(snap_compare: Compare, make_app: MakeApp, size: tuple[int, int]) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        await ready(pilot)

    compare(snap_compare, make_app(), size, steps)


def test_chat_examples(snap_compare: Compare, make_app: MakeApp, taught: None, size: tuple[int, int]) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        await ready(pilot)

    compare(snap_compare, make_app(), size, steps)


def test_chat(snap_compare: Compare, make_app: MakeApp, taught: None, size: tuple[int, int]) -> None:
    compare(snap_compare, make_app(), size, say_three_things)


def test_runners_up(snap_compare: Compare, make_app: MakeApp, taught: None, size: tuple[int, int]) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        await say_three_things(pilot)
        await pilot.press("up", "enter")

    compare(snap_compare, make_app(), size, steps)


def test_wrong_route(snap_compare: Compare, make_app: MakeApp, taught: None, size: tuple[int, int]) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        await say_three_things(pilot)
        await pilot.press("up", "w")
        await until(pilot, lambda: isinstance(pilot.app.screen, RouteDialog))

    compare(snap_compare, make_app(), size, steps)


def test_unknown_name(snap_compare: Compare, make_app: MakeApp, taught: None, size: tuple[int, int]) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        app = await ready(pilot)
        chat(app).query_one(Prompt).take("@todo buy milk")
        await pilot.press("enter")

    compare(snap_compare, make_app(), size, steps)


def test_history(snap_compare: Compare, make_app: MakeApp, taught: None, size: tuple[int, int]) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        app = await ready(pilot)
        await ask(pilot, "I need to buy milk")
        await pilot.press("ctrl+n")
        await ask(pilot, "a much longer question about nothing in particular")
        app.screen.set_focus(None)
        await pilot.press("ctrl+r")

    compare(snap_compare, make_app(), size, steps)


def test_help(snap_compare: Compare, make_app: MakeApp, taught: None, size: tuple[int, int]) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        await ready(pilot)
        await pilot.press("f1")
        await until(pilot, lambda: isinstance(pilot.app.screen, HelpDialog))

    compare(snap_compare, make_app(), size, steps)


def test_crash(snap_compare: Compare, make_app: MakeApp, taught: None, size: tuple[int, int]) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        app = await ready(pilot)
        chat(app).query_one(Prompt).take("!crash now please")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, FailureDialog))

    compare(snap_compare, make_app(), size, steps)


def test_export(snap_compare: Compare, make_app: MakeApp, taught: None, size: tuple[int, int]) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        app = await go_to_procedures(pilot)
        await pilot.press("x")
        await until(pilot, lambda: isinstance(app.screen, ExportDialog))

    compare(snap_compare, make_app(), size, steps)


def test_bank(
    snap_compare: Compare, make_app: MakeApp, taught: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    size: tuple[int, int],
) -> None:  # fmt: skip
    made = bank(2, with_pairs=True)
    moved = [replace(one, name=name) for one, name in zip(made.procedures, ("todo_line", "ledger"), strict=True)]
    probes = [replace(probe, route="none") for probe in made.probes]
    monkeypatch.setattr("time.gmtime", lambda *_: time.struct_time((2026, 1, 2, 3, 4, 5, 4, 2, 0)))
    write(tmp_path / "shared.tokmem", replace(made, procedures=moved, probes=probes, corrections=()))
    monkeypatch.chdir(tmp_path)

    async def steps(pilot: Pilot[None]) -> None:
        app = await go_to_procedures(pilot)
        await pilot.press("i")
        await until(pilot, lambda: isinstance(app.screen, ImportDialog))
        app.screen.query_one("#path", Input).value = "shared.tokmem"
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, BankDialog))
        await until(pilot, lambda: "It fits" in texts(app, "#verdict"))

    compare(snap_compare, make_app(), size, steps)


@pytest.fixture(autouse=True)
def no_toasts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A toast that is about to go must not decide a picture."""

    def silent(*args: Any, **kwargs: Any) -> None:
        return None

    monkeypatch.setattr(TokmemApp, "notify", silent)
