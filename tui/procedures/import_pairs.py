"""A dialog that imports pairs from a file or a pasted table: choose columns, look at the rows, take the good ones."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.suggester import Suggester
from textual.widgets import Button, Input, Select, Static
from textual.worker import Worker, WorkerState

from profiles.pair_files.lint import lint_pairs
from profiles.pair_files.pairs_file import OtherColumnsError, PairsFile, read_pairs_file
from profiles.pair_files.pasted import PASTED, read_pasted
from profiles.pair_files.row_forms import COLUMNS, FORM_WORDS, ColumnMapping, guess_mapping
from profiles.pair_files.writers import write_template
from tokmem_desk.errors import TokmemError
from tokmem_desk.procedures import check_name
from tokmem_desk.system.disk import typed_path
from tui.kit.dialog import Dialog, buttons
from tui.kit.labels import set_label
from tui.kit.words import error_text

SHOWN_PAIRS = 4
SHOWN_PROBLEMS = 8
BANK_SUFFIX = ".tokmem"
SUFFIXES = (".jsonl", ".csv", ".json", ".tsv", BANK_SUFFIX)


@dataclass(frozen=True, slots=True)
class ImportChoice:
    """What to import."""

    path: Path
    file: PairsFile
    name: str
    """The procedure; its pairs are appended when it exists."""


def is_bank(path: Path) -> bool:
    """Whether a path looks like memories rather than a file of pairs."""
    return path.suffix.lower() == BANK_SUFFIX or (path.is_dir() and (path / "manifest.json").is_file())


class PathSuggester(Suggester):
    """Completes the path of a folder or of a pairs file."""

    def __init__(self) -> None:
        super().__init__(use_cache=False, case_sensitive=True)

    async def get_suggestion(self, value: str) -> str | None:
        """The first entry that begins like ``value``."""
        folder, _, stem = value.rpartition("/")
        try:
            entries = sorted(Path(f"{folder}/" if "/" in value else ".").expanduser().iterdir())
        except (OSError, RuntimeError, ValueError):  # RuntimeError: no such ~name, or not yet
            return None
        for entry in entries:
            fits = entry.name.startswith(stem) and (stem or not entry.name.startswith("."))
            if fits and (entry.is_dir() or entry.suffix.lower() in SUFFIXES):
                return value[: len(value) - len(stem)] + entry.name + ("/" if entry.is_dir() else "")
        return None


class ImportDialog(Dialog[ImportChoice | Path | None]):
    """Closes with what to import, with the path of a bank, or with None.

    Args:
        known: the names of the profile's procedures.
        pasted: a table to import instead of a file.
        into: the procedure that is proposed.
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+t", "template", "Write a template", priority=True)]

    def __init__(self, known: Collection[str], *, pasted: str | None = None, into: str | None = None) -> None:
        super().__init__("Import pairs" if pasted is None else "Take the pasted table")
        self._known, self._pasted, self._into = known, pasted, into
        self._path = None if pasted is None else PASTED
        self._file: PairsFile | None = None
        self._columns: tuple[str, ...] = ()
        self._setting = self._choosing = False

    def body(self) -> ComposeResult:
        if self._pasted is None:
            yield Static(
                "CSV, JSONL, JSON, Alpaca, ShareGPT, chat messages, or memories (.tokmem)", classes="field-label"
            )
            yield Input(placeholder="~/pairs.csv   (→ completes, Enter reads)", id="path", suggester=PathSuggester())
        with Horizontal(id="mapping"):
            yield Static("You type", classes="field-label")
            yield Select[str]([], id="map-input", compact=True, prompt="choose")
            yield Static("You get", classes="field-label")
            yield Select[str]([], id="map-response", compact=True, prompt="choose")
        with VerticalScroll():
            yield Static("", id="found", markup=False)
        yield Static("Into the procedure", classes="field-label", id="name-label")
        yield Input(id="name", max_length=40)
        yield Static("", id="fault", classes="inline-error", markup=False)
        choices = [("cancel", "Esc Cancel"), ("import", "Import")]
        if self._pasted is None:
            choices.insert(0, ("template", "^t Template"))
        yield buttons(*choices, primary="import")

    def on_mount(self) -> None:
        """Nothing to import yet, unless it was pasted."""
        self._show_found(None)
        self.query_one("#mapping").display = False
        if self._pasted is None:
            self.query_one("#path").focus()
        else:
            self._read(PASTED, None)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter reads the file, then imports."""
        if event.input.id == "path":
            try:
                self._path = typed_path(event.value.strip())
            except TokmemError as caught:
                self._show_found(None)
                self._fault(error_text(caught))
                return
            if is_bank(self._path):
                self.dismiss(self._path)
                return
            self._fault("")
            self._columns = ()
            self.query_one("#mapping").display = False
            self.query_one("#found", Static).update(Content("Reading…"))
            self._read(self._path, None)
        else:
            self._accept()

    @work(thread=True, exclusive=True, group="read", exit_on_error=False)
    def _read(self, path: Path, mapping: ColumnMapping | None) -> PairsFile:
        # In a thread: a file may have 64 MB.
        return read_pairs_file(path, mapping) if self._pasted is None else read_pasted(self._pasted, mapping)

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """The file was read, or could not be."""
        if event.worker.group != "read":
            return
        if event.state is WorkerState.SUCCESS and isinstance(event.worker.result, PairsFile):
            self._fault("")
            found = event.worker.result
            self._offer(found.columns, needed=not found.count, present=_present(found))
            self._show_found(found)
        elif event.state is WorkerState.ERROR and isinstance(event.worker.error, TokmemError):
            event.prevent_default()
            error = event.worker.error
            self._show_found(None)
            if isinstance(error, OtherColumnsError) and not self._columns:
                self._offer(error.columns, needed=True)
                self._fault("" if self._mapping else "Which column is what you type, and which is what you get?")
            else:
                self._fault(error_text(error))

    # Columns

    def _offer(self, columns: tuple[str, ...], *, needed: bool, present: ColumnMapping | None = None) -> None:
        """Let the person choose columns; where they must, begin with a guess, else with those that were taken."""
        if self._columns or len(columns) < 2:
            return
        self._columns = columns
        guess = guess_mapping(columns) if needed else None
        options = [(Content(f"column {one}" if one.isdecimal() else one), one) for one in columns if one]
        shown = guess or present
        chosen = (None, None) if shown is None else (shown.input, shown.response)
        self._setting = True
        for key, value in zip(("#map-input", "#map-response"), chosen, strict=True):
            select = self.query_one(key, Select)
            select.set_options(options)
            if value in columns:
                select.value = value
        self._setting = False
        self.query_one("#mapping").display = True
        if guess is not None and self._path is not None:
            self._read(self._path, guess)
        elif needed:
            self.query_one("#map-input").focus()

    @property
    def _mapping(self) -> ColumnMapping | None:
        values = [self.query_one(key, Select).value for key in ("#map-input", "#map-response")]
        if any(not isinstance(value, str) for value in values):
            return None
        return ColumnMapping(str(values[0]), str(values[1]))

    def on_select_changed(self, event: Select.Changed) -> None:
        """Read again with the chosen columns."""
        mapping = self._mapping
        if self._setting or mapping is None or self._path is None or not self._columns:
            return
        if mapping.input == mapping.response:
            self._show_found(None)
            self._fault("What you type and what you get cannot be the same column.")
            return
        self._choosing = True
        self._read(self._path, mapping)

    # The template

    def action_template(self) -> None:
        """Write a file to begin with, beside what was typed as a path, and never over one."""
        if self._pasted is not None:
            return
        place = self.query_one("#path", Input)
        try:
            typed = typed_path(place.value.strip())
            path = typed if typed.suffix else typed / "pairs_template.csv"
            write_template(path)
        except TokmemError as caught:
            self._fault(error_text(caught))
            return
        place.value = str(path)
        self._fault("")
        self.app.notify(f"Wrote {path.absolute()}. Put your pairs there, then press Enter here.", markup=False)
        place.focus()

    # The end

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Import or leave."""
        if event.button.id == "cancel":
            self.dismiss(None)
        elif event.button.id == "template":
            self.action_template()
        else:
            self._accept()

    def on_input_changed(self, event: Input.Changed) -> None:
        """The name decides whether pairs are added or a procedure is made."""
        if event.input.id == "name":
            exists = event.value.strip() in self._known
            words = "Into the procedure, whose pairs stay" if exists else "Into a new procedure"
            self.query_one("#name-label", Static).update(words)

    def _show_found(self, file: PairsFile | None) -> None:
        self._file = file
        usable = file is not None and bool(file.count)
        for key in ("#name-label", "#name", "#import"):
            self.query_one(key).display = usable
        place = self.query_one("#found", Static)
        place.display = file is not None
        if file is None or self._path is None:
            return
        place.update(preview(file, few=self._into is None))
        button = self.query_one("#import", Button)
        set_label(button, f"Import {'the other ' if file.problems else ''}{file.count} pairs")
        if usable:
            name = self.query_one("#name", Input)
            name.value = name.value or self._into or file.procedure_name or _name_of(self._path)
            if not self._choosing:
                name.focus()
        elif self._columns:
            self._fault("Choose the columns above: with these there is no pair.")
        else:
            self._fault("There is no pair to import in this file.")

    def _accept(self) -> None:
        name = self.query_one("#name", Input).value.strip()
        if self._file is None or self._path is None:
            self._fault("Give a file first, then press Enter to read it.")
            return
        try:
            check_name(name)
        except TokmemError as caught:
            self._fault(error_text(caught))
            return
        self.dismiss(ImportChoice(self._path, self._file, name))

    def _fault(self, text: str) -> None:
        place = self.query_one("#fault", Static)
        place.update(Content(text))
        place.set_class(bool(text), "-shown")


def preview(file: PairsFile, *, few: bool = True) -> Content:
    """What is in a file: counts, the first pairs, the bad rows with their reasons, and what lint says.

    Args:
        file: what was read.
        few: whether it matters that these are few.
    """
    held_out = f", {len(file.held_out)} held out to measure" if file.held_out else ""
    lines = [Content.styled(f"{len(file.pairs)} pairs to learn from{held_out}", "bold")]
    lines += [
        Content.styled(f"Read as {FORM_WORDS[form]}", "$muted")
        for form in file.forms
        if form not in ("pairs", "mapped")
    ]
    if file.description:
        lines.append(Content.styled(file.description, "$muted"))
    arrow = Content.styled(" → ", "$accent")
    lines += [
        Content.assemble("  ", _one_line(pair.input, 44), arrow, _one_line(pair.response, 36))
        for pair in file.pairs[:SHOWN_PAIRS]
    ]
    lines += [Content.styled(note, "$muted") for note in file.notes]
    if file.problems:
        lines.append(
            Content.styled(f"\n{_rows(len(file.problems))} cannot be used and would be left out:", "$text-warning")
        )
        lines += [Content(f"  line {problem.line}: {problem.reason}") for problem in file.problems[:SHOWN_PROBLEMS]]
        if len(file.problems) > SHOWN_PROBLEMS:
            lines.append(Content(f"  and {len(file.problems) - SHOWN_PROBLEMS} more"))
    findings = lint_pairs(list(file.pairs), output_schema=file.output_schema)
    said = [finding.text for finding in findings if few or finding.kind != "few"]
    lines += [Content.styled(f"! {text}", "$text-warning") for text in said[:3]]
    return Content("\n").join(lines)


def _present(file: PairsFile) -> ColumnMapping | None:
    """The columns that were taken; None where several make a pair, as in a conversation."""
    if file.mapping is not None:
        return file.mapping
    names = {column.strip().lower(): column for column in file.columns}
    own = file.forms == ("pairs",) and all(column in names for column in COLUMNS)
    return ColumnMapping(*(names[column] for column in COLUMNS)) if own else None


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"


def _one_line(text: str, width: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= width else f"{line[: width - 1]}…"


def _name_of(path: Path) -> str:
    """A name for a procedure, made from a file's name."""
    return re.sub(r"[^a-z0-9_-]+", "_", path.stem.lower()).strip("_")[:40]
