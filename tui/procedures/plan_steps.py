"""A dialog with the steps of a plan."""

from __future__ import annotations

from collections.abc import Callable

from textual.app import ComposeResult
from textual.widgets import Static, TextArea

from tokmem_desk.errors import TokmemError
from tui.kit.dialog import SaveDialog, buttons, fault_line, paragraph

NOTE = (
    "One step a line: a procedure, and behind a colon its message. In braces stand values: {message}, {NAME}, "
    "{NAME.key}. Two blanks further in stands what an 'if {NAME.key} > 50' decides about; 'else' is the rest. "
    "'ask me: …' waits for your yes, 'tell me: …' says something."
)


class StepsDialog(SaveDialog[str | None]):
    """Closes with the steps, an empty text for a procedure that is no plan, or None: no change.

    Args:
        name: the procedure.
        steps: the present ones; empty: none.
        is_taught: its pairs say the steps, so that there are none to write.
        keep: sets them, None for none; what it refuses is said here.
    """

    DEFAULT_CSS = """
    StepsDialog #steps { height: 12; }
    """

    def __init__(self, name: str, steps: str, keep: Callable[[str | None], object], *, is_taught: bool) -> None:
        super().__init__(f"The steps of {name}")
        self._steps, self._keep, self._is_taught = steps, keep, is_taught

    def body(self) -> ComposeResult:
        yield paragraph(NOTE, classes="muted")
        if self._is_taught:
            yield paragraph("Now the answers of its pairs are its steps. What you write here goes before them.")
        yield Static("Steps; empty: it is no plan", classes="field-label")
        yield TextArea(self._steps, id="steps", highlight_cursor_line=False)
        yield fault_line()
        yield buttons(("cancel", "Esc Cancel"), ("save", "^s Save"), primary="save")

    def action_save(self) -> None:
        """Keep the steps and close, or say what is wrong with them."""
        steps = self.query_one(TextArea).text.rstrip()
        if steps == self._steps.rstrip():
            self.dismiss(None)
            return
        try:
            self._keep(steps or None)
        except TokmemError as error:
            self.say_fault(str(error))
            return
        self.dismiss(steps)
