"""Keys that are typed before a dialog is drawn wait for it: fast typing fires nothing else, and nothing gets stuck."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from textual import events
from textual.pilot import Pilot
from textual.widgets import Input

from tests.tui.driving import procedures, until
from tests.tui.procedures.test_procedures import open_procedures, rows
from tokmem_desk.errors import StorageError
from tui.kit.confirm import ConfirmDialog
from tui.kit.failure import FailureDialog
from tui.procedures.edit_procedure import ProcedureDialog
from tui.procedures.editing import ProcedureEditing
from tui.procedures.group import GroupDialog
from tui.procedures.screen import ProceduresScreen
from tui.shell.app import TokmemApp

MakeApp = Callable[..., TokmemApp]
NAMED = {"\n": "enter", "\t": "tab", " ": "space", "\x1b": "escape"}


def type_at_once(app: TokmemApp, text: str) -> None:
    """Send keys as a terminal does that has them all already: nobody waits between them."""
    for sign in text:
        app.post_message(events.Key(NAMED.get(sign, sign), sign if sign.isprintable() else None))


class Held:
    """Holds the action of ``g`` until it is let go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()
        self.error: Exception | None = None
        asked = ProcedureEditing.set_group

        async def set_group(editing: ProcedureEditing) -> None:
            self.begun.set()
            await self.go_on.wait()
            if self.error is not None:
                raise self.error
            await asked(editing)

        monkeypatch.setattr(ProcedureEditing, "set_group", set_group)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    return Held(monkeypatch)


def group_typed(app: TokmemApp) -> str:
    return app.screen.query_one("#group", Input).value if isinstance(app.screen, GroupDialog) else ""


async def settled(pilot: Pilot[None]) -> None:
    for _ in range(5):
        await pilot.pause(0.02)


async def test_what_is_typed_behind_a_key_is_typed_into_its_dialog(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test(size=(100, 30)) as pilot:
        app = await open_procedures(pilot)
        type_at_once(app, "axed_diary")
        await until(pilot, lambda: isinstance(app.screen, ProcedureDialog))
        await until(pilot, lambda: app.screen.query_one("#name", Input).value == "xed_diary")
        assert len(app.screen_stack) == 2, "x, e and d opened nothing"


async def test_a_procedure_and_its_first_pair_can_be_begun_in_one_go(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test(size=(100, 30)) as pilot:
        app = await open_procedures(pilot)
        type_at_once(app, "axed\n\nand dig")
        await until(pilot, lambda: isinstance(app.screen, ProceduresScreen) and "xed" in procedures(app).names)
        await until(pilot, lambda: procedures(app).panel.editor.text == "and dig")
        assert {row[0] for row in rows(app)} == {"xed", "mood_log", "todo_line"}


async def test_keys_and_pastes_keep_their_order(make_app: MakeApp, taught: None, held: Held) -> None:
    async with make_app().run_test(size=(100, 30)) as pilot:
        app = await open_procedures(pilot)
        type_at_once(app, "gda")
        app.post_message(events.Paste("-pasted-"))
        type_at_once(app, "ex")
        await held.begun.wait()
        await settled(pilot)
        assert len(app.screen_stack) == 1, "nothing was fired meanwhile"
        held.go_on.set()
        await until(pilot, lambda: group_typed(app) == "da-pasted-ex")


async def test_another_dialog_gets_none_of_them(make_app: MakeApp, taught: None, held: Held) -> None:
    async with make_app().run_test(size=(100, 30)) as pilot:
        app = await open_procedures(pilot)
        type_at_once(app, "ghome")
        await held.begun.wait()
        other = ConfirmDialog("Something else", "It has nothing to do with it.", "Yes", "No")
        app.push_screen(other)
        await until(pilot, lambda: other.is_mounted and other.focused is not None)
        type_at_once(app, "\n")
        await settled(pilot)
        assert app.screen is other, "Enter was not for it"
        other.dismiss(False)
        held.go_on.set()
        await until(pilot, lambda: app.store.procedures.get("mood_log").group == "home")


async def test_escape_does_not_wait(make_app: MakeApp, taught: None, held: Held) -> None:
    async with make_app().run_test(size=(100, 30)) as pilot:
        app = await open_procedures(pilot)
        type_at_once(app, "ghome\x1b")
        await held.begun.wait()
        held.go_on.set()
        await until(pilot, lambda: not app.key_gate.is_waiting and len(app.screen_stack) == 1)
        type_at_once(app, "a")
        await until(pilot, lambda: isinstance(app.screen, ProcedureDialog), "the next key acts")
        assert app.screen.query_one("#name", Input).value == ""
        assert app.store.procedures.get("mood_log").group == ""


async def test_escape_behind_a_dialog_goes_to_the_screen(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test(size=(100, 30)) as pilot:
        app = await open_procedures(pilot)
        await pilot.press("slash", *"todo", "enter")
        await until(pilot, lambda: [row[0] for row in rows(app)] == ["todo_line"])
        type_at_once(app, "g")
        await until(pilot, lambda: isinstance(app.screen, GroupDialog) and not app.key_gate.is_waiting)
        type_at_once(app, "\x1b")
        await until(pilot, lambda: len(app.screen_stack) == 1, "it closed the dialog")
        type_at_once(app, "\x1b")
        await until(pilot, lambda: len(rows(app)) == 2, "it ended the filter")


async def test_an_action_that_fails_leaves_no_keys(make_app: MakeApp, taught: None, held: Held) -> None:
    held.error = StorageError("The disk is full.")
    async with make_app().run_test(size=(100, 30)) as pilot:
        app = await open_procedures(pilot)
        type_at_once(app, "ghome\n")
        await held.begun.wait()
        held.go_on.set()
        await until(pilot, lambda: isinstance(app.screen, FailureDialog))
        await settled(pilot)
        assert isinstance(app.screen, FailureDialog), "Enter was not for it"
        type_at_once(app, "\x1ba")
        await until(pilot, lambda: isinstance(app.screen, ProcedureDialog), "keys work as before")


async def test_a_dialog_that_does_not_come_holds_nothing_for_ever(
    make_app: MakeApp, taught: None, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui.kit.key_gate.PATIENCE_SECONDS", 0.1)
    async with make_app().run_test(size=(100, 30)) as pilot:
        app = await open_procedures(pilot)
        type_at_once(app, "gdx")
        await held.begun.wait()
        await until(pilot, lambda: not app.key_gate.is_waiting)
        await settled(pilot)
        assert len(app.screen_stack) == 1
        type_at_once(app, "a")
        await until(pilot, lambda: isinstance(app.screen, ProcedureDialog))
        held.go_on.set()


async def test_an_action_that_asks_nothing_lets_the_next_keys_act(make_app: MakeApp, taught: None) -> None:
    async with make_app().run_test(size=(100, 30)) as pilot:
        app = await open_procedures(pilot)
        type_at_once(app, "m\x1b  ")
        await until(pilot, lambda: len(app.screen_stack) == 1 and not app.key_gate.is_waiting)
        await until(pilot, lambda: app.store.procedures.get("mood_log").enabled, "off and on again")
