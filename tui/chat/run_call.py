"""A dialog that asks for consent to run a command. It shows exactly what would run."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from textual import events
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Button, Static

from tui.chat.call_view import vector_content
from tui.kit.dialog import Dialog, buttons, paragraph
from tui.kit.vector_lines import UNSEEN_NOTE, has_unseen
from tui.kit.words import count
from tui.shared.command_run import PreparedCommand

RunAnswer = Literal["once", "always", "skip", "end"]


class RunDialog(Dialog[RunAnswer | None]):
    """Closes with ``once``, ``always`` (for this procedure), or None: run nothing.

    Of a step of a plan also with ``skip`` (go on without it) or ``end`` (of the plan).

    Args:
        prepared: the command.
        warning: what speaks against it, or empty. With a warning "always" is not offered.
        withheld: why an earlier "always" does not hold, or an empty text.
        in_plan: whether it is a step of a plan.
    """

    DEFAULT_CSS = """
    RunDialog {
        #vector-box { height: auto; max-height: 14; margin: 1 0; }
        #vector { height: auto; }
    }
    """

    def __init__(
        self, prepared: PreparedCommand, warning: str = "", withheld: str = "", *, in_plan: bool = False
    ) -> None:
        super().__init__(f"Run the command of {prepared.procedure}?")
        self._prepared, self._warning, self._withheld, self._in_plan = prepared, warning, withheld, in_plan

    def body(self) -> ComposeResult:
        if self._warning:
            yield paragraph(self._warning, classes="inline-error -shown")
        if self._withheld:
            yield paragraph(self._withheld)
        vector = self._prepared.vector
        arguments = count(len(vector) - 1, "argument")
        yield paragraph(f"The program and its {arguments}, one a line, quoted. No shell reads them.")
        # Its keys scroll it: what stands further down runs as well.
        with VerticalScroll(id="vector-box"):
            yield _Vector(vector)
        if has_unseen(vector):
            yield paragraph(UNSEEN_NOTE)
        yield paragraph(f"In the folder {Path.cwd()}. You can take 'always' back with o on its line under F3.")
        choices = [("no", "Esc Do not run"), ("once", "Run once")]
        if self._in_plan:
            choices = [("no", "Esc Not now"), ("end", "End the plan"), ("skip", "Skip it"), ("once", "Run once")]
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
            case "skip":
                self.dismiss("skip")
            case "end":
                self.dismiss("end")
            case "always":
                self.dismiss("always")
            case _:
                self.dismiss(None)


class _Vector(Static):
    """The command, folded so that no line of an argument can pass for another argument."""

    def __init__(self, vector: tuple[str, ...]) -> None:
        super().__init__(vector_content(vector), id="vector")
        self._vector, self._folded = vector, 0

    def on_resize(self, event: events.Resize) -> None:
        """Fold it to the width there is."""
        width = self.content_size.width
        if width and width != self._folded:
            self._folded = width
            self.update(vector_content(self._vector, width))
