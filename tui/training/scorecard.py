"""The pane with the result of a training."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from tui.engine_client.protocol import Scorecard, Trained
from tui.kit.verdict import verdict_of
from tui.shared.scorecard import card_text


class ScorecardPane(VerticalScroll):
    """Everything about one new memory, above all whether it is better."""

    DEFAULT_CSS = """
    ScorecardPane {
        height: 1fr; padding: 0 2; scrollbar-size-vertical: 1;
        #outcome { height: auto; margin: 0 0 1 0; }
        #card { height: auto; }
    }
    """

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._shown = ""

    def compose(self) -> ComposeResult:
        yield Static(id="outcome")
        yield Static(id="card")

    def show(self, trained: Trained) -> None:
        """Draw what a training has made, unless it is in sight already."""
        if trained["memory_id"] == self._shown:
            return
        self._shown = trained["memory_id"]
        self.scroll_home(animate=False)
        self.query_one("#outcome", Static).update(_outcome(trained["scorecard"]))
        self.query_one("#card", Static).update(card_text(trained))


def _outcome(card: Scorecard) -> Content:
    words = verdict_of(card).sentence
    return Content.assemble(
        Content.styled(f"{words} ", "bold"),
        "Nothing changes in the chat before you press ",
        Content.styled("a", "bold $accent"),
        " (activate). ",
        Content.styled("k", "bold $accent"),
        " keeps the old, ",
        Content.styled("p", "bold $accent"),
        " adds pairs. It waits here, also after closing the app.",
    )
