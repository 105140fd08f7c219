"""Procedures: the table, the pairs, import, lint, undo."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Button, Input, TextArea

from tests.tui.driving import SIZES, procedures, ready, texts, until
from tui.app import TokmemApp
from tui.screens.confirm import ConfirmDialog
from tui.screens.edit_pair import PairDialog
from tui.screens.edit_procedure import ProcedureDialog
from tui.screens.import_pairs import ImportDialog
from tui.screens.procedures import ProceduresScreen
from tui.screens.train import TrainScreen
from tui.widgets.pair_panel import PairTable
from tui.widgets.procedure_table import ProcedureTable

pytestmark = pytest.mark.asyncio
MakeApp = Callable[..., TokmemApp]


async def open_procedures(pilot: Pilot[None]) -> TokmemApp:
    """Wait for the app and go to the screen."""
    app = await ready(pilot)
    await pilot.press("f3")
    await until(pilot, lambda: isinstance(app.screen, ProceduresScreen))
    return app


def rows(app: TokmemApp) -> list[list[str]]:
    """The table as text."""
    table = procedures(app).query_one(ProcedureTable)
    return [[str(cell) for cell in table.get_row_at(row)] for row in range(table.row_count)]


@pytest.mark.parametrize("size", SIZES)
async def test_table_and_pairs(make_app: MakeApp, taught: None, size: tuple[int, int]) -> None:
    async with make_app().run_test(size=size) as pilot:
        app = await open_procedures(pilot)
        shown = rows(app)
        assert shown[0][:2] == ["mood_log", "2"]
        assert shown[1][:2] == ["todo_line", "8"]
        assert "● trained, v1" in shown[0]
        await pilot.press("j")
        await until(pilot, lambda: len(procedures(app).query_one(PairTable).pairs) == 9)
        assert "1 held out" in texts(app, "#about")
        assert "ROUGE-L 0.88" in texts(app, "#about")
        await pilot.press("k")
        await until(pilot, lambda: "Only 2 different pairs" in texts(app, "#findings"))


async def test_samples(make_app: MakeApp) -> None:
    async with make_app().run_test() as pilot:
        app = await open_procedures(pilot)
        assert procedures(app).query_one("#empty").display
        await pilot.press("s")
        await until(pilot, lambda: [row[0] for row in rows(app)] == ["contact_card", "mood_log", "todo_line"])
        assert not procedures(app).query_one("#empty").display
        assert app.store.procedure("todo_line").held_out_count == 12
        await pilot.press("s")
        assert len(rows(app)) == 3


async def test_writing_a_procedure(make_app: MakeApp) -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        app = await open_procedures(pilot)
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, ProcedureDialog))
        await pilot.press(*"None", "enter", "enter")
        assert "cannot name a procedure" in texts(app, "#fault")
        app.screen.query_one("#name", Input).value = "greet"
        await pilot.press("ctrl+s")
        await until(pilot, lambda: isinstance(app.screen, PairDialog))
        await pilot.press(*"hi")
        await pilot.press("ctrl+s")
        assert "the response is empty" in texts(app, "#fault")
        await pilot.press("tab", *"ho", "ctrl+n")
        await until(pilot, lambda: len(app.store.pairs("greet")) == 1)
        await until(pilot, lambda: app.screen.query_one("#input", TextArea).text == "")
        await pilot.press(*"a", "enter", "b", "tab", "c", "ctrl+s")
        await until(pilot, lambda: len(app.store.pairs("greet")) == 2)
        assert app.store.pairs("greet")[1].input == "a\nb"
        await until(pilot, lambda: rows(app)[0][1] == "2")


async def test_changed_pairs_are_counted_and_undone(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await open_procedures(pilot)
        await pilot.press("right", "down", "e")
        await until(pilot, lambda: isinstance(app.screen, PairDialog))
        app.screen.query_one("#response", TextArea).load_text("mood: awful; because: the rain")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "◐ 1 pair changed" in rows(app)[0])
        assert "1 pair changed since training" in texts(app, "#about")
        await pilot.press("d")
        await until(pilot, lambda: len(app.store.pairs("mood_log")) == 1)
        await pilot.press("ctrl+z", "ctrl+z")
        await until(pilot, lambda: "● trained, v1" in rows(app)[0])
        assert [pair.response for pair in app.store.pairs("mood_log")][1] == "mood: bad; because: the rain"


async def test_pair_keys(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test() as pilot:
        app = await open_procedures(pilot)
        await pilot.press("right", "a")
        await until(pilot, lambda: isinstance(app.screen, PairDialog))
        await pilot.press("escape")
        await pilot.press("j", "k", "left")
        assert isinstance(app.focused, ProcedureTable)


async def test_delete_asks_and_undo_brings_back(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test() as pilot:
        app = await open_procedures(pilot)
        await pilot.press("d")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("enter")
        await until(pilot, lambda: not isinstance(app.screen, ConfirmDialog))
        assert len(rows(app)) == 2
        await pilot.press("d")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("tab", "enter")
        await until(pilot, lambda: len(rows(app)) == 1)
        await pilot.press("ctrl+z")
        await until(pilot, lambda: len(rows(app)) == 2)


async def test_space_switches_off(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await open_procedures(pilot)
        await pilot.press("space")
        await until(pilot, lambda: rows(app)[0][-1] == "off")
        assert not app.store.procedure("mood_log").enabled
        await pilot.press("space")
        await until(pilot, lambda: rows(app)[0][-1] == "on")


async def test_filter(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test() as pilot:
        app = await open_procedures(pilot)
        await pilot.press("slash", *"todo", "enter")
        await until(pilot, lambda: [row[0] for row in rows(app)] == ["todo_line"])
        assert isinstance(app.focused, ProcedureTable)
        await pilot.press("escape")
        await until(pilot, lambda: len(rows(app)) == 2)


async def test_rename(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test() as pilot:
        app = await open_procedures(pilot)
        await pilot.press("e")
        await until(pilot, lambda: isinstance(app.screen, ProcedureDialog))
        app.screen.query_one("#name", Input).value = "todo_line"
        await pilot.press("ctrl+s")
        assert "already" in texts(app, "#fault")
        app.screen.query_one("#name", Input).value = "diary"
        await pilot.press("ctrl+s")
        await until(pilot, lambda: rows(app)[0][0] == "diary")


async def test_train_this_one(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test() as pilot:
        app = await open_procedures(pilot)
        await pilot.press("j", "t")
        await until(pilot, lambda: isinstance(app.screen, TrainScreen))
        job = app.runner.job
        assert job is not None
        assert job.names == ["todo_line"]
        await until(pilot, lambda: not job.running)


async def test_import_with_bad_rows(make_app: MakeApp, tmp_path: Path) -> None:
    file = tmp_path / "Cash book.csv"
    file.write_text('input,response\ncoffee 3,"[/INST] coffee | 3"\n,empty\ntea 2,tea | 2\n', encoding="utf-8")
    async with make_app().run_test(size=(80, 24)) as pilot:
        app = await open_procedures(pilot)
        await pilot.press("i")
        await until(pilot, lambda: isinstance(app.screen, ImportDialog))
        app.screen.query_one("#path", Input).value = str(file)
        await pilot.press("enter")
        await until(pilot, lambda: "2 pairs to learn from" in texts(app, "#found"))
        assert "line 3" in texts(app, "#found")
        assert str(app.screen.query_one("#import", Button).label) == "Import the other 2 pairs"
        assert app.screen.query_one("#name", Input).value == "cash_book"
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, ProceduresScreen) and rows(app)[0][:2] == ["cash_book", "2"])
        assert app.store.pairs("cash_book")[0].source == "Cash book.csv"


async def test_import_errors_stay_in_place(make_app: MakeApp, tmp_path: Path) -> None:
    async with make_app().run_test() as pilot:
        app = await open_procedures(pilot)
        await pilot.press("i")
        await until(pilot, lambda: isinstance(app.screen, ImportDialog))
        app.screen.query_one("#path", Input).value = str(tmp_path / "nothing.csv")
        await pilot.press("enter")
        await until(pilot, lambda: "nothing.csv" in texts(app, "#fault"))
        assert isinstance(app.screen, ImportDialog)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, ProceduresScreen))


async def test_other_programs_are_noticed(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test() as pilot:
        app = await open_procedures(pilot)
        app.store.set_enabled("mood_log", False)
        await until(pilot, lambda: "off" in " ".join(rows(app)[0]))
