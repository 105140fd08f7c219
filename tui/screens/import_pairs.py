"""Importing pairs: a path, a look at what is in the file, and the choice to take what is good."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from textual import work
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.suggester import Suggester
from textual.widgets import Button, Input, Static
from textual.worker import Worker, WorkerState

from profiles.lint import lint_pairs
from profiles.pairs_file import PairsFile, read_pairs_file
from tokmem_desk.errors import TokmemError
from tokmem_desk.procedures import check_name
from tui.screens.dialog import Dialog, buttons
from tui.turns import error_text

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
        except OSError:
            return None
        for entry in entries:
            fits = entry.name.startswith(stem) and (stem or not entry.name.startswith("."))
            if fits and (entry.is_dir() or entry.suffix.lower() in SUFFIXES):
                return value[: len(value) - len(stem)] + entry.name + ("/" if entry.is_dir() else "")
        return None


class ImportDialog(Dialog[ImportChoice | Path | None]):
    """What to import, the path of a bank, or None. ``known`` are the names of the profile's procedures."""

    def __init__(self, known: Collection[str]) -> None:
        super().__init__("Import pairs")
        self._known = known
        self._path: Path | None = None
        self._file: PairsFile | None = None

    def body(self) -> ComposeResult:
        yield Static("File: pairs as JSONL, CSV or JSON, or memories (.tokmem)", classes="field-label")
        yield Input(placeholder="~/pairs.csv   (→ completes, Enter reads)", id="path", suggester=PathSuggester())
        with VerticalScroll():
            yield Static("", id="found", markup=False)
        yield Static("Into the procedure", classes="field-label", id="name-label")
        yield Input(id="name", max_length=40)
        yield Static("", id="fault", classes="inline-error", markup=False)
        yield buttons(("cancel", "Esc Cancel"), ("import", "Import"), primary="import")

    def on_mount(self) -> None:
        """Nothing to import yet."""
        self._show_found(None)
        self.query_one("#path").focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter reads the file, then imports."""
        if event.input.id == "path":
            self._path = Path(event.value.strip()).expanduser()
            if is_bank(self._path):
                self.dismiss(self._path)
                return
            self._fault("")
            self.query_one("#found", Static).update(Content("Reading…"))
            self._read(self._path)
        else:
            self._accept()

    @work(thread=True, exclusive=True, group="read", exit_on_error=False)
    def _read(self, path: Path) -> PairsFile:
        # In a thread: a file may have 64 MB.
        return read_pairs_file(path)

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """The file was read, or could not be."""
        if event.worker.group != "read":
            return
        if event.state is WorkerState.SUCCESS and isinstance(event.worker.result, PairsFile):
            event.stop()
            self._show_found(event.worker.result)
        elif event.state is WorkerState.ERROR and isinstance(event.worker.error, TokmemError):
            event.stop()
            self._show_found(None)
            self._fault(error_text(event.worker.error))

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Import or leave."""
        if event.button.id == "cancel":
            self.dismiss(None)
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
        usable = file is not None and bool(file.pairs or file.held_out)
        for key in ("#name-label", "#name", "#import"):
            self.query_one(key).display = usable
        place = self.query_one("#found", Static)
        place.display = file is not None
        if file is None or self._path is None:
            return
        place.update(preview(file))
        button = self.query_one("#import", Button)
        count = len(file.pairs) + len(file.held_out)
        button.label = f"Import the other {count} pairs" if file.problems else f"Import {count} pairs"
        if usable:
            name = self.query_one("#name", Input)
            name.value = file.procedure_name or _name_of(self._path)
            name.focus()
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


def preview(file: PairsFile) -> Content:
    """What is in a file: counts, the first pairs, the bad rows with their reasons, and what lint says."""
    held_out = f", {len(file.held_out)} held out to measure" if file.held_out else ""
    lines = [Content.styled(f"{len(file.pairs)} pairs to learn from{held_out}", "bold")]
    if file.description:
        lines.append(Content.styled(file.description, "$muted"))
    arrow = Content.styled(" → ", "$accent")
    lines += [
        Content.assemble("  ", _one_line(pair.input, 44), arrow, _one_line(pair.response, 36))
        for pair in file.pairs[:SHOWN_PAIRS]
    ]
    if file.problems:
        lines.append(
            Content.styled(f"\n{_rows(len(file.problems))} cannot be used and would be left out:", "$text-warning")
        )
        lines += [Content(f"  line {problem.line}: {problem.reason}") for problem in file.problems[:SHOWN_PROBLEMS]]
        if len(file.problems) > SHOWN_PROBLEMS:
            lines.append(Content(f"  and {len(file.problems) - SHOWN_PROBLEMS} more"))
    findings = lint_pairs(list(file.pairs), output_schema=file.output_schema)
    lines += [Content.styled(f"! {finding.text}", "$text-warning") for finding in findings[:3]]
    return Content("\n").join(lines)


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"


def _one_line(text: str, width: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= width else f"{line[: width - 1]}…"


def _name_of(path: Path) -> str:
    """A name for a procedure, made from a file's name."""
    return re.sub(r"[^a-z0-9_-]+", "_", path.stem.lower()).strip("_")[:40]
