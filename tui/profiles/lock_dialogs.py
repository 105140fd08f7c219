"""Dialogs that ask for a passphrase, choose a new one, and show the recovery key."""

from __future__ import annotations

from typing import ClassVar, Literal

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Button, Input, Static

from profiles.encryption.file_encryption import ProfileKey
from profiles.encryption.keyring import checked_passphrase
from profiles.files.paths import AppPaths
from tokmem_desk.errors import TokmemError
from tui.kit.dialog import Dialog, SaveDialog, buttons, paragraph
from tui.profiles.unlock_form import UnlockForm

LockWish = Literal["lock", "change", "remove"]


class UnlockDialog(Dialog[ProfileKey | None]):
    """Closes with the key of a locked profile, or with None.

    Args:
        paths: where the profiles are.
        profile: the locked one.
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+r", "recovery", "Recovery key", priority=True)]

    def __init__(self, paths: AppPaths, profile: str) -> None:
        super().__init__(f"{profile} is locked")
        self._paths, self._profile = paths, profile

    def body(self) -> ComposeResult:
        yield UnlockForm(self._paths, self._profile)
        yield buttons(("no", "Esc Cancel"), ("recovery", "^r Recovery key"), ("yes", "Unlock"), primary="yes")

    def on_unlock_form_opened(self, event: UnlockForm.Opened) -> None:
        """Hand the key over."""
        self.dismiss(event.key)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Try, change the way, or leave."""
        match event.button.id:
            case "yes":
                self.query_one(UnlockForm).submit()
            case "recovery":
                self.action_recovery()
            case _:
                self.dismiss(None)

    def action_recovery(self) -> None:
        """By the recovery key, or by the passphrase again."""
        self.query_one(UnlockForm).toggle_recovery()


class NewPassphraseDialog(SaveDialog[str | None]):
    """Closes with a passphrase that was typed twice, or with None.

    Args:
        title: what it is for.
        note: what it does, in a sentence or two.
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+s", "save", "Save", priority=True)]

    def __init__(self, title: str, note: str) -> None:
        super().__init__(title)
        self._note = note

    def body(self) -> ComposeResult:
        yield paragraph(self._note)
        yield Static("Passphrase: 8 characters or more; several words are best", classes="field-label")
        yield Input(password=True, id="first")
        yield Static("Once more", classes="field-label")
        yield Input(password=True, id="second")
        yield Static("", id="fault", classes="inline-error", markup=False)
        yield buttons(("cancel", "Esc Cancel"), ("save", "^s Save"), primary="save")

    def on_input_changed(self, event: Input.Changed) -> None:
        """Hide the fault as soon as the text differs."""
        self.query_one("#fault").remove_class("-shown")

    def action_save(self) -> None:
        """Hand it over, or say what is wrong with it."""
        first, second = self.query_one("#first", Input).value, self.query_one("#second", Input).value
        fault = "" if first == second else "The two are not the same."
        try:
            checked_passphrase(first)
        except TokmemError as caught:
            fault = f"{caught.message} {caught.next_step}".strip()
        if fault:
            place = self.query_one("#fault", Static)
            place.update(Content(fault))
            place.add_class("-shown")
            self.query_one("#first").focus()
            return
        self.dismiss(first)


class RecoveryKeyDialog(Dialog[None]):
    """Shows the recovery key. This is the only time that it is shown."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("c", "copy", "Copy")]

    def __init__(self, profile: str, recovery: str) -> None:
        super().__init__("Write this down now")
        self._profile, self._recovery = profile, recovery

    def body(self) -> ComposeResult:
        yield paragraph(f"{self._profile} is locked from now on. If its passphrase is forgotten, only this opens it:")
        yield Static(Content(self._recovery), id="recovery", classes="recovery")
        yield paragraph("It is kept nowhere and is not shown again. Without both, nobody can read the profile.")
        yield buttons(("copy", "c Copy"), ("close", "I have it"), primary="close")

    def on_mount(self) -> None:
        """Enter closes."""
        self.query_one("#close").focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Copy or close."""
        if event.button.id == "copy":
            self.action_copy()
        else:
            self.dismiss(None)

    def action_copy(self) -> None:
        """Copy it."""
        self.app.copy_to_clipboard(self._recovery)
        self.app.notify("Copied.")


class LockMenuDialog(Dialog[LockWish | None]):
    """Closes with what to do with the passphrase of a profile, or with None.

    Args:
        profile: the locked one.
        is_open: it is the one in use, so it can be locked now.
    """

    def __init__(self, profile: str, is_open: bool) -> None:
        super().__init__(f"The passphrase of {profile}")
        self._is_open = is_open

    def body(self) -> ComposeResult:
        yield paragraph("Everything in this profile is encrypted. The passphrase is asked for again after a while.")
        now = (("lock", "Lock now"),) if self._is_open else ()
        yield buttons(*now, ("change", "Another one"), ("remove", "Remove it"), primary="lock", danger="remove")

    def on_mount(self) -> None:
        """Put the focus on the harmless answer."""
        self.query_one("#lock" if self._is_open else "#change").focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Answer."""
        wishes: dict[str, LockWish] = {"lock": "lock", "change": "change", "remove": "remove"}
        self.dismiss(wishes.get(event.button.id or ""))
