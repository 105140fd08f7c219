"""What all dialogs have in common: keys that save, faults that go, signs that need no colour, heights that fit."""

from __future__ import annotations

import ast
from collections.abc import Callable

import pytest
from textual.containers import VerticalScroll
from textual.widgets import Button, Checkbox, Input, TextArea

from tests.tui.conftest import ROOT
from tests.tui.driving import SIZES, ready, until
from tests.tui.procedures.test_procedure_dialogs import closed, open_dialog
from tests.tui.procedures.test_procedures import open_procedures
from tui.banks.dialogs import ExportDialog
from tui.kit.ask_line import LineDialog
from tui.kit.dialog import Dialog
from tui.kit.edit_pair import PairDialog
from tui.procedures.chain import ChainDialog
from tui.procedures.edit_procedure import ProcedureDialog
from tui.procedures.edit_tool import ToolDialog
from tui.procedures.group import GroupDialog
from tui.procedures.import_pairs import ImportDialog
from tui.procedures.scorecard_dialog import ScorecardDialog
from tui.procedures.threshold_dialog import ThresholdDialog
from tui.procedures.versions import VersionsDialog
from tui.profiles.dialogs import ProfileNameDialog
from tui.profiles.lock_dialogs import NewPassphraseDialog
from tui.shell.app import TokmemApp
from tui.shell.screens import SCREENS

assert SCREENS, "imported so that every dialog of every room is there"
MakeApp = Callable[..., TokmemApp]


def kinds(base: type) -> list[type]:
    """A class and all below it."""
    return [base, *(kind for child in base.__subclasses__() for kind in kinds(child))]


SAVING = [kind for kind in kinds(Dialog) if "action_save" in dir(kind) and kind.__module__.startswith("tui.")]


def test_rooms_take_ticks_that_need_no_colour() -> None:
    """Textual's own boxes and dots show the same sign whether they are on or off."""
    plain = {"Checkbox", "RadioButton", "SelectionList"}
    for path in (ROOT / "tui").rglob("*.py"):
        if path.name == "ticks.py":
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in plain, f"{path.relative_to(ROOT)}, line {node.lineno}"


@pytest.mark.parametrize("kind", SAVING, ids=lambda kind: kind.__name__)
def test_the_same_key_saves_in_every_dialog(kind: type[Dialog[object]]) -> None:
    bound = kind._merged_bindings.key_to_bindings["ctrl+s"]  # type: ignore[union-attr]
    assert [binding.action.partition("(")[0] for binding in bound] == ["save"]
    assert bound[0].priority, "also while a text area has the focus"


async def test_an_unticked_box_has_no_mark(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test(size=(100, 40)) as pilot:
        app = await ready(pilot)
        app.push_screen(ToolDialog(app.store.procedures.get("mood_log"), None))
        await until(pilot, lambda: app.screen.query(Checkbox))
        box = app.screen.query_one(Checkbox)
        assert "X" not in str(box.render())
        box.value = True
        await until(pilot, lambda: "X" in str(box.render()))


def _type_into(field: Input | TextArea, text: str) -> None:
    if isinstance(field, Input):
        field.value = text
    else:
        field.text = text


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: ProcedureDialog("A", ()), "#name"),
        (lambda: ProfileNameDialog("A", ("~",)), "#name"),
        (lambda: NewPassphraseDialog("A", "why"), "#second"),
        (lambda: LineDialog("A", "why", "", "Save", lambda text: "no" if text == "~" else None), "#line"),
        (lambda: PairDialog("A", ["one"]), "#response"),
        (lambda: ExportDialog("mood_log", []), "#path"),
    ],
    ids=["procedure", "profile", "passphrase", "line", "pair", "export"],
)
async def test_a_fault_goes_when_it_is_mended(
    make_app: MakeApp, make: Callable[[], Dialog[object]], field: str
) -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        app = await ready(pilot)
        dialog = make()
        app.push_screen(dialog)
        await until(pilot, lambda: app.screen is dialog and dialog.query(field))
        _type_into(dialog.query_one(field), "~")  # type: ignore[arg-type]
        await pilot.pause()
        await pilot.press("ctrl+s")
        await until(pilot, lambda: dialog.query("#fault.-shown"), "the fault")
        for _ in range(3):
            await pilot.pause()
        assert dialog.query("#fault.-shown"), "it stays while nothing is changed"
        _type_into(dialog.query_one(field), "fine")  # type: ignore[arg-type]
        await until(pilot, lambda: not dialog.query("#fault.-shown"), "the fault is gone")


OPENED_BY = {
    "e": ProcedureDialog,
    "o": ToolDialog,
    "g": GroupDialog,
    "n": ChainDialog,
    "w": ThresholdDialog,
    "v": VersionsDialog,
    "m": ScorecardDialog,
    "x": ExportDialog,
    "i": ImportDialog,
}


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_dialogs_have_the_height_of_what_they_hold(
    make_app: MakeApp, taught: None, size: tuple[int, int]
) -> None:
    async with make_app().run_test(size=size) as pilot:
        app = await open_procedures(pilot)
        for key, kind in OPENED_BY.items():
            await open_dialog(pilot, app, key, kind)
            dialog = app.screen
            await until(pilot, lambda: dialog.query(Button), "drawn")  # noqa: B023
            for _ in range(4):
                await pilot.pause()
            box, last = dialog.query_one(".dialog"), dialog.query_one(".buttons")
            assert box.content_region.bottom == last.region.bottom, f"{key}: all of it in sight, and nothing below"
            for scroll in dialog.query(VerticalScroll):
                held = max(
                    (child.virtual_region_with_margin.bottom for child in scroll.children if child.display), default=0
                )
                assert scroll.content_size.height <= held, f"{key}: no empty lines"
            await pilot.press("escape")
            await closed(pilot, app)


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_a_long_text_leaves_the_buttons_in_sight(make_app: MakeApp, taught: None, size: tuple[int, int]) -> None:
    async with make_app().run_test(size=size) as pilot:
        app = await open_procedures(pilot)
        for dialog in (PairDialog("A", ["one", "two"]), ToolDialog(app.store.procedures.get("mood_log"), None)):
            app.push_screen(dialog)
            await until(pilot, lambda: app.screen is dialog and dialog.query(TextArea))  # noqa: B023
            for area in dialog.query(TextArea):
                area.text = "{" + "word " * 600
            if isinstance(dialog, ToolDialog):
                await pilot.press("ctrl+s")
                await until(pilot, lambda: dialog.query("#fault.-shown"), "the fault needs room, too")  # noqa: B023
            for _ in range(4):
                await pilot.pause()
            box, last = dialog.query_one(".dialog"), dialog.query_one(".buttons")
            assert box.content_region.bottom == last.region.bottom
            dialog.dismiss(None)
            await closed(pilot, app)
