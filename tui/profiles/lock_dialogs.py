"""Dialogs that ask for a passphrase, choose a new one, and show the recovery key."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Button, Input, Static

from profiles.encryption.file_encryption import ProfileKey
from profiles.encryption.keyring import checked_passphrase, recovery_signs
from profiles.files.atomic import write_text
from profiles.files.paths import AppPaths
from tokmem_desk.errors import TokmemError
from tokmem_desk.system.disk import typed_path
from tui.kit.ask_line import LineDialog
from tui.kit.dialog import Dialog, SaveDialog, buttons, fault_line, paragraph
from tui.kit.key_gate import asks
from tui.kit.words import error_text
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

    def __init__(self, title: str, note: str) -> None:
        super().__init__(title)
        self._note = note

    def body(self) -> ComposeResult:
        yield paragraph(self._note)
        yield Static("Passphrase: 8 characters or more; several words are best", classes="field-label")
        yield Input(password=True, id="first")
        yield Static("Once more", classes="field-label")
        yield Input(password=True, id="second")
        yield fault_line()
        yield buttons(("cancel", "Esc Cancel"), ("save", "^s Save"), primary="save")

    def action_save(self) -> None:
        """Hand it over, or say what is wrong with it."""
        first, second = self.query_one("#first", Input).value, self.query_one("#second", Input).value
        fault = "" if first == second else "The two are not the same."
        try:
            checked_passphrase(first)
        except TokmemError as caught:
            fault = f"{caught.message} {caught.next_step}".strip()
        if fault:
            self.say_fault(fault, "#first")
            return
        self.dismiss(first)


class RecoveryKeyDialog(Dialog[None]):
    """Shows the recovery key, which is shown only here. Closes once the person has shown to have it.

    Args:
        profile: what it opens.
        recovery: the key, groups of signs with dashes.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "save", "Save to a file", priority=True),
        Binding("ctrl+c", "copy", "Copy", priority=True),
    ]

    def __init__(self, profile: str, recovery: str) -> None:
        super().__init__("Write this down now")
        self._profile, self._recovery = profile, recovery
        self._warned = False

    def body(self) -> ComposeResult:
        yield paragraph(f"{self._profile} is locked from now on. If its passphrase is forgotten, only this opens it:")
        yield Static(Content(self._recovery), id="recovery", classes="recovery")
        yield paragraph("It is kept nowhere and is not shown again. Without both, nobody can read the profile.")
        yield Static("To go on, type its last group here, or save it to a file", classes="field-label")
        yield Input(id="group")
        yield fault_line()
        yield buttons(("copy", "^c Copy"), ("save", "^s Save to a file"), ("close", "Go on"), primary="close")

    def on_mount(self) -> None:
        """Nothing that Enter presses closes."""
        self.query_one("#group").focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter goes on if the group is right."""
        self._go_on()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Copy, save, or go on."""
        match event.button.id:
            case "copy":
                self.action_copy()
            case "save":
                self.action_save()
            case _:
                self._go_on()

    def action_leave(self) -> None:
        """Esc does not close: the key would be gone."""
        self._say("The key is not shown again.")

    def may_quit(self) -> bool:
        """Whether the app may end now: only when asked twice."""
        if not self._warned:
            self._warned = True
            self._say("The key is not shown again. Ctrl+Q once more quits without it.")
            return False
        return True

    def action_copy(self) -> None:
        """Copy it. A clipboard is no place to keep it, so this alone does not close."""
        self.app.copy_to_clipboard(self._recovery)
        self.app.notify("Copied. Paste it where you keep it, then type its last group.")

    @asks
    @work(group="save", exclusive=True, exit_on_error=False)
    async def action_save(self) -> None:
        """Save it to a file that the person names, and close."""
        dialog = LineDialog(
            "Save the recovery key to a file",
            "Whoever can read the file can open the profile: keep it on a stick, or print it and delete it.",
            str(Path.home() / f"recovery-key-{self._profile}.txt"),
            "Save",
            _fault_of_file,
        )
        typed = await self.app.push_screen_wait(dialog)
        if typed is None:
            return
        path = typed_path(typed)
        # The first line is what the command line reads with --recovery-file.
        write_text(path, f"{self._recovery}\nThe recovery key of the profile {self._profile} of tokmem-desk.\n")
        self.app.notify(f"Saved to {path}", markup=False)
        self.dismiss(None)

    def _go_on(self) -> None:
        if recovery_signs(self.query_one("#group", Input).value) in _right_answers(self._recovery):
            self.dismiss(None)
        else:
            self._say("That is not its last group: the four signs behind the last dash.")

    def _say(self, fault: str) -> None:
        self.say_fault(fault, "#group")


def _right_answers(recovery: str) -> tuple[str, str]:
    """The last group of a recovery key, and all of it: who has pasted the whole has it too."""
    return recovery_signs(recovery.rpartition("-")[2]), recovery_signs(recovery)


def _fault_of_file(typed: str) -> str | None:
    """Why the key cannot be saved under this name, or None."""
    try:
        path = typed_path(typed)
    except TokmemError as caught:
        return error_text(caught)
    if path.exists():
        return f"{path} is there already."
    return None if path.parent.is_dir() else f"There is no folder {path.parent}."


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
