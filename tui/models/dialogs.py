"""Dialogs of the Models screen: a model that is in no list, and a change that leaves procedures behind."""

from __future__ import annotations

from typing import Literal

from textual.app import ComposeResult
from textual.widgets import Button, Input, Static

from tokmem_desk.errors import TokmemError
from tokmem_desk.models.store import ModelStore
from tui.kit.dialog import Dialog, SaveDialog, buttons, fault_line, paragraph
from tui.kit.words import count, duration


class ModelNameDialog(SaveDialog[str | None]):
    """A Hub id, a folder or a GGUF file that is there, or None.

    Args:
        store: knows whether a text can be a model.
    """

    def __init__(self, store: ModelStore) -> None:
        super().__init__("Another model")
        self._store = store

    def body(self) -> ComposeResult:
        yield Static("A Hub id, a folder with config.json, or a .gguf file", classes="field-label")
        yield Input(placeholder="Qwen/Qwen3-0.6B, or /models/mine.gguf", id="model")
        yield fault_line()
        yield paragraph(
            "A Hub model is fetched; a folder or a file is read where it lies. Either is converted to 4 bit once.",
            classes="muted",
        )
        yield buttons(("cancel", "Esc Cancel"), ("ok", "^s Fetch or convert"), primary="ok")

    def action_save(self) -> None:
        """Close with the text, or show what is wrong with it."""
        wanted = self.query_one(Input).value.strip()
        try:
            if not wanted:
                fault = "Nothing is named."
            else:
                self._store.resolve(wanted)
                self.dismiss(wanted)
                return
        except TokmemError as caught:
            fault = f"{caught.message} {caught.next_step}".strip()
        self.say_fault(fault, "#model")


Change = Literal["learn", "use", "back"]

SHOWN_NAMES = 3
"""So many procedures are named; more are counted."""


class ChangeModelDialog(Dialog[Change]):
    """Asks what becomes of procedures that answer on the present model: learned on the other one, or left.

    Args:
        title: of the other model.
        present: the present one's.
        names: of the procedures.
        minutes: to learn them; None where nobody knows.
    """

    def __init__(self, title: str, present: str, names: list[str], minutes: float | None) -> None:
        super().__init__(f"Use {title}?")
        self._title, self._present, self._names, self._minutes = title, present, names, minutes

    def body(self) -> ComposeResult:
        time = "" if self._minutes is None else f", about {duration(60 * self._minutes)} on this computer"
        names = self._names
        what = ", ".join(names) if len(names) <= SHOWN_NAMES else count(len(names), "procedure")
        yield paragraph(
            f"Learned on {self._present}: {what}. A memory works on its own model alone. To answer on {self._title}, "
            f"the same pairs have to be learned there{time}. You can chat meanwhile, and you see the results before "
            "anything answers with them."
        )
        yield paragraph(
            f"The memories on {self._present} stay: choose that model again, and all is as it is now.",
            classes="muted",
        )
        yield buttons(("back", "Esc Back"), ("use", "Use it alone"), ("learn", "Use it and learn"), primary="learn")

    def on_mount(self) -> None:
        """Nothing is lost by any of them; the focus is on what most people want."""
        self.query_one("#learn").focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Answer."""
        self.dismiss("learn" if event.button.id == "learn" else "use" if event.button.id == "use" else "back")

    def action_leave(self) -> None:
        """Esc goes back."""
        self.dismiss("back")
