"""A dialog that asks what is wrong with an answer, to offer what helps."""

from __future__ import annotations

from typing import ClassVar, Literal

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from tui.kit.dialog import Dialog, paragraph

Fault = Literal["route", "answer", "again", "only"]

FAULTS: tuple[tuple[Fault, str, str], ...] = (
    ("route", "The route is wrong", "pick the right one; it is answered again"),
    ("answer", "The answer is wrong", "write the right one; it becomes a pair"),
    ("again", "Another try", "ask again, less predictably"),
    ("only", "Only mark it", "the model does not see it any more"),
)


class FaultDialog(Dialog[Fault | None]):
    """Closes with the chosen fault, or with None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("k", "up", show=False),
        Binding("j", "down", show=False),
        *(Binding(str(place), f"choose({place - 1})", show=False) for place in range(1, len(FAULTS) + 1)),
    ]

    def __init__(self) -> None:
        super().__init__("What is wrong?")

    def body(self) -> ComposeResult:
        width = max(len(words) for _, words, _ in FAULTS)
        options = OptionList(id="faults", markup=False)
        for place, (_, words, effect) in enumerate(FAULTS, start=1):
            options.add_option(
                Option(Content.assemble(f"{place} {words:<{width}}  ", Content.styled(effect, "$muted")))
            )
        yield options
        yield paragraph("In every case the answer is marked bad, and left out when the model goes on.", classes="muted")

    def on_mount(self) -> None:
        """Arrows and numbers choose."""
        options = self.query_one(OptionList)
        options.highlighted = 0
        options.focus()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Answer."""
        self.action_choose(event.option_index)

    def action_choose(self, place: int) -> None:
        """Answer by number."""
        self.dismiss(FAULTS[place][0])

    def action_up(self) -> None:
        """One line up."""
        self.query_one(OptionList).action_cursor_up()

    def action_down(self) -> None:
        """One line down."""
        self.query_one(OptionList).action_cursor_down()
