"""A dialog that imports pairs from a file or a pasted table: choose columns, look at the rows, take the good ones."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, replace
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
from profiles.pair_files.pairs_file import TAKE_JSON, OtherColumnsError, PairsFile, read_pairs_file
from profiles.pair_files.pasted import PASTED, read_pasted
from profiles.pair_files.row_forms import COLUMNS, FORM_WORDS, ColumnMapping, guess_mapping
from profiles.pair_files.writers import write_template
from tokmem_desk.errors import TokmemError
from tokmem_desk.procedures import check_name
from tokmem_desk.system.disk import typed_path
from tokmem_desk.templates.json_schema import OutputSchema
from tokmem_desk.templates.learned_schema import field_words, learned_schema
from tui.kit.dialog import Dialog, buttons, fault_line
from tui.kit.labels import set_label
from tui.kit.ticks import Tick
from tui.kit.words import error_text, shortened

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


@dataclass(frozen=True, slots=True)
class _Found:
    """A file that was read."""

    file: PairsFile
    schema: OutputSchema | None


class ImportDialog(Dialog[ImportChoice | Path | None]):
    """Closes with what to import, with the path of a bank, or with None.

    Args:
        known: the names of the profile's procedures.
        pasted: a table to import instead of a file.
        into: the procedure that is proposed.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+t,alt+t", "template", "Write a template", priority=True),
        Binding("ctrl+s", "save", "Import", priority=True),
    ]

    def __init__(self, known: Collection[str], *, pasted: str | None = None, into: str | None = None) -> None:
        super().__init__("Import pairs" if pasted is None else "Take the pasted table")
        self._known, self._pasted, self._into = known, pasted, into
        self._path = None if pasted is None else PASTED
        self._file: PairsFile | None = None
        self._schema: OutputSchema | None = None
        """The fields that all answers of the file have, where it brings no schema of its own."""
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
        yield Button(TAKE_JSON, id="as-written", compact=True)
        yield Tick("", True, id="fields", compact=True)
        yield Static("Into the procedure", classes="field-label", id="name-label")
        yield Input(id="name", max_length=40)
        yield fault_line()
        choices = [("cancel", "Esc Cancel"), ("import", "^s Import")]
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
                self.say_fault(error_text(caught))
                return
            if is_bank(self._path):
                self.dismiss(self._path)
                return
            self.say_fault("")
            self._columns = ()
            self.query_one("#mapping").display = False
            self.query_one("#found", Static).update(Content("Reading…"))
            self._read(self._path, None)
        else:
            self.action_save()

    @work(thread=True, exclusive=True, group="read", exit_on_error=False)
    def _read(self, path: Path, mapping: ColumnMapping | None) -> _Found:
        # In a thread: a file may have 64 MB.
        file = read_pairs_file(path, mapping) if self._pasted is None else read_pasted(self._pasted, mapping)
        return _Found(file, learned_schema(file.pairs) if file.output_schema is None else None)

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """The file was read, or could not be."""
        if event.worker.group != "read":
            return
        if event.state is WorkerState.SUCCESS and isinstance(event.worker.result, _Found):
            self.say_fault("")
            found, self._schema = event.worker.result.file, event.worker.result.schema
            self._offer(found.columns, needed=not found.count, present=_present(found))
            self._show_found(found)
        elif event.state is WorkerState.ERROR and isinstance(event.worker.error, TokmemError):
            event.prevent_default()
            error = event.worker.error
            self._show_found(None)
            if isinstance(error, OtherColumnsError) and not self._columns:
                self._offer(error.columns, needed=True)
                self.say_fault("" if self._mapping else "Which column is what you type, and which is what you get?")
            else:
                self.say_fault(error_text(error))

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
            self.say_fault("What you type and what you get cannot be the same column.")
            return
        if self._file is not None and mapping == _present(self._file):
            return  # the choice was set to what is shown, not by the person
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
            self.say_fault(error_text(caught))
            return
        place.value = str(path)
        self.say_fault("")
        self.app.notify(f"Wrote {path.absolute()}. Put your pairs there, then press Enter here.", markup=False)
        place.focus()

    # The end

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Import or leave."""
        if event.button.id == "cancel":
            self.dismiss(None)
        elif event.button.id == "as-written":
            if self._file is not None and self._path is not None and self._file.as_written is not None:
                self._read(self._path, self._file.as_written)
        elif event.button.id == "template":
            self.action_template()
        else:
            self.action_save()

    def on_input_changed(self, event: Input.Changed) -> None:
        """The name decides whether pairs are added or a procedure is made."""
        if event.input.id == "name":
            exists = event.value.strip() in self._known
            words = "Into the procedure, whose pairs stay" if exists else "Into a new procedure"
            self.query_one("#name-label", Static).update(words)
            self._show_fields()

    def _show_fields(self) -> None:
        """Offer to hold answers to their fields, where they have the same ones and a procedure is made of them."""
        tick, schema = self.query_one("#fields", Tick), self._schema
        is_new = self.query_one("#name", Input).value.strip() not in self._known
        tick.display = self._file is not None and schema is not None and is_new
        if schema is not None:
            tick.label = Content(f"Answers always have the fields {field_words(schema.document)}")

    def _show_found(self, file: PairsFile | None) -> None:
        self._file = file
        self._show_fields()
        usable = file is not None and bool(file.count)
        for key in ("#name-label", "#name", "#import"):
            self.query_one(key).display = usable
        self.query_one("#as-written").display = usable and file is not None and file.as_written is not None
        place = self.query_one("#found", Static)
        place.display = file is not None
        if file is None or self._path is None:
            return
        place.update(preview(file, few=self._into is None))
        button = self.query_one("#import", Button)
        set_label(button, f"^s Import {'the other ' if file.problems else ''}{file.count} pairs")
        if usable:
            name = self.query_one("#name", Input)
            name.value = name.value or self._into or file.procedure_name or _name_of(self._path)
            if not self._choosing:
                name.focus()
        elif self._columns:
            self.say_fault("Choose the columns above: with these there is no pair.")
        else:
            self.say_fault("There is no pair to import in this file.")

    def action_save(self) -> None:
        """Close with what to import, or say what is missing."""
        name = self.query_one("#name", Input).value.strip()
        if self._file is None or self._path is None:
            self.say_fault("Give a file first, then press Enter to read it.")
            return
        try:
            check_name(name)
        except TokmemError as caught:
            self.say_fault(error_text(caught))
            return
        file, tick = self._file, self.query_one("#fields", Tick)
        if self._schema is not None and tick.display and tick.value:
            file = replace(file, output_schema=self._schema.text)
        self.dismiss(ImportChoice(self._path, file, name))


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
        Content.assemble("  ", shortened(pair.input, 44), arrow, shortened(pair.response, 36))
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


def _name_of(path: Path) -> str:
    """A name for a procedure, made from a file's name."""
    return re.sub(r"[^a-z0-9_-]+", "_", path.stem.lower()).strip("_")[:40]
