"""Consent to run a command: what exactly would run, once or always."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Button, Static

from tui.command_run import PreparedCommand
from tui.screens.dialog import Dialog, buttons, paragraph
from tui.widgets.call_view import vector_content

RunAnswer = Literal["once", "always"]


class RunDialog(Dialog[RunAnswer | None]):
    """``once``, ``always`` (for this procedure), or None: nothing is run.

    Args:
        prepared: the command.
        warning: what speaks against it, or an empty text; then there is no "always".
        withheld: why an earlier "always" does not hold, or an empty text.
    """

    DEFAULT_CSS = """
    RunDialog {
        #vector-box { height: auto; max-height: 14; margin: 1 0; }
        #vector { height: auto; }
    }
    """

    def __init__(self, prepared: PreparedCommand, warning: str = "", withheld: str = "") -> None:
        super().__init__(f"Run the command of {prepared.procedure}?")
        self._prepared, self._warning, self._withheld = prepared, warning, withheld

    def body(self) -> ComposeResult:
        if self._warning:
            yield paragraph(self._warning, classes="inline-error -shown")
        if self._withheld:
            yield paragraph(self._withheld)
        yield paragraph("The program and its arguments, one a line. No shell reads them.")
        with VerticalScroll(id="vector-box", can_focus=False):
            yield Static(vector_content(self._prepared.vector), id="vector")
        yield paragraph(f"In the folder {Path.cwd()}. You can take 'always' back with o on its line under F3.")
        choices = [("no", "Esc Do not run"), ("once", "Run once")]
        if not self._warning:
            choices.append(("always", "Always for this procedure"))
        yield buttons(*choices, primary="once")

    def on_mount(self) -> None:
        """The harmless answer has the focus."""
        self.query_one("#no").focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Answer."""
        match event.button.id:
            case "once":
                self.dismiss("once")
            case "always":
                self.dismiss("always")
            case _:
                self.dismiss(None)
