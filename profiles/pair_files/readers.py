"""Rows of pairs from JSONL and JSON text; ``profiles.pair_files.tables`` reads tables, ``pairs_file`` tells the form.

Each reader keeps usable pairs and notes the line and the fault of the others. It raises only when the text as a whole
is no list of pairs.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from profiles.pair_files.json_lines import lines_of, row_lines
from profiles.pair_files.json_text import DoubledKeys, decode, decode_several, fault_of, without_comments
from profiles.pair_files.row_forms import (
    COLUMNS,
    ColumnMapping,
    Dropped,
    as_written,
    dropped_of_row,
    other_thing,
    pairs_of_row,
    quoted,
    text_keys,
)
from profiles.pair_files.row_values import kind
from profiles.pair_files.talk_rows import Form, is_talk, talk_of
from profiles.store.pair_rules import text_fault
from tokmem_desk.errors import BadInputError
from tokmem_desk.procedures import ExamplePair
from tokmem_desk.system.file_limits import BYTES_FOR_A_BYTE, FREE_BYTES, json_cost
from tokmem_desk.templates.json_schema import read_schema
from tokmem_desk.templates.patterns import PatternError, read_pattern

MAX_PAIRS = 20_000
_MOST_REMARKS = 3
MAX_PROBLEMS = 1_000
"""Reading stops after this many bad rows: the file is then something else."""

WRAPPERS = ("data", "rows")
"""Keys of a document that hold the list of rows: of many exports, and of a dataset viewer."""
FORMS = 'Use CSV with the columns input and response, or one {"input": "…", "response": "…"} a line.'


class OtherColumnsError(BadInputError):
    """The columns of a table are not ours; ``columns`` are what it has, to be mapped."""

    def __init__(self, message: str, columns: Sequence[str], *, next_step: str) -> None:
        super().__init__(message, next_step=next_step)
        self.columns = tuple(columns)


@dataclass(frozen=True, slots=True)
class RowProblem:
    """A row that cannot be used."""

    line: int
    """Line in the file, from 1."""
    reason: str


@dataclass(slots=True)
class Found:
    """Rows as they are read, by part: ``train`` and ``test``."""

    path: Path
    mapping: ColumnMapping | None = None
    pairs: dict[str, list[ExamplePair]] = field(default_factory=lambda: {"train": [], "test": []})
    problems: list[RowProblem] = field(default_factory=list)
    forms: dict[Form, None] = field(default_factory=dict)
    """What was recognised, in the order of appearance."""
    columns: tuple[str, ...] = ()
    """Columns or keys that a mapping can name."""
    dropped: Counter[Dropped] = field(default_factory=Counter)
    """What was left out on purpose, counted."""
    as_written: ColumnMapping | None = None
    """A mapping that would take values of refused rows, which are no text, as JSON."""
    remarks: list[str] = field(default_factory=list)
    """Sentences on what should be looked at."""

    def take(self, row: object, part: str = "train") -> str | None:
        """Keep one row; or return the reason why it cannot be used."""
        made = pairs_of_row(row, self.mapping)
        if isinstance(made, str):
            if self.mapping is None and self.as_written is None:
                self.as_written = as_written(row)
            return made
        form, pairs = made
        self.dropped.update(dropped_of_row(row, self.mapping))
        if not pairs:
            return None
        self.forms[form] = None
        self.pairs[part] += pairs
        if sum(map(len, self.pairs.values())) > MAX_PAIRS:
            raise BadInputError(
                f"{self.path} holds more than {MAX_PAIRS:,} pairs.",
                next_step="A procedure needs tens to hundreds: keep the best, or split the file.",
            )
        return None

    def remark_lines(self, line: int) -> None:
        """Note a row that may be several; after a few such notes the next tell nothing new."""
        if len(self.remarks) < _MOST_REMARKS:
            self.remarks.append(
                f"The row in line {line} goes over several lines that could be rows of their own: "
                "look whether a quote is missing there."
            )

    def reject(self, line: int, reason: str) -> None:
        """Note a bad row."""
        self.problems.append(RowProblem(line, reason))

    @property
    def enough(self) -> bool:
        """True when so many rows are bad that reading on is no use."""
        return len(self.problems) >= MAX_PROBLEMS


def read_jsonl(lines: Iterable[str], blank: int, found: Found) -> None:
    """Read one object a line; ``blank`` lines went before."""
    for number, line in enumerate(lines, start=blank + 1):
        if not line.strip():
            continue
        reason: str | None = None
        try:
            refuse_costly(found.path, line)
            for _, row in decode_several(line):
                found.columns = found.columns or text_keys([row])
                reason = found.take(row)
                if reason is not None:
                    break
        except json.JSONDecodeError as caught:
            reason = fault_of(line, caught)
        except (ValueError, RecursionError):
            reason = "not usable JSON: a number too long, or nested too deeply"
        if reason is not None:
            found.reject(number, reason)
            if found.enough:
                return


def refuse_costly(path: Path, text: str) -> None:
    """Stop where reading JSON would take far more memory than the text itself: thousands of empty lists, say.

    Raises:
        BadInputError: it would.
    """
    if json_cost(text) > FREE_BYTES + BYTES_FOR_A_BYTE * len(text):
        raise BadInputError(
            f"{path} holds so many small values that reading it would take much more memory than it has bytes.",
            next_step=FORMS,
        )


def read_json(text: str, found: Found) -> dict[str, str]:
    """Read a list of pairs, or a procedure; return what it says of a procedure besides its pairs."""
    path = found.path
    refuse_costly(path, text)
    try:
        document, starts = _document(text)
    except json.JSONDecodeError as caught:
        raise BadInputError(f"{path}, line {caught.lineno}: {fault_of(text, caught)}.", next_step=FORMS) from caught
    except (ValueError, RecursionError) as caught:
        raise BadInputError(
            f"{path} is not usable JSON: a number too long, or nested too deeply.", next_step=FORMS
        ) from caught
    if is_talk(document):
        document, starts = [{"messages": document}], [0]
    if isinstance(document, list):
        parts = {"train": document}
    elif isinstance(document, DoubledKeys):
        raise BadInputError(f"{path}: the key {document.doubled!r} stands twice.", next_step="Delete one of them.")
    elif "train" in document or "test" in document:
        parts = {part: document.get(part) or [] for part in ("train", "test")}
    elif set(COLUMNS) <= set(document) or (talk_of(document) is not None):
        parts = {"train": [document]}
    elif (wrapped := _wrapped(document)) is not None:
        document = wrapped
        parts = {"train": wrapped}
    else:
        raise BadInputError(
            f"{path} is JSON with the keys {quoted(document)}, but a procedure has 'train' or 'test'."
            f"{other_thing(document)}",
            next_step=FORMS,
        )
    lines: dict[str, list[int]] | None = None
    for part, rows in parts.items():
        if not isinstance(rows, list):
            raise BadInputError(f"{path}: {part!r} is {kind(rows)}, not a list of pairs.", next_step=FORMS)
        found.columns = found.columns or text_keys(rows)
        for index, row in enumerate(rows):
            reason = found.take(row, part)
            if reason is not None:
                if lines is None:
                    lines = {"": lines_of(text, starts)} if starts else row_lines(without_comments(text))
                begins = lines.get("" if isinstance(document, list) else part)
                found.reject(begins[index] if begins else 1, reason)
                if found.enough:
                    break
    return {} if isinstance(document, list) else _facts(path, document)


def _document(text: str) -> tuple[Any, list[int]]:
    """A JSON document, and where its rows begin if it is several documents, one behind the other."""
    try:
        return decode(text), []
    except json.JSONDecodeError:
        found = list(decode_several(without_comments(text)))
    if len(found) == 1:
        return found[0][1], []
    return [value for _, value in found], [start for start, _ in found]


def _wrapped(document: dict[str, object]) -> list[object] | None:
    """The rows of ``{"data": [...]}``, and of a dataset viewer's ``{"rows": [{"row": ...}]}``."""
    for key in WRAPPERS:
        rows = document.get(key)
        if isinstance(rows, list):
            return [row["row"] if isinstance(row, dict) and isinstance(row.get("row"), dict) else row for row in rows]
    return None


def _facts(path: Path, document: dict[str, object]) -> dict[str, str]:
    facts = {}
    for key in ("name", "description", "pattern"):
        value = document.get(key)
        if value is None:
            continue
        if not isinstance(value, str) or text_fault(value) is not None:
            raise BadInputError(f"{path}: {key!r} is not usable text.", next_step="Correct it, or leave it out.")
        facts[key] = value
    try:
        read_pattern(facts.get("pattern", ""))
    except PatternError as caught:
        raise BadInputError(f"{path}: 'pattern' {caught}.", next_step="Correct it, or leave it out.") from caught
    if document.get("schema") is not None:
        facts["schema"] = read_schema(json.dumps(document["schema"]), f"{path}, 'schema'").text
    reads = document.get("reads_conversation")
    if not isinstance(reads, bool | None):
        raise BadInputError(
            f"{path}: 'reads_conversation' is {kind(reads)}, not true or false.",
            next_step="Correct it, or leave it out.",
        )
    if reads:
        facts["reads_conversation"] = "true"
    return facts
