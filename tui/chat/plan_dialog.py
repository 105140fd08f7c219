"""A dialog with what a plan asks of the person."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.widgets import Button

from tui.kit.dialog import Dialog, buttons, paragraph
from tui.shared.plan_commands import Decision


class PlanDialog(Dialog[Decision | None]):
    """Closes with ``yes``, ``no`` (the plan ends), or None: it goes on waiting.

    Args:
        plan: its name.
        question: what it asks.
    """

    def __init__(self, plan: str, question: str) -> None:
        super().__init__(f"{plan} asks")
        self._question = question

    def body(self) -> ComposeResult:
        yield paragraph(self._question)
        yield paragraph("What was done stands, whatever you say.", classes="muted")
        yield buttons(("later", "Esc Not now"), ("no", "No, end it"), ("yes", "Yes, go on"), primary="yes")

    def on_mount(self) -> None:
        """The harmless answer has the focus."""
        self.query_one("#later").focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Answer."""
        match event.button.id:
            case "yes":
                self.dismiss("yes")
            case "no":
                self.dismiss("no")
            case _:
                self.dismiss(None)
