"""The name and the description of a procedure."""

from __future__ import annotations

from collections.abc import Collection

from textual.app import ComposeResult
from textual.widgets import Input, Static

from tokmem_desk.errors import TokmemError
from tokmem_desk.procedures import check_name
from tui.kit.dialog import SaveDialog, buttons, fault_line


class ProcedureDialog(SaveDialog[tuple[str, str] | None]):
    """Name and description, or None.

    Args:
        title: what this is about.
        taken: names that cannot be chosen.
        name: what to begin with.
        description: what to begin with.
    """

    def __init__(self, title: str, taken: Collection[str], *, name: str = "", description: str = "") -> None:
        super().__init__(title)
        self._taken, self._name_before, self._description = taken, name, description

    def body(self) -> ComposeResult:
        yield Static("Name: a-z, 0-9, - and _", classes="field-label")
        yield Input(self._name_before, placeholder="expense_line", id="name", max_length=40)
        yield fault_line()
        yield Static("Description (optional): what it does, in your words", classes="field-label")
        yield Input(self._description, placeholder="Turn a purchase into one ledger line", id="description")
        yield buttons(("cancel", "Esc Cancel"), ("save", "^s Save"), primary="save")

    def action_save(self) -> None:
        """Hand both over, or say what is wrong with the name."""
        name = self.query_one("#name", Input).value.strip()
        fault = ""
        try:
            check_name(name)
        except TokmemError as caught:
            fault = f"{caught.message} {caught.next_step}"
        if name in self._taken:
            fault = f"There is a procedure {name!r} already."
        if fault:
            self.say_fault(fault, "#name")
            return
        self.dismiss((name, self.query_one("#description", Input).value.strip()))
