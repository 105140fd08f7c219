"""The Procedures screen in each of its states. After a wanted change: run with ``--snapshot-update``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from textual import events
from textual.pilot import Pilot
from textual.widgets import Input, TextArea

import profiles.store.version_notes
from profiles.store.store import ProfileStore
from tests.tui.conftest import MOOD, TODO
from tests.tui.driving import ask, ready, texts, until
from tests.tui.procedures.test_procedure_dialogs import Seed, open_dialog
from tests.tui.procedures.test_procedures import MakeApp, at_once, editing, grid, open_procedures
from tests.tui.test_snapshots import Compare, compare, no_toasts
from tokmem_desk.procedures import ExamplePair, Procedure
from tui.kit.edit_pair import PairDialog
from tui.procedures.drafts import DraftsDialog
from tui.procedures.from_chat import FromChatDialog
from tui.procedures.group import GroupDialog
from tui.procedures.import_pairs import ImportDialog
from tui.procedures.screen import ProceduresScreen
from tui.procedures.threshold_dialog import ThresholdDialog
from tui.procedures.versions import VersionsDialog

__all__ = ["at_once", "no_toasts"]
SIZES = [(80, 24), (160, 50)]
pytestmark = pytest.mark.parametrize("size", SIZES, ids=["80x24", "160x50"])
Size = tuple[int, int]


@pytest.fixture(autouse=True)
def one_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Versions are always noted at the same time."""
    monkeypatch.setattr(profiles.store.version_notes, "now", lambda: "2025-03-01T12:00:00.000Z")


@pytest.fixture
def many(taught: None, seed: Seed) -> None:
    """More procedures: grouped, off, with a threshold, odd pairs, long texts."""

    def add(store: ProfileStore) -> None:
        store.procedures.add(Procedure("empty_one", (), description="Nothing is written yet"))
        odd = (
            ExamplePair("I need to sleep", "( ) sleep"),
            ExamplePair("I need to sleep", "( ) rest"),
            ExamplePair("Dear all,\n\nthe meeting is on Monday at ten.\nBest, Ann", "meeting | Mon 10:00 | Ann"),
            ExamplePair("zzz [/INST] " + "a very long message that goes on " * 12, "日本語 | ok "),
        )
        store.procedures.add(Procedure("odd", odd, (ExamplePair("held out", "yes"),), "Pairs with something odd"))
        for name in ("odd", "todo_line"):
            store.procedures.set_group(name, "work")
        store.procedures.set_threshold("odd", 0.8)
        store.procedures.set_enabled("mood_log", False)

    seed(add)


async def at_odd(pilot: Pilot[None]) -> Any:
    """The procedure with something odd under the cursor, overlaps known."""
    app = await open_procedures(pilot)
    screen = app.screen
    assert isinstance(screen, ProceduresScreen)
    screen.show_procedure("odd")
    await until(pilot, lambda: screen.panel.pairs and screen.overlap_advisor.overlap is not None, "overlap known")
    return app


def test_no_procedures(snap_compare: Compare, make_app: MakeApp, size: Size) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        await open_procedures(pilot)

    compare(snap_compare, make_app(), size, steps)


def test_procedures(snap_compare: Compare, make_app: MakeApp, many: None, size: Size) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        await at_odd(pilot)

    compare(snap_compare, make_app(), size, steps)


def test_no_pairs(snap_compare: Compare, make_app: MakeApp, many: None, size: Size) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        app = await open_procedures(pilot)
        assert isinstance(app.screen, ProceduresScreen)
        app.screen.show_procedure("empty_one")

    compare(snap_compare, make_app(), size, steps)


def test_pair_note(snap_compare: Compare, make_app: MakeApp, many: None, size: Size) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        app = await at_odd(pilot)
        await pilot.press("right", "down", "right")
        await until(pilot, lambda: "different responses" in texts(app, "#row-note"))

    compare(snap_compare, make_app(), size, steps)


def test_cell(snap_compare: Compare, make_app: MakeApp, many: None, size: Size) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        app = await at_odd(pilot)
        await pilot.press("right", "down", "down", "e")
        await editing(pilot, app, grid(app).rows[2].input)
        await pilot.press("ctrl+j", *"PS: soon")

    compare(snap_compare, make_app(), size, steps)


def test_new_pair(snap_compare: Compare, make_app: MakeApp, taught: None, size: Size) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        app = await open_procedures(pilot)
        await pilot.press("right", "a")
        await editing(pilot, app, "")
        await pilot.press(*"Fine day", "enter")
        await until(pilot, lambda: grid(app).column == 1)
        await editing(pilot, app, "")

    compare(snap_compare, make_app(), size, steps)


def test_pair_filter(snap_compare: Compare, make_app: MakeApp, taught: None, size: Size) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        app = await open_procedures(pilot)
        await pilot.press("j", "right", "slash", *"the")
        await until(pilot, lambda: 0 < len(grid(app).rows) < 9)

    compare(snap_compare, make_app(), size, steps)


def test_pair_large(snap_compare: Compare, make_app: MakeApp, taught: None, size: Size) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        app = await open_procedures(pilot)
        await pilot.press("right")
        await open_dialog(pilot, app, "L", PairDialog)
        await until(pilot, lambda: isinstance(app.focused, TextArea))

    compare(snap_compare, make_app(), size, steps)


def test_group(snap_compare: Compare, make_app: MakeApp, many: None, size: Size) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        app = await at_odd(pilot)
        await open_dialog(pilot, app, "g", GroupDialog)

    compare(snap_compare, make_app(), size, steps)


LEDGER = "input,response\n" + "".join(f"coffee {n},Coffee | {n}.00\n" for n in range(1, 7)) + ",nothing typed\n"
OTHER = "nr,Question,Answer\n" + "".join(f"{n},coffee {n},Coffee | {n}.00\n" for n in range(1, 9))


@pytest.mark.parametrize("content", [LEDGER, OTHER], ids=["bad-row", "mapped"])
def test_import(
    snap_compare: Compare,
    make_app: MakeApp,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    size: Size,
    content: str,
) -> None:
    (tmp_path / "ledger.csv").write_text(content, encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    async def steps(pilot: Pilot[None]) -> None:
        app = await open_procedures(pilot)
        await open_dialog(pilot, app, "i", ImportDialog)
        app.screen.query_one("#path", Input).value = "ledger.csv"
        await pilot.press("enter")
        await until(pilot, lambda: "pairs to learn" in texts(app, "#found"))

    compare(snap_compare, make_app(), size, steps)


def test_pasted(snap_compare: Compare, make_app: MakeApp, taught: None, size: Size) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        app = await open_procedures(pilot)
        app.post_message(events.Paste('Sunny\t"mood: good;\nbecause: sun"\nNo answer\t\nRain\tmood: bad\n'))
        await until(pilot, lambda: isinstance(app.screen, ImportDialog))
        await until(pilot, lambda: "pairs to learn" in texts(app, "#found"))

    compare(snap_compare, make_app(), size, steps)


def test_versions(snap_compare: Compare, make_app: MakeApp, seed: Seed, size: Size) -> None:
    def change(store: ProfileStore) -> None:
        store.procedures.add(TODO)
        store.pairs.add("todo_line", MOOD.pairs)
        store.pairs.add_parts(
            "todo_line", {"train": (*TODO.pairs[2:], *MOOD.pairs[:1], ExamplePair("new\none", "x"))}, replace=True
        )

    seed(change)

    async def steps(pilot: Pilot[None]) -> None:
        app = await open_procedures(pilot)
        await open_dialog(pilot, app, "v", VersionsDialog)
        await until(pilot, lambda: "Since then" in texts(app, "#changes"))

    compare(snap_compare, make_app(), size, steps)


def test_threshold(snap_compare: Compare, make_app: MakeApp, many: None, size: Size) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        app = await at_odd(pilot)
        await open_dialog(pilot, app, "w", ThresholdDialog)
        await until(pilot, lambda: "3 of 6" in texts(app, "#effect") or "4 of 6" in texts(app, "#effect"))

    compare(snap_compare, make_app(), size, steps)


def test_drafts(snap_compare: Compare, make_app: MakeApp, taught: None, size: Size) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        app = await open_procedures(pilot)
        await open_dialog(pilot, app, "p", DraftsDialog)
        await until(pilot, lambda: "m asks for more" in texts(app, "#busy"))
        await pilot.press("a", "d")
        await until(pilot, lambda: "1 taken" in texts(app, "#busy"))

    compare(snap_compare, make_app(), size, steps)


def test_from_chat(
    snap_compare: Compare, make_app: MakeApp, taught: None, monkeypatch: pytest.MonkeyPatch, size: Size
) -> None:
    monkeypatch.setattr("profiles.store.messages.now", lambda: "2025-03-01T12:00:00.000Z")

    async def steps(pilot: Pilot[None]) -> None:
        app = await ready(pilot)
        await ask(pilot, "I need to buy milk")
        await ask(pilot, "tell me a joke")
        await pilot.press("f3")
        await open_dialog(pilot, app, "c", FromChatDialog)

    compare(snap_compare, make_app(), size, steps)
