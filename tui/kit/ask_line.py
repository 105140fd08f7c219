"""A dialog that asks for one line of text, such as a title or a file name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from textual import work
from textual.app import ComposeResult
from textual.widgets import Button, Input

from tokmem_desk.errors import TokmemError
from tui.kit.dialog import SaveDialog, buttons, fault_line, paragraph


class LineDialog(SaveDialog[str | None]):
    """What was typed, or None.

    Args:
        title: of the box.
        note: what will be done with it.
        value: the text at first.
        label: of the agreeing button.
        fault: returns what is wrong with a text, or None.
        propose: finds a text to begin with, or an empty one; None where nobody proposes any.
    """

    def __init__(
        self,
        title: str,
        note: str,
        value: str,
        label: str,
        fault: Callable[[str], str | None] | None = None,
        propose: Callable[[], Awaitable[str]] | None = None,
    ) -> None:
        super().__init__(title)
        self._note, self._value, self._label, self._fault = note, value, label, fault
        self._propose = propose

    def body(self) -> ComposeResult:
        yield paragraph(self._note, classes="muted")
        yield Input(self._value, id="line")
        yield fault_line()
        proposing = [("propose", "Ask the model")] if self._propose is not None else []
        yield buttons(("cancel", "Esc Cancel"), *proposing, ("yes", f"^s {self._label}"), primary="yes")

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Have a text proposed. What the other buttons do is the base class's, whose handler Textual calls next."""
        if event.button.id == "propose":
            event.prevent_default()
            self._fill_in(event.button)

    @work(exclusive=True, exit_on_error=False)
    async def _fill_in(self, button: Button) -> None:
        """Put the proposal into the line, to be changed or saved; without one the line stays as it is."""
        assert self._propose is not None
        line = self.query_one(Input)
        button.disabled = True
        try:
            proposal = await self._propose()
        except TokmemError as caught:
            self.say_fault(f"{caught.message} {caught.next_step}".strip())
        else:
            if proposal:
                line.value = proposal
            else:
                self.say_fault("The model has nothing to propose.")
        button.disabled = False
        line.focus()

    def action_save(self) -> None:
        """Close with the text, or show what is wrong with it."""
        text = self.query_one(Input).value.strip()
        fault = None if self._fault is None else self._fault(text)
        if not text:
            fault = "Nothing is typed."
        if fault is None:
            self.dismiss(text)
            return
        self.say_fault(fault)
