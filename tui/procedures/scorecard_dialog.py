"""The scorecard of the memory that answers, opened again at any time after its training."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Button, Static

from tui.engine_client.protocol import Trained
from tui.kit.dialog import Dialog, buttons
from tui.kit.verdict import verdict_of
from tui.shared.scorecard import card_text


class ScorecardDialog(Dialog[None]):
    """Shows what a training achieved.

    Args:
        trained: the procedure's active memory, with its scorecard.
        version: the number of the memory.
    """

    def __init__(self, trained: Trained, version: int) -> None:
        super().__init__(f"Scorecard of {trained['name']}, memory v{version}")
        self._trained = trained

    def body(self) -> ComposeResult:
        card = self._trained["scorecard"]
        with VerticalScroll(id="scorecard-scroll"):
            yield Static(Content.styled(verdict_of(card).sentence, "bold"))
            yield Static(card_text(self._trained), id="scorecard")
        yield buttons(("close", "Esc Close"), primary="close")

    def on_mount(self) -> None:
        """Scroll by the arrow keys."""
        self.query_one("#scorecard-scroll").focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Close."""
        self.dismiss(None)
