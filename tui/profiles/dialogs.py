"""Dialogs that name a profile, and that erase one after its name was typed."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Button, Input, Static

from profiles.registry.names import check_profile_name, is_same_name
from tokmem_desk.errors import TokmemError
from tui.kit.dialog import Dialog, SaveDialog, buttons, fault_line, paragraph


class ProfileNameDialog(SaveDialog[str | None]):
    """Closes with a name for a new or a renamed profile, or with None.

    Args:
        title: what this is about.
        taken: names that cannot be chosen.
        name: what to begin with.
    """

    def __init__(self, title: str, taken: Collection[str], name: str = "") -> None:
        super().__init__(title)
        self._taken, self._name_before = taken, name

    def body(self) -> ComposeResult:
        yield Static("Name", classes="field-label")
        yield Input(self._name_before, placeholder="Anna", id="name", max_length=40)
        yield fault_line()
        yield paragraph(
            "A profile keeps its procedures, memories, chats and corrections apart from all others. The model is "
            "shared and stays loaded.",
            classes="muted",
        )
        yield buttons(("cancel", "Esc Cancel"), ("save", "^s Save"), primary="save")

    def action_save(self) -> None:
        """Hand the name over, or say what is wrong with it."""
        name = self.query_one("#name", Input).value.strip()
        fault = ""
        try:
            name = check_profile_name(name)
        except TokmemError as caught:
            fault = f"{caught.message} {caught.next_step}".strip()
        if taken := next((other for other in self._taken if is_same_name(name, other)), None):
            fault = f"There is a profile {taken!r} already."
        if fault:
            self.say_fault(fault, "#name")
            return
        self.dismiss(name)


class EraseDialog(Dialog[bool]):
    """True when the person typed the name of the profile.

    Args:
        name: of the profile.
        going: what will be gone, a line each.
        after: what happens next, in a sentence.
    """

    def __init__(self, name: str, going: Sequence[str], after: str) -> None:
        super().__init__(f"Erase {name} for good?")
        self._name_wanted, self._going, self._after = name, going, after

    def body(self) -> ComposeResult:
        yield paragraph("This goes, and nothing brings it back:")
        yield Static(Content("\n").join(Content(f"  ✗ {line}") for line in self._going), classes="going")
        yield paragraph(self._after, classes="muted")
        yield Static(Content(f"Type {self._name_wanted} to erase it"), classes="field-label")
        yield Input(id="name", placeholder=self._name_wanted)
        yield buttons(("no", "Esc Keep it"), ("yes", "Erase"), danger="yes")

    def on_mount(self) -> None:
        """Disable the button until the name is typed."""
        self.query_one("#yes", Button).disabled = True
        self.query_one(Input).focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """The button works once the name is right."""
        self.query_one("#yes", Button).disabled = event.value.strip() != self._name_wanted

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter erases when the name is right."""
        if event.value.strip() == self._name_wanted:
            self.dismiss(True)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Answer."""
        self.dismiss(event.button.id == "yes")

    def action_leave(self) -> None:
        """Esc keeps it."""
        self.dismiss(False)
