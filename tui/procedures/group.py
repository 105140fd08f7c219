"""A dialog that asks for the group of a procedure."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.suggester import SuggestFromList
from textual.widgets import Input, Static

from tokmem_desk.procedures import MAX_GROUP_CHARACTERS
from tui.kit.dialog import SaveDialog, buttons, paragraph


class GroupDialog(SaveDialog[str | None]):
    """Closes with a group, an empty text for no group, or None: no change.

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
        yield buttons(("cancel", "Esc Cancel"), ("save", "^s Save"), primary="save")

    def action_save(self) -> None:
        """Close with the name."""
        self.dismiss(self.query_one(Input).value.strip())
