"""Habits of the chats in the app: asked for once, offered in a line, taken or turned down in a dialog."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from textual.pilot import Pilot
from textual.widgets import OptionList

from profiles.store.store import ProfileStore
from tests.tui.driving import texts, until
from tests.tui.procedures.test_procedure_dialogs import at_once, closed, open_dialog
from tests.tui.procedures.test_procedures import MakeApp, open_procedures, pairs
from tui.kit.confirm import ConfirmDialog
from tui.procedures.habits import HabitLine, HabitsDialog
from tui.shared.habit_search import SETTING
from tui.shell.app import TokmemApp

__all__ = ["at_once"]
NOTES = [(f"note the weight of box {place}", f"BOX {place} | {place * 3} kg") for place in range(5)]
METERS = [(f"the meter reads {place}", f'{{"meter": {place}}}') for place in range(4)]


@pytest.fixture
def talked(taught: None, seed: Callable[[Callable[[ProfileStore], None]], None]) -> None:
    """Two habits in the chats of a profile that knows two procedures."""

    def talk(store: ProfileStore) -> None:
        chat = store.chats.create("notes")
        for message, answer in [*NOTES, *METERS]:
            store.messages.add(chat, "user", message)
            store.messages.add(chat, "assistant", answer, route="none")

    seed(talk)


def line_shown(app: TokmemApp) -> bool:
    return app.screen.query_one(HabitLine).display


def listed(app: TokmemApp) -> str:
    return "\n".join(str(option.prompt) for option in app.screen.query_one(OptionList).options)


async def in_habits(pilot: Pilot[None], app: TokmemApp) -> None:
    await until(pilot, lambda: isinstance(app.screen, HabitsDialog), "habits")


async def test_nothing_is_read_unasked_and_no_stays_no(make_app: MakeApp, talked: None) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await open_procedures(pilot)
        assert not line_shown(app) and not app.store.rows("SELECT 1 FROM message_vectors")
        await open_dialog(pilot, app, "H", ConfirmDialog)
        assert "nothing leaves it" in texts(app)
        await pilot.press("escape")
        await closed(pilot, app)
        assert not app.settings.flag(SETTING) and not app.store.rows("SELECT 1 FROM message_vectors")


async def test_a_habit_is_taken_and_another_turned_down(make_app: MakeApp, talked: None) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        app = await open_procedures(pilot)
        await until(pilot, lambda: app.link.state.phase == "ready")
        await open_dialog(pilot, app, "H", ConfirmDialog)
        await pilot.press("enter")
        await in_habits(pilot, app)
        assert "5 messages" in listed(app) and "BOX 4 | 12 kg" in listed(app)
        await pilot.press("escape")
        await closed(pilot, app)
        await until(pilot, lambda: line_shown(app) and "2 habits in your chats" in texts(app, "#habit-line"))
        before = {record.name for record in app.store.procedures.list()}
        await pilot.press("H")
        await in_habits(pilot, app)
        await pilot.press("enter")
        await closed(pilot, app)
        [name] = {record.name for record in app.store.procedures.list()} - before
        assert pairs(app, name) == NOTES
        await until(pilot, lambda: "1 habit in your chats" in texts(app, "#habit-line"))
        await pilot.press("H")
        await in_habits(pilot, app)
        assert "the meter reads" in listed(app) and "BOX" not in listed(app)
        await pilot.press("d")
        await closed(pilot, app)
        await until(pilot, lambda: not line_shown(app), "it is never offered again")


async def test_who_turns_it_off_leaves_nothing_that_was_read(make_app: MakeApp, talked: None) -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        app = await open_procedures(pilot)
        app.settings.set(SETTING, True, "profile")
        await until(pilot, lambda: app.link.state.phase == "ready")
        await pilot.press("f2", "f3")
        await until(pilot, lambda: line_shown(app), "the line")
        assert app.store.rows("SELECT 1 FROM message_vectors")
        app.settings.set(SETTING, False, "profile")
        await pilot.press("f2", "f3")
        await until(pilot, lambda: not line_shown(app) and not app.store.rows("SELECT 1 FROM message_vectors"))
