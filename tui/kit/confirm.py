"""A dialog with a question and two answers."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.widgets import Button

from tui.kit.dialog import Dialog, buttons, paragraph


class ConfirmDialog(Dialog[bool]):
    """Closes with True if the person agrees, and with False for Esc and the other button.

    Args:
        title: the question.
        message: what will happen.
        yes: label of the agreeing button.
        no: label of the other one.
        danger: something will be destroyed; the other button has the focus then.
    """

    def __init__(self, title: str, message: str, yes: str, no: str = "Cancel", *, danger: bool = False) -> None:
        super().__init__(title)
        self._message, self._yes, self._no, self._danger = message, yes, no, danger

    def body(self) -> ComposeResult:
        yield paragraph(self._message)
        yield buttons(("no", self._no), ("yes", self._yes), **{"danger" if self._danger else "primary": "yes"})

    def on_mount(self) -> None:
        """Put the focus on the harmless answer when the other one destroys."""
        self.query_one("#no" if self._danger else "#yes").focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Answer."""
        self.dismiss(event.button.id == "yes")

    def action_leave(self) -> None:
        """Esc means no."""
        self.dismiss(False)
