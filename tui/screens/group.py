"""The group of a procedure."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.suggester import SuggestFromList
from textual.widgets import Button, Input, Static

from tokmem_desk.procedures import MAX_GROUP_CHARACTERS
from tui.screens.dialog import Dialog, buttons, paragraph


class GroupDialog(Dialog[str | None]):
    """A group, an empty text for none, or None when all stays as it is.

    Args:
        name: the procedure.
        group: the present one.
        groups: those in use.
    """

    def __init__(self, name: str, group: str, groups: Sequence[str]) -> None:
        super().__init__(f"The group of {name}")
        self._group, self._groups = group, groups

    def body(self) -> ComposeResult:
        yield Static("Group (empty: none)", classes="field-label")
        suggester = SuggestFromList(self._groups, case_sensitive=False)
        yield Input(self._group, id="group", max_length=MAX_GROUP_CHARACTERS, suggester=suggester, placeholder="work")
        if self._groups:
            yield paragraph(f"In use: {', '.join(self._groups)}", classes="muted")
        yield buttons(("cancel", "Esc Cancel"), ("save", "⏎ Save"), primary="save")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter saves."""
        self.dismiss(event.value.strip())

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Save or leave."""
        self.dismiss(self.query_one(Input).value.strip() if event.button.id == "save" else None)
