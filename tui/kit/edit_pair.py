"""A dialog to write or change one example pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Button, Select, Static, TextArea

from profiles.store.pair_rules import pair_fault
from tokmem_desk.procedures import ExamplePair
from tui.kit.dialog import Dialog, buttons, fault_line


@dataclass(frozen=True, slots=True)
class PairDraft:
    """What was written."""

    input: str
    response: str
    procedure: str
    another: bool
    """Whether the person wants to write the next pair at once."""


class PairDialog(Dialog[PairDraft | None]):
    """Closes with a draft that can be stored, or with None.

    Args:
        title: what this is about.
        procedures: more than one are offered as a choice.
        input: what to begin with.
        response: what to begin with.
        offer_another: whether "Save and next" makes sense.
        at_response: begin in the answer, behind its last letter.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "save(False)", "Save", priority=True),
        Binding("ctrl+n,alt+n", "save(True)", "Save and next", priority=True),
    ]

    def __init__(
        self,
        title: str,
        procedures: Sequence[str],
        *,
        input: str = "",
        response: str = "",
        offer_another: bool = False,
        at_response: bool = False,
    ) -> None:
        super().__init__(title)
        self._procedures, self._offer_another = list(procedures), offer_another
        self._input, self._response = input, response
        self._at_response = at_response or bool(input and not response)

    def body(self) -> ComposeResult:
        if len(self._procedures) > 1:
            yield Static("Procedure", classes="field-label")
            options = [(Content(name), name) for name in self._procedures]
            yield Select(options, value=self._procedures[0], allow_blank=False, id="procedure", compact=True)
        yield Static("You type", classes="field-label")
        yield TextArea(self._input, id="input", highlight_cursor_line=False)
        yield Static("You get", classes="field-label")
        yield TextArea(self._response, id="response", highlight_cursor_line=False)
        yield fault_line()
        save = [("save", "^s Save")]
        if self._offer_another:
            save.insert(0, ("next", "^n Save and next"))
        yield buttons(("cancel", "Esc Cancel"), *save, primary="save")

    def on_mount(self) -> None:
        """Begin where text is missing."""
        field = self.query_one("#response" if self._at_response else "#input", TextArea)
        field.focus()
        if self._at_response:
            field.move_cursor(field.document.end)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Hide "Save and next" where it makes no sense."""
        return self._offer_another if action == "save" and parameters == (True,) else True

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Save or leave."""
        if event.button.id == "cancel":
            self.dismiss(None)
        else:
            self.action_save(event.button.id == "next")

    def action_save(self, another: bool) -> None:
        """Hand the draft over, or say what is wrong with it."""
        pair = ExamplePair(self.query_one("#input", TextArea).text, self.query_one("#response", TextArea).text)
        fault = pair_fault(pair)
        if fault is not None:
            self.say_fault(f"This pair cannot be used yet: {fault}.")
            return
        chosen = self.query(Select)
        procedure = str(chosen.first().value) if chosen else self._procedures[0]
        self.dismiss(PairDraft(pair.input, pair.response, procedure, another))
