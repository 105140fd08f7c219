"""The dialogs of banks: what to export, and what is in a file before it is imported."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Button, Input, RadioSet, Static
from textual.worker import Worker, WorkerState

from profiles.store.banks import CONFLICTS
from tokmem_desk.bank.container import needs_passphrase
from tokmem_desk.bank.reader import open_bank
from tokmem_desk.errors import TokmemError
from tui.banks.controller import ExportWish, ImportWish
from tui.banks.transfer import Verdict, export_path, verdict_of
from tui.banks.words import bank_facts
from tui.kit.dialog import Dialog, SaveDialog, buttons, fault_line, paragraph
from tui.kit.labels import set_label
from tui.kit.ticks import Choice, Tick
from tui.kit.words import error_text

SHOWN_CONFLICTS = 6
_CONFLICT_WORDS = {
    "rename": "keep both: the new ones get a number",
    "replace": "replace mine (^z brings them back)",
    "skip": "leave the new ones out",
}


class ExportDialog(SaveDialog[ExportWish | None]):
    """Closes with what to export and where, or with None.

    Args:
        selected: the procedure under the cursor.
        trained: names that can be exported.
    """

    def __init__(self, selected: str, trained: Sequence[str]) -> None:
        super().__init__("Export memories")
        self._selected, self._trained = selected, trained

    def body(self) -> ComposeResult:
        with VerticalScroll():
            yield Static(f"Procedures, with spaces between; empty: all {len(self._trained)}", classes="field-label")
            yield Input(self._selected if self._selected in self._trained else "", id="names", compact=True)
            yield Static("File", classes="field-label")
            yield Input(f"~/{self._selected or 'procedures'}.tokmem", id="path", compact=True)
            yield Tick("The example pairs and corrections, too", id="pairs", compact=True)
            yield Static("Licence for others (optional)", classes="field-label")
            yield Input(placeholder="CC-BY-4.0", id="licence", compact=True)
            yield Static("Passphrase for the file (optional)", classes="field-label")
            yield Input(password=True, id="passphrase", compact=True)
            yield Input(password=True, placeholder="the same again", id="again", compact=True)
            yield paragraph(
                "Without pairs, too: a memory can reveal parts of what it was trained on to whoever has the file.",
                classes="muted note",
            )
        yield fault_line()
        yield buttons(("cancel", "Esc Cancel"), ("export", "^s Export"), primary="export")

    def on_mount(self) -> None:
        """The second passphrase shows with the first."""
        self.query_one("#again").display = False
        self.query_one("#names").focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """The second passphrase shows with the first."""
        if event.input.id == "passphrase":
            self.query_one("#again").display = bool(event.value)

    def action_save(self) -> None:
        """Close with the wish, or say what is wrong with it."""
        value = {one.id: one.value.strip() for one in self.query(Input)}
        names = (value["names"] or "").replace(",", " ").split()
        try:
            path = export_path(value["path"] or "")
        except TokmemError as caught:
            self.say_fault(error_text(caught))
            return
        passphrase = self.query_one("#passphrase", Input).value
        fault = ""
        if unknown := [name for name in names if name not in self._trained]:
            fault = f"{unknown[0]!r} is not trained for this model."
        elif not value["path"] or path.is_dir():
            fault = "Give a file's name."
        elif path.exists():
            fault = f"{path} is there already: choose another name."
        elif passphrase != self.query_one("#again", Input).value:
            fault = "Type the passphrase twice: these are two different ones."
        if fault:
            self.say_fault(fault)
            return
        pairs = self.query_one("#pairs", Tick).value
        self.dismiss(ExportWish(path, names, pairs, value["licence"] or "", passphrase or None))


@dataclass(frozen=True, slots=True)
class Look:
    """What a bank file shows before it is imported."""

    facts: list[tuple[str, list[str]]]
    """Headings, each with its lines."""
    verdict: Verdict | None
    """None while no model is loaded to compare with."""
    conflicts: tuple[str, ...]


class BankDialog(Dialog[ImportWish | None]):
    """Shows what is in a bank. Closes with how to import it, or with None.

    Args:
        path: the file or folder.
        taken: names of the profile's procedures.
        identity: fingerprint of the loaded backbone; None when there is none yet.
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+s", "save", "Import", priority=True)]

    def __init__(self, path: Path, taken: Collection[str], identity: Mapping[str, Any] | None) -> None:
        super().__init__("Import memories")
        self._path, self._taken, self._identity = path, frozenset(taken), identity
        self._passphrase: str | None = None
        self._look: Look | None = None

    def body(self) -> ComposeResult:
        yield Static("", id="passphrase-label", classes="field-label", markup=False)
        yield Input(password=True, id="passphrase")
        with VerticalScroll():
            # What must be decided stands above what may be read.
            yield Static("", id="verdict", markup=False)
            yield Static("", id="conflict-label", markup=False)
            with RadioSet(id="conflict", compact=True):
                for conflict in CONFLICTS:
                    yield Choice(_CONFLICT_WORDS[conflict], value=conflict == "rename")
            yield Static("Reading…", id="found", markup=False)
        yield fault_line()
        yield buttons(("cancel", "Esc Cancel"), ("import", "^s Import"), primary="import")

    def on_mount(self) -> None:
        """Read the file, after the passphrase where there is one."""
        locked = needs_passphrase(self._path)
        for key in ("#passphrase-label", "#passphrase"):
            self.query_one(key).display = locked
        self._show(None)
        if locked:
            label = f"{self._path.name} is under a passphrase (Enter reads it)"
            self.query_one("#passphrase-label", Static).update(Content(label))
            self.query_one("#found").display = False
            self.query_one("#passphrase").focus()
        else:
            self._read(None)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """The passphrase was typed."""
        self._passphrase = event.value
        self.say_fault("")
        self._read(event.value)

    @work(thread=True, exclusive=True, group="read", exit_on_error=False)
    def _read(self, passphrase: str | None) -> Look:
        # In a thread: all of the file is checked.
        with open_bank(self._path, lambda _: passphrase or "") as bank:
            verdict = None if self._identity is None else verdict_of(bank, self._identity)
            shared = tuple(name for name in bank.manifest.names if name in self._taken)
            return Look(bank_facts(bank), verdict, shared)

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """The file was read, or could not be."""
        if event.worker.group != "read":
            return
        if event.state is WorkerState.SUCCESS and isinstance(event.worker.result, Look):
            self._show(event.worker.result)
        elif event.state is WorkerState.ERROR and isinstance(event.worker.error, TokmemError):
            event.prevent_default()
            self.query_one("#found").display = False
            self.say_fault(error_text(event.worker.error))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Import only what was read and is not refused."""
        return self.query_one("#import").display if action == "save" and self.is_mounted else True

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Import or leave."""
        if event.button.id == "cancel":
            self.dismiss(None)
        else:
            self.action_save()

    def action_save(self) -> None:
        """Close with how to import it."""
        if self._look is None:
            return
        conflict = CONFLICTS[max(0, self.query_one("#conflict", RadioSet).pressed_index)]
        verdict = self._look.verdict
        retrain = verdict is not None and verdict.kind == "retrain"
        self.dismiss(ImportWish(self._path, conflict, retrain, self._passphrase))

    def _show(self, look: Look | None) -> None:
        self._look = look
        verdict = None if look is None else look.verdict
        refused = verdict is not None and verdict.kind == "refused"
        button = self.query_one("#import", Button)
        button.display = look is not None and not refused
        for key in ("#conflict-label", "#conflict"):
            self.query_one(key).display = look is not None and bool(look.conflicts) and not refused
        if look is None:
            return
        found = self.query_one("#found", Static)
        found.display = True
        found.update(_facts_content(look.facts))
        self.query_one("#verdict", Static).update(Content(f"{_verdict_words(verdict)}\n"))
        shown = ", ".join(look.conflicts[:SHOWN_CONFLICTS])
        more = len(look.conflicts) - SHOWN_CONFLICTS
        rest = f" and {more} more" if more > 0 else ""
        self.query_one("#conflict-label", Static).update(Content(f"You have {shown}{rest} already:"))
        if verdict is not None and verdict.kind == "retrain":
            set_label(button, "^s Take the pairs and train here")
        (button if button.display else self.query_one("#cancel")).focus()


def _facts_content(facts: Sequence[tuple[str, Sequence[str]]]) -> Content:
    """A heading and, behind or below it, its lines."""
    parts: list[Content] = []
    for heading, lines in facts:
        parts.append(Content.assemble("\n" if parts else "", Content.styled(f"{heading}: ", "bold"), lines[0]))
        parts += [Content(f"· {line}") for line in lines[1:]]
    return Content("\n").join(parts)


def _verdict_words(verdict: Verdict | None) -> str:
    if verdict is None:
        return "Whether it fits will show when the model is loaded."
    if verdict.kind == "fits":
        return f"✓ It fits the model here. {verdict.reason}".strip()
    if verdict.kind == "retrain":
        return f"! {verdict.reason} Its pairs are inside, so its procedures can be trained here."
    return f"✗ {verdict.reason} Its pairs are not inside, so it cannot be trained here."
