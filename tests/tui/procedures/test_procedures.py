"""Procedures: the table, the grid that is edited in place, filters, groups, undo, overlaps."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Static, TextArea

import tui.procedures.advice
from profiles.store.store import ProfileStore
from tests.tui.conftest import remember
from tests.tui.driving import SIZES, procedures, ready, texts, until
from tokmem_desk.procedures import ExamplePair, Procedure
from tokmem_desk.templates.template import TEMPLATE_SETTING, AnswerTemplate, Part
from tui.kit.confirm import ConfirmDialog
from tui.kit.edit_pair import PairDialog
from tui.kit.wrapped import one_line, wrapped
from tui.procedures.advice import LINTED_AT_ONCE
from tui.procedures.chain import ChainDialog
from tui.procedures.edit_procedure import ProcedureDialog
from tui.procedures.group import GroupDialog
from tui.procedures.pair_grid import MEASURED_ROWS, PairGrid
from tui.procedures.procedure_table import ProcedureTable
from tui.procedures.screen import ProceduresScreen
from tui.shell.app import TokmemApp
from tui.training.screen import TrainScreen

MakeApp = Callable[..., TokmemApp]
Seed = Callable[[Callable[[ProfileStore], None]], None]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Overlaps are looked for without waiting."""
    monkeypatch.setattr(tui.procedures.advice, "OVERLAP_AFTER_SECONDS", 0.01)


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


def grid(app: TokmemApp) -> PairGrid:
    """The pairs."""
    return procedures(app).panel.grid


def editor(app: TokmemApp) -> TextArea:
    """What lies over a cell."""
    return procedures(app).panel.editor


async def editing(pilot: Pilot[None], app: TokmemApp, text: str) -> None:
    """Wait until a cell with this text is edited."""
    await until(
        pilot, lambda: editor(app).display and editor(app).has_focus and editor(app).text == text, f"editing {text!r}"
    )


def pairs(app: TokmemApp, name: str) -> list[tuple[str, str]]:
    """What is stored."""
    return [(pair.input, pair.response) for pair in app.store.pairs.list(name)]


@pytest.mark.parametrize("size", SIZES)
async def test_table_and_pairs(make_app: MakeApp, taught: None, size: tuple[int, int]) -> None:
    async with make_app().run_test(size=size) as pilot:
        app = await open_procedures(pilot)
        shown = rows(app)
        assert shown[0][:2] == ["mood_log", "2"]
        assert shown[1][:2] == ["todo_line", "8"]
        assert "● trained, v1" in shown[0]
        await pilot.press("j")
        await until(pilot, lambda: len(grid(app).rows) == 9)
        assert [row.sign for row in grid(app).rows] == [""] * 8 + ["t"]
        assert "1 held out" in texts(app, "#about")
        assert "alike 88%" in texts(app, "#about")
        await pilot.press("k")
        await until(pilot, lambda: "Only 2 different pairs" in texts(app, "#findings"))


async def test_the_form_of_answers_stands_above_the_pairs(make_app: MakeApp, taught: None, seed: Seed) -> None:
    form = AnswerTemplate((Part("text", ("( ) ",)), Part("taken", ways=("as it is",), tokens=2), Part("free")))
    seed(lambda store: remember(store, "todo_line", {TEMPLATE_SETTING: form.as_dict()}))
    async with make_app().run_test(size=SIZES[-1]) as pilot:
        app = await open_procedures(pilot)
        await pilot.press("j")
        await until(pilot, lambda: "Answers look like  ( ) ‹" in texts(app, "#about"))
        assert "‹…› from your message, … written anew" in texts(app, "#about")


async def test_samples(make_app: MakeApp) -> None:
    async with make_app().run_test() as pilot:
        app = await open_procedures(pilot)
        assert procedures(app).query_one("#empty").display
        await pilot.press("s")
        await until(pilot, lambda: len(rows(app)) == 3)
        await pilot.press("s")
        assert len(rows(app)) == 3


async def test_write_a_procedure_by_hand(make_app: MakeApp) -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        app = await open_procedures(pilot)
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, ProcedureDialog))
        await pilot.press(*"None", "enter", "enter")
        assert "cannot name a procedure" in texts(app, "#fault")
        app.screen.query_one("#name", Input).value = "greet"
        await pilot.press("ctrl+s")
        await until(pilot, lambda: isinstance(app.screen, ProceduresScreen))
        await editing(pilot, app, "")
        await pilot.press(*"hi", "enter")
        await until(pilot, lambda: grid(app).column == 1)
        await editing(pilot, app, "")
        await pilot.press(*"a", "ctrl+j", *"b", "shift+enter", *"c", "enter")
        await until(pilot, lambda: pairs(app, "greet") == [("hi", "a\nb\nc")])
        await editing(pilot, app, "")
        assert grid(app).column == 0, "the next pair is begun"
        await pilot.press(*"yo", "tab")
        await until(pilot, lambda: grid(app).column == 1)
        await editing(pilot, app, "")
        await pilot.press(*"ho", "tab")
        await until(pilot, lambda: len(pairs(app, "greet")) == 2)
        await editing(pilot, app, "")
        await pilot.press("escape")
        await until(pilot, lambda: len(grid(app).rows) == 2)
        assert grid(app).has_focus and app.store.versions.list("greet")[0].number == 1


async def test_a_begun_pair_is_not_lost(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await open_procedures(pilot)
        await pilot.press("right", "a")
        await editing(pilot, app, "")
        await pilot.press(*"half", "enter")
        await until(pilot, lambda: grid(app).column == 1)
        await editing(pilot, app, "")
        await pilot.press("escape")
        await until(pilot, lambda: grid(app).has_focus)
        assert grid(app).rows[-1].input == "half" and grid(app).rows[-1].sign == "✎"
        await pilot.press("left", "left", "j", "k")
        await until(pilot, lambda: grid(app).rows[-1].input == "half")
        assert len(pairs(app, "mood_log")) == 2
        await pilot.press("right", "a")
        await editing(pilot, app, "")
        await pilot.press(*"done", "enter")
        await until(pilot, lambda: ("half", "done") in pairs(app, "mood_log"))
        await pilot.press("escape", "a", *"drop me", "shift+tab")
        await until(pilot, lambda: grid(app).has_focus and grid(app).rows[-1].input == "drop me")
        await pilot.press("end", "d")
        await until(pilot, lambda: len(grid(app).rows) == 3)


async def test_cells_are_edited_in_place(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await open_procedures(pilot)
        await pilot.press("right", "down", "right", "e")
        await editing(pilot, app, "mood: bad; because: the rain")
        editor(app).load_text("mood: awful; because: the rain")
        await pilot.press("enter")
        await until(pilot, lambda: "◐ 1 pair changed" in rows(app)[0])
        assert "1 pair changed since training" in texts(app, "#about")
        assert pairs(app, "mood_log")[1][1] == "mood: awful; because: the rain"
        assert grid(app).has_focus and (grid(app).row, grid(app).column) == (1, 1)
        await pilot.press("enter")
        await editing(pilot, app, "mood: awful; because: the rain")
        await pilot.press("shift+tab")
        await editing(pilot, app, "Bad day because of the rain")
        editor(app).load_text("  ")
        await pilot.press("enter")
        await until(pilot, lambda: "the input is empty" in texts(app, "#row-note"))
        assert editor(app).has_focus
        await pilot.press("escape")
        await until(pilot, lambda: grid(app).has_focus)
        await pilot.press("home", "e")
        await editing(pilot, app, "Lovely day because my sister came")
        await pilot.press(*"!", "tab")
        await editing(pilot, app, "mood: good; because: my sister came")
        assert pairs(app, "mood_log")[0][0].endswith("came!")
        await pilot.press(*"?", "f2")
        await until(pilot, lambda: pairs(app, "mood_log")[0][1].endswith("came?"), "leaving keeps what was typed")


async def test_quitting_keeps_what_is_being_written(make_app: MakeApp, taught: None, seed: Seed) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await open_procedures(pilot)
        await pilot.press("right", "e")
        await editing(pilot, app, "Lovely day because my sister came")
        await pilot.press(*" home", "ctrl+q")
    kept = []
    seed(lambda store: kept.append(store.pairs.list("mood_log")[0].input))
    assert kept == ["Lovely day because my sister came home"]


async def test_other_keys_of_the_pairs(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await open_procedures(pilot)
        await pilot.press("j", "l")
        await until(pilot, lambda: len(grid(app).rows) == 9)
        await pilot.press("end", "space")
        await until(pilot, lambda: app.store.procedures.get("todo_line").held_out_count == 0)
        await until(pilot, lambda: grid(app).rows[-1].sign == "")
        await pilot.press("ctrl+z")
        await until(pilot, lambda: app.store.procedures.get("todo_line").held_out_count == 1)
        await pilot.press("home", "d")
        await until(pilot, lambda: app.store.procedures.get("todo_line").pair_count == 7)
        await pilot.press("u")
        await until(pilot, lambda: app.store.procedures.get("todo_line").pair_count == 8)
        await pilot.press("pagedown", "pageup", "down", "up", "j", "k", "l", "h")
        assert (grid(app).row, grid(app).column) == (0, 0)
        await pilot.press("L")
        await until(pilot, lambda: isinstance(app.screen, PairDialog))
        app.screen.query_one("#response", TextArea).load_text("changed at large")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: pairs(app, "todo_line")[0][1] == "changed at large")
        await pilot.press("h")
        await until(pilot, lambda: isinstance(app.focused, ProcedureTable), "a key waits for the end of what was asked")


async def test_the_mouse_chooses_and_edits_cells(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await open_procedures(pilot)
        await until(pilot, lambda: len(grid(app).rows) == 2)
        place = (grid(app).size.width - 5, 1)
        await pilot.click(PairGrid, offset=place)
        await until(pilot, lambda: (grid(app).row, grid(app).column) == (0, 1))
        await pilot.click(PairGrid, offset=place)
        await editing(pilot, app, "mood: good; because: my sister came")


async def test_filters(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await open_procedures(pilot)
        await pilot.press("slash", *"todo", "enter")
        await until(pilot, lambda: [row[0] for row in rows(app)] == ["todo_line"])
        assert isinstance(app.focused, ProcedureTable)
        await pilot.press("right", "slash", *"MILK", "enter")
        await until(pilot, lambda: [row.input for row in grid(app).rows] == ["I need to buy milk on Monday"])
        assert grid(app).has_focus
        await pilot.press("slash", *"nowhere", "enter")
        await until(pilot, lambda: "No pair has this text" in texts(app, "#no-pairs"))
        await pilot.press("escape")
        await until(pilot, lambda: len(grid(app).rows) == 9 and grid(app).has_focus)
        await pilot.press("escape")
        await until(pilot, lambda: len(rows(app)) == 2)


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
        assert not app.store.procedures.get("mood_log").enabled
        await pilot.press("space")
        await until(pilot, lambda: rows(app)[0][-1] == "on")


async def test_what_goes_on_with_answers(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await open_procedures(pilot)
        first, second = [record.name for record in app.store.procedures.list()][:2]
        await pilot.press("n")
        await until(pilot, lambda: isinstance(app.screen, ChainDialog))
        await pilot.press(*second.replace("_", " ").split()[0], "ctrl+s")
        await until(pilot, lambda: app.screen.query("#fault.-shown"), "a name that nobody has stays to be mended")
        assert isinstance(app.screen, ChainDialog) and app.store.procedures.following() == {}
        await pilot.press(*["backspace"] * 20, *("underscore" if c == "_" else c for c in second), "ctrl+s")
        await until(pilot, lambda: app.store.procedures.following() == {first: second})
        await pilot.press("n")
        await until(pilot, lambda: isinstance(app.screen, ChainDialog))
        await pilot.press(*["backspace"] * 20, "ctrl+s")
        await until(pilot, lambda: app.store.procedures.following() == {})


async def test_dragging_one_onto_another_asks_whether_it_follows(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await open_procedures(pilot)
        first, second = [record.name for record in app.store.procedures.list()][:2]
        table = app.screen.query_one(ProcedureTable)
        # Below the heading, a line for each.
        await pilot.mouse_down(table, offset=(3, 2))
        await pilot.mouse_up(table, offset=(3, 1))
        await until(pilot, lambda: isinstance(app.screen, ChainDialog))
        assert app.screen.query_one(Input).value == second and app.store.procedures.following() == {}
        await pilot.press("ctrl+s")
        await until(pilot, lambda: app.store.procedures.following() == {first: second})
        await until(pilot, lambda: isinstance(app.screen, ProceduresScreen))
        await pilot.mouse_down(table, offset=(3, 1))
        await pilot.mouse_up(table, offset=(3, 1))
        await pilot.pause()
        assert isinstance(app.screen, ProceduresScreen), "a click drags nothing"


async def test_groups(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test(size=(160, 50)) as pilot:
        app = await open_procedures(pilot)
        await pilot.press("G")
        assert app.store.procedures.get("mood_log").enabled, "in no group"
        for key in ("", "j"):
            await pilot.press(*([key] if key else []), "g")
            await until(pilot, lambda: isinstance(app.screen, GroupDialog))
            await pilot.press(*"home", "enter")
            await until(pilot, lambda: isinstance(app.screen, ProceduresScreen))
        await until(pilot, lambda: [row[-1] for row in rows(app)] == ["home", "home"])
        await pilot.press("G")
        await until(pilot, lambda: [row[-2] for row in rows(app)] == ["off", "off"])
        await pilot.press("slash", *"home", "enter")
        assert len(rows(app)) == 2
        await pilot.press("escape", "g")
        await until(pilot, lambda: isinstance(app.screen, GroupDialog))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, ProceduresScreen))
        assert app.store.procedures.groups() == ["home"]


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
        assert [job.name for job in app.trainings.jobs] == ["todo_line"]
        await until(pilot, lambda: app.trainings.jobs[0].state == "undecided")


async def test_overlaps_are_noticed_when_a_procedure_is_written(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test(size=(160, 50)) as pilot:
        app = await open_procedures(pilot)
        app.store.procedures.add(Procedure("twin", (ExamplePair("I need to sleep", "z"), ExamplePair("zzz", "x"))))
        procedures(app).changed("twin")
        await until(pilot, lambda: "Overlaps todo_line: 1 of 2 pairs would go there" in texts(app, "#findings"))
        assert "1 of 2 pairs would be taken for ordinary chat: it is unlike" in texts(app, "#findings")
        assert [row.sign for row in grid(app).rows] == ["!", "!"]
        await pilot.press("right")
        await until(pilot, lambda: "Would go to todo_line." in texts(app, "#row-note"))
        await pilot.press("down")
        await until(pilot, lambda: "Would be taken for ordinary chat." in texts(app, "#row-note"))
        await pilot.press("up", "e")
        await editing(pilot, app, "I need to sleep")
        editor(app).load_text("sleepy")
        await pilot.press("enter")
        await until(pilot, lambda: "Overlaps" not in texts(app, "#findings"))


async def test_other_programs_are_noticed(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test() as pilot:
        app = await open_procedures(pilot)
        app.store.procedures.set_enabled("mood_log", False)
        await until(pilot, lambda: "off" in " ".join(rows(app)[0]))


@pytest.mark.parametrize("size", [(80, 24), (160, 50)])
async def test_twenty_thousand_pairs(make_app: MakeApp, seed: Seed, size: tuple[int, int]) -> None:
    """Only what is in sight is laid out, whatever the length of the table."""
    many = tuple(ExamplePair(f"input {n} " + "long " * (n % 40), f"answer {n}\nsecond line") for n in range(20_000))
    seed(lambda store: store.procedures.add(Procedure("big", many)) and None)
    async with make_app().run_test(size=size) as pilot:
        app = await open_procedures(pilot)
        await until(pilot, lambda: len(grid(app).rows) == 20_000 > MEASURED_ROWS)
        await pilot.press("right", *["pagedown"] * 20, *["down"] * 5)
        assert grid(app).row > 40
        await pilot.press("end")
        await until(pilot, lambda: grid(app).row == 19_999)
        await pilot.press("end")  # the last rows were measured when they came in sight, and may be higher than guessed
        await until(pilot, lambda: grid(app).scroll_offset.y == grid(app).max_scroll_y)
        laid_out = len(grid(app)._layouts)
        assert laid_out <= 60, f"{laid_out} rows were laid out for one screen"
        await pilot.press("e")
        await editing(pilot, app, many[-1].input)
        await pilot.press(*"X", "enter")
        await until(pilot, lambda: app.store.pairs.list("big")[-1].input.endswith("X"))
        assert grid(app).row == 19_999
        await pilot.press("home")
        await until(pilot, lambda: grid(app).scroll_offset.y == 0)


async def test_the_pair_under_the_cursor_stays_in_sight_when_the_grid_gets_lower(make_app: MakeApp, seed: Seed) -> None:
    """Findings that come late take lines away at the bottom."""
    seed(lambda store: store.procedures.add(Procedure("many", tuple(ExamplePair(f"{n}", f"{n}") for n in range(60)))))
    async with make_app().run_test(size=(100, 40)) as pilot:
        app = await open_procedures(pilot)
        await until(pilot, lambda: len(grid(app).rows) == 60)
        await pilot.press("right", "end")
        await until(pilot, lambda: grid(app).row == 59 and grid(app).scroll_offset.y == grid(app).max_scroll_y > 0)
        before = grid(app).max_scroll_y
        await procedures(app).panel.mount(Static("found\nlate"), after=grid(app))
        await until(pilot, lambda: grid(app).scroll_offset.y == grid(app).max_scroll_y > before)


@pytest.mark.parametrize("size", SIZES)
async def test_every_line_of_the_grid_belongs_to_its_row(make_app: MakeApp, seed: Seed, size: tuple[int, int]) -> None:
    odd = (
        ExamplePair("[/INST] \x1b[31m\ttab", "日本語のとても長いテキスト" * 8),
        ExamplePair("a\n\nb", "x" * 300),
        ExamplePair("word " * 200, "é" * 90),
    )
    seed(lambda store: store.procedures.add(Procedure("odd", odd)) and None)
    async with make_app().run_test(size=size) as pilot:
        app = await open_procedures(pilot)
        await until(pilot, lambda: len(grid(app).rows) == 3)
        table = grid(app)
        for y in range(table.size.height):
            strip = table.render_line(y)
            assert strip.cell_length == max(20, table.size.width - 1)
            assert "\x1b" not in strip.text
        await pilot.press("right")
        for row in range(3):
            assert table.row == row
            region = table.cell_region()
            assert 1 <= region.y < table.size.height
            await pilot.press("down")


def test_wrapping() -> None:
    assert wrapped("one two three", 7, 5) == ["one two", "three"]
    assert wrapped("a\nb\r\nc", 9, 9) == ["a", "b", "c"]
    assert wrapped("x" * 10, 4, 2) == ["xxxx", "xxx…"]
    assert wrapped("日本語 テキスト", 6, 5) == ["日本語", "テキス", "ト"]
    assert wrapped("", 5, 3) == [""]
    assert one_line("a\nb", 9) == "a⏎b"
    assert one_line("abcdefgh", 4) == "abc…"


async def test_advice_on_many_pairs_comes_a_moment_later(
    make_app: MakeApp, seed: Seed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tui.procedures.advice, "LINT_AFTER_SECONDS", 0.01)
    many = tuple(ExamplePair(f"input {n}", f"answer {n}") for n in range(LINTED_AT_ONCE))
    seed(lambda store: store.procedures.add(Procedure("big", (*many, many[3]))) and None)
    async with make_app().run_test(size=(160, 50)) as pilot:
        app = await open_procedures(pilot)
        await until(pilot, lambda: f"Pairs 4 and {len(many) + 1} are the same" in texts(app, "#findings"))
        assert [place for place, row in enumerate(grid(app).rows) if row.sign] == [3, len(many)]
        await pilot.press("right", "d")
        await until(pilot, lambda: f"Pairs 3 and {len(many)} are the same" in texts(app, "#findings"))
        assert [place for place, row in enumerate(grid(app).rows) if row.sign] == [2, len(many) - 1]
        await pilot.press("end", "d")
        await until(pilot, lambda: not texts(app, "#findings"))
        assert not any(row.sign for row in grid(app).rows)
