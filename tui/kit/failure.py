"""The dialog for an error: what happened, what is safe, what to do next."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import Button

from tokmem_desk.errors import TokmemError
from tui.kit.dialog import Dialog, buttons, paragraph

SAFE = "Your chats, pairs and memories are on disk and unharmed; the app goes on."


class FailureDialog(Dialog[None]):
    """Shows a TokmemError. ``safe`` says what was not lost."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("c", "copy", "Copy")]

    def __init__(self, error: TokmemError, safe: str = SAFE) -> None:
        super().__init__(error.title)
        self._error, self._safe = error, safe

    def body(self) -> ComposeResult:
        with VerticalScroll(classes="failure-text"):
            yield paragraph(self._error.message)
        yield paragraph(self._safe, classes="muted")
        if self._error.next_step:
            yield paragraph(f"→ {self._error.next_step}")
        yield buttons(("copy", "c Copy"), ("close", "Close"), primary="close")

    def on_mount(self) -> None:
        """Enter closes."""
        self.query_one("#close").focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Copy or close."""
        if event.button.id == "copy":
            self.action_copy()
        else:
            self.dismiss(None)

    def action_copy(self) -> None:
        """Copy the whole text."""
        self.app.copy_to_clipboard(f"{self._error.title}: {self._error.message}\n{self._error.next_step}")
        self.app.notify("Copied.")
