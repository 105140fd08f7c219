"""Habits of the person's chats: a question once, a line when there is something, and a dialog to look at it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Button, OptionList, Static
from textual.widgets.option_list import Option

from tokmem_desk.errors import TokmemError
from tokmem_desk.procedures import Procedure
from tui.kit.confirm import ConfirmDialog
from tui.kit.dialog import Dialog, buttons, paragraph
from tui.kit.words import count, shortened
from tui.procedures.host import ProceduresHost
from tui.shared.habit_search import SETTING, FoundHabit, search_habits

SHOWN_TURNS = 3
"""So many turns of a habit are shown, the newest."""


class HabitLine(Static):
    """Says that there are habits to look at. Hidden while there is none."""

    DEFAULT_CSS = """
    HabitLine { height: 1; padding: 0 1; color: $muted; display: none; text-overflow: ellipsis; text-wrap: nowrap; }
    """

    def show(self, habits: int) -> None:
        """Draw for so many habits."""
        self.display = habits > 0
        self.update(
            Content.assemble("◇ ", Content.styled("H", "bold $accent"), f" {count(habits, 'habit')} in your chats")
        )


@dataclass(frozen=True, slots=True)
class HabitChoice:
    """What the person says of a habit."""

    habit: FoundHabit
    verdict: Literal["take", "dismiss"]


class HabitsDialog(Dialog[HabitChoice | None]):
    """Closes with a habit that is to become a procedure or never to be proposed again, or with None.

    Args:
        habits: at least one.
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("d,delete", "dismiss_habit", "Not again", show=False)]

    def __init__(self, habits: list[FoundHabit]) -> None:
        super().__init__("Habits in your chats")
        self._habits = habits

    def body(self) -> ComposeResult:
        yield paragraph(
            "Messages of one kind that were answered alike at least four times. As a procedure, they would be answered "
            "that way by themselves."
        )
        yield OptionList(*(Option(_of(habit), id=str(place)) for place, habit in enumerate(self._habits)), id="habits")
        yield buttons(
            ("close", "Esc Close"), ("dismiss", "d Not again"), ("take", "Make it a procedure"), primary="take"
        )

    def on_mount(self) -> None:
        """The list has the focus: Enter takes what is under the cursor."""
        habits = self.query_one(OptionList)
        habits.highlighted = 0
        habits.focus()

    def _close_with(self, verdict: Literal["take", "dismiss"]) -> None:
        place = self.query_one(OptionList).highlighted
        self.dismiss(None if place is None else HabitChoice(self._habits[place], verdict))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Make it a procedure."""
        self._close_with("take")

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Answer."""
        match event.button.id:
            case "take":
                self._close_with("take")
            case "dismiss":
                self._close_with("dismiss")
            case _:
                self.dismiss(None)

    def action_dismiss_habit(self) -> None:
        """Never propose it again."""
        self._close_with("dismiss")

    def action_leave(self) -> None:
        """Esc changes nothing."""
        self.dismiss(None)


def _of(habit: FoundHabit) -> Content:
    head = Content.assemble(Content.styled(habit.name, "bold"), f"  {count(len(habit.turns), 'message')}")
    turns = [
        Content.styled(f"  {shortened(turn.message, 40)}  →  {shortened(turn.answer, 40)}", "$muted")
        for turn in habit.turns[-SHOWN_TURNS:]
    ]
    return Content("\n").join([head, *turns])


class HabitOffers:
    """Asks once whether chats may be looked at, and then offers what is found.

    Args:
        host: the screen.
    """

    def __init__(self, host: ProceduresHost) -> None:
        self._host = host
        self._known: tuple[object, list[FoundHabit]] = (None, [])
        """What was found last, and the state of the profile that it was found in."""

    async def look(self) -> int:
        """How many habits there are, where the person has agreed and the model has nothing else to do; else 0."""
        app = self._host.tokmem
        link = app.link
        if not app.settings.flag(SETTING):
            app.store.habits.forget_vectors()  # what was kept while they were looked at
            return 0
        if link.state.phase != "ready" or link.busy:
            return 0
        key = (app.profile, app.fingerprint, app.store.revision, len(app.store.habits.turns()))
        if self._known[0] != key:
            try:
                self._known = (key, await search_habits(app.store, link, app.profile))
            except TokmemError:
                return 0  # nobody has asked for it; whoever does is told
        return len(self._known[1])

    async def show(self) -> None:
        """Look now, after asking once, and let the person take or turn down what there is.

        Raises:
            TokmemError: the engine could not read.
        """
        host, app = self._host, self._host.tokmem
        if not app.settings.flag(SETTING):
            question = ConfirmDialog(
                "Look for habits in your chats?",
                "Messages of one kind that were answered alike at least four times are then offered as procedures. It "
                "happens on this computer; nothing leaves it. F9 turns it off again.",
                "Look for them",
                "No",
            )
            if not await host.ask(question):
                return
            app.settings.set(SETTING, True, "profile")
        if app.link.state.backbone is None:
            host.notify("The model has to be loaded for that: write a message first, or F8.")
            return
        habits = await search_habits(app.store, app.link, app.profile)
        while habits:
            chosen = await host.ask(HabitsDialog(habits))
            if chosen is None:
                return
            habits.remove(chosen.habit)
            if chosen.verdict == "dismiss":
                app.store.habits.dismiss(chosen.habit.message_ids)
                self._known = (None, [])
                host.changed()
                continue
            procedure = Procedure(chosen.habit.name, tuple(chosen.habit.pairs))
            app.store.procedures.add(procedure, source="habit")
            host.changed(procedure.name)
            host.notify(
                f"Added {procedure.name}. Read and correct its pairs, then t trains it. ^z takes it out.", markup=False
            )
            return
        host.notify("No habit yet: it takes four messages of one kind that were answered alike.")
