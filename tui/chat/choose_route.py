"""A dialog to choose the route that a message should have taken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from tokmem_desk.procedures import NONE_ROUTE
from tui.engine_client.protocol import Candidate
from tui.kit.dialog import Dialog, paragraph
from tui.kit.words import percent


class RouteDialog(Dialog[str | None]):
    """Closes with the chosen route, or with None.

    Args:
        question: the message, shown again.
        names: the procedures.
        current: the route it got, which is not offered.
        candidates: the router's probabilities; the most probable route stands first.
        title: what is asked.
        note: what choosing does.
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("k", "up", show=False), Binding("j", "down", show=False)]

    def __init__(
        self,
        question: str,
        names: Sequence[str],
        current: str | None,
        candidates: Sequence[Candidate] = (),
        *,
        title: str = "Which one is right?",
        note: str = "The verdict is kept and used from now on; the message is answered again at once.",
    ) -> None:
        super().__init__(title)
        self._question, self._note = question, note
        likely = {one["route"]: one["probability"] for one in candidates}
        routes = [name for name in (*names, NONE_ROUTE) if name != current]
        self._routes = sorted(routes, key=lambda name: -likely.get(name, 0.0))
        self._likely = likely

    def body(self) -> ComposeResult:
        question = " ".join(self._question.split())
        yield paragraph(f"“{question[:160]}{'…' if len(question) > 160 else ''}”" if question else "", classes="muted")
        options = OptionList(id="routes", markup=False)
        width = max((len(name) for name in self._routes), default=0)
        for name in self._routes:
            sign = "○" if name == NONE_ROUTE else "◆"
            words = "plain chat" if name == NONE_ROUTE else ""
            share = percent(self._likely[name]) if name in self._likely else ""
            options.add_option(
                Option(
                    Content.assemble(
                        f"{sign} {name:<{width}}  ", Content.styled(f"{share:>5}  {words}".rstrip(), "$muted")
                    )
                )
            )
        yield options
        yield paragraph(self._note, classes="muted note")

    def on_mount(self) -> None:
        """Arrows choose; the likeliest is under the cursor."""
        options = self.query_one(OptionList)
        options.highlighted = 0 if self._routes else None
        options.focus()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Answer."""
        self.dismiss(self._routes[event.option_index])

    def action_up(self) -> None:
        """One line up."""
        self.query_one(OptionList).action_cursor_up()

    def action_down(self) -> None:
        """One line down."""
        self.query_one(OptionList).action_cursor_down()
