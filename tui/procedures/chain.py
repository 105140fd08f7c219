"""A dialog that asks which procedure goes on with the answers of another."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual.app import ComposeResult
from textual.suggester import SuggestFromList
from textual.widgets import Input, Static

from tokmem_desk.errors import TokmemError
from tui.kit.dialog import SaveDialog, buttons, fault_line, paragraph


class ChainDialog(SaveDialog[str | None]):
    """Closes with the name of the next procedure, an empty text for none, or None: no change.

    Args:
        name: the procedure.
        following: the present next one; empty: none.
        others: the names that can be given.
        link: sets the next one, None for none; what it refuses is said here.
    """

    def __init__(self, name: str, following: str, others: Sequence[str], link: Callable[[str | None], object]) -> None:
        super().__init__(f"What goes on with answers of {name}")
        self._following, self._others, self._link = following, others, link

    def body(self) -> ComposeResult:
        yield Static("Next procedure (empty: none)", classes="field-label")
        yield Input(self._following, id="following", suggester=SuggestFromList(self._others), placeholder="name")
        words = "Its message is the answer. Each step shows its route, and Esc stops between two."
        yield paragraph(words, classes="muted")
        if self._others:
            yield paragraph(f"You have: {', '.join(self._others)}", classes="muted")
        yield fault_line()
        yield buttons(("cancel", "Esc Cancel"), ("save", "^s Save"), primary="save")

    def action_save(self) -> None:
        """Make the link and close."""
        following = self.query_one(Input).value.strip()
        try:
            self._link(following or None)
        except TokmemError as error:
            self.say_fault(str(error), "#following")
            return
        self.dismiss(following)
