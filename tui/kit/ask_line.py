"""A dialog that asks for one line of text, such as a title or a file name."""

from __future__ import annotations

from collections.abc import Callable

from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Input, Static

from tui.kit.dialog import SaveDialog, buttons, paragraph


class LineDialog(SaveDialog[str | None]):
    """What was typed, or None.

    Args:
        title: of the box.
        note: what will be done with it.
        value: the text at first.
        label: of the agreeing button.
        fault: returns what is wrong with a text, or None.
    """

    def __init__(
        self, title: str, note: str, value: str, label: str, fault: Callable[[str], str | None] | None = None
    ) -> None:
        super().__init__(title)
        self._note, self._value, self._label, self._fault = note, value, label, fault

    def body(self) -> ComposeResult:
        yield paragraph(self._note, classes="muted")
        yield Input(self._value, id="line")
        yield Static("", id="fault", classes="inline-error", markup=False)
        yield buttons(("cancel", "Esc Cancel"), ("yes", self._label), primary="yes")

    def action_save(self) -> None:
        """Close with the text, or show what is wrong with it."""
        text = self.query_one(Input).value.strip()
        fault = None if self._fault is None else self._fault(text)
        if not text:
            fault = "Nothing is typed."
        if fault is None:
            self.dismiss(text)
            return
        place = self.query_one("#fault", Static)
        place.update(Content(fault))
        place.add_class("-shown")
