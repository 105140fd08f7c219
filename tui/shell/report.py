"""The dialog that shows the debug report and copies it."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import Button

from tui.kit.dialog import Dialog, buttons, paragraph


class ReportDialog(Dialog[None]):
    """See the module.

    Args:
        report: its text.
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("c", "copy", "Copy")]

    def __init__(self, report: str) -> None:
        super().__init__("Debug report")
        self._report = report

    def body(self) -> ComposeResult:
        with VerticalScroll():
            yield paragraph(self._report, id="report")
        yield buttons(("copy", "c Copy"), ("close", "Close"), primary="close")

    def on_mount(self) -> None:
        """Focus the text, so that arrow keys scroll it."""
        self.query_one(VerticalScroll).focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Copy or close."""
        if event.button.id == "copy":
            self.action_copy()
        else:
            self.dismiss(None)

    def action_copy(self) -> None:
        """Copy the report to the clipboard."""
        self.app.copy_to_clipboard(self._report)
        self.app.notify("Copied.")
