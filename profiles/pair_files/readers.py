"""Rows of pairs from JSONL, JSON and CSV text; ``profiles.pair_files.pairs_file`` opens the file and tells the form.

Each reader keeps usable pairs and notes the line and the fault of the others. It raises only when the text as a whole
is no list of pairs.
"""

from __future__ import annotations

import csv
import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from profiles.pair_files.json_lines import row_lines
from profiles.pair_files.row_forms import (
    COLUMNS,
    ColumnMapping,
    Dropped,
    Form,
    dropped_of_row,
    guess_mapping,
    kind,
    pairs_of_row,
    quoted,
    renames,
    text_keys,
)
from profiles.store.pair_rules import MAX_TEXT_CHARACTERS, text_fault
from tokmem_desk.errors import BadInputError, UsageError
from tokmem_desk.procedures import ExamplePair
from tokmem_desk.system.file_limits import BYTES_FOR_A_BYTE, FREE_BYTES, json_cost
from tokmem_desk.templates.json_schema import read_schema
from tokmem_desk.templates.patterns import PatternError, read_pattern

MAX_PAIRS = 20_000
_MOST_FIELDS = 100_000
_MOST_HEADING_LINES = 100
_LONGEST_HEADING = 2_000_000
MAX_PROBLEMS = 1_000
"""Reading stops after this many bad rows: the file is then something else."""

_DELIMITERS = {",": "a comma", ";": "a semicolon", "\t": "a tab"}
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

    def take(self, row: object, part: str = "train") -> str | None:
        """Keep one row; or return the reason why it cannot be used."""
        made = pairs_of_row(row, self.mapping)
        if isinstance(made, str):
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
        try:
            refuse_costly(found.path, line)
            row = json.loads(line)
            found.columns = found.columns or text_keys([row])
            reason = found.take(row)
        except json.JSONDecodeError as caught:
            reason = f"not valid JSON: {caught.msg} at column {caught.colno}"
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
        document = json.loads(text)
    except json.JSONDecodeError as caught:
        raise BadInputError(f"{path}, line {caught.lineno}: not valid JSON: {caught.msg}.", next_step=FORMS) from caught
    except (ValueError, RecursionError) as caught:
        raise BadInputError(
            f"{path} is not usable JSON: a number too long, or nested too deeply.", next_step=FORMS
        ) from caught
    if isinstance(document, list):
        parts = {"train": document}
    elif "train" in document or "test" in document:
        parts = {part: document.get(part) or [] for part in ("train", "test")}
    elif "messages" in document or "conversations" in document or set(COLUMNS) <= set(document):
        parts = {"train": [document]}
    elif (wrapped := _wrapped(document)) is not None:
        document = wrapped
        parts = {"train": wrapped}
    else:
        raise BadInputError(
            f"{path} is JSON with the keys {quoted(document)}, but a procedure has 'train' or 'test'.",
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
                lines = row_lines(text) if lines is None else lines
                starts = lines.get("" if isinstance(document, list) else part)
                found.reject(starts[index] if starts else 1, reason)
                if found.enough:
                    break
    return {} if isinstance(document, list) else _facts(path, document)


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


def read_csv(lines: Iterable[str], blank: int, found: Found) -> None:
    """Read CSV; ``blank`` lines went before.

    The first line names the columns, unless the mapping counts them. A name in quotes may go on in the next lines.
    """
    rest = iter(lines)
    heading = _heading(rest)
    delimiter, columns = _header(heading, found.mapping)
    names = [column.strip().lower() for column in columns]
    numbered = found.mapping is not None and found.mapping.numbered and not _names_in(names, found.mapping)
    keys = table_keys(names, numbered=numbered)
    found.columns = tuple(keys if numbered else columns)
    if found.mapping is None:
        _refuse_other_columns(found.path, names)
    else:
        check_mapping(found.path, found.mapping, keys)
    rows = _narrow(found.path, itertools.chain(heading, rest), delimiter)
    reader = csv.reader(rows, delimiter=delimiter, strict=True)
    header = not numbered
    while not found.enough:
        line = blank + reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as caught:
            found.reject(line, _csv_reason(str(caught)))
            header = False
            continue
        if header or not any(text.strip() for text in fields):
            header = False
            continue
        if not numbered and [text.strip().lower() for text in fields[: len(names)]] == names:
            found.dropped["headings"] += 1
            continue
        if any(text.strip() for text in fields[len(columns) :]):
            reason: str | None = (
                f"{len(fields)} fields, but the header has {len(columns)}: "
                f"put quotes around a text that holds {_DELIMITERS[delimiter]}"
            )
        else:
            reason = found.take(table_row(keys, fields, found.mapping))
        if reason is not None:
            found.reject(line, reason)


def _narrow(path: Path, lines: Iterable[str], delimiter: str) -> Iterator[str]:
    """Lines that have no more fields than any table has; each field of a line is an object."""
    for line in lines:
        if line.count(delimiter) > _MOST_FIELDS and line.count(delimiter) > line.count('"'):
            raise BadInputError(f"{path} has a line of more than {_MOST_FIELDS:,} fields.", next_step=FORMS)
        yield line


def table_keys(names: Sequence[str], *, numbered: bool) -> list[str]:
    """Keys for the rows of a table: its column names, or numbers from 1."""
    return [str(place + 1) for place in range(len(names))] if numbered else list(names)


def table_row(keys: Sequence[str], fields: Sequence[str], mapping: ColumnMapping | None) -> dict[str, str]:
    """A line of a table as an object; a column that stands twice counts once, the first time."""
    row: dict[str, str] = {}
    for key, text in zip(keys, fields, strict=False):
        # "references" is a list in our JSON form and means nothing in a table.
        if mapping is not None or key != "references":
            row.setdefault(key, text)
    return row


def check_mapping(path: Path, mapping: ColumnMapping, columns: Sequence[str]) -> None:
    """Let a mapping pass whose columns are there.

    Raises:
        OtherColumnsError: one is not.
    """
    try:
        mapping.places(columns)
    except UsageError as caught:
        raise OtherColumnsError(f"{path}: {caught.message}", columns, next_step="Name one of those.") from None


def _names_in(columns: Sequence[str], mapping: ColumnMapping) -> bool:
    return mapping.input in columns and mapping.response in columns


def _heading(lines: Iterator[str]) -> list[str]:
    """The first line, and those in which a name that is open in quotes goes on."""
    heading = [next(lines)]
    while heading[0].count('"') and "".join(heading).count('"') % 2 and len(heading) < _MOST_HEADING_LINES:
        more = next(lines, None)
        if more is None:
            break
        heading.append(more)
    return heading


def _header(heading: Sequence[str], mapping: ColumnMapping | None) -> tuple[str, list[str]]:
    """The delimiter that makes most sense of the heading, and the columns it gives, as they are written."""
    whole = "".join(heading).count('"') % 2 == 0
    text = [line[:_LONGEST_HEADING] for line in heading] if whole else [heading[0][:_LONGEST_HEADING]]
    best: tuple[str, list[str]] = (",", [])
    for delimiter in _DELIMITERS:
        try:
            columns = [column.strip() for column in next(csv.reader(text, delimiter=delimiter), [])]
        except csv.Error:  # a name longer than any text may be
            continue
        plain = [column.lower() for column in columns]
        if mapping is None and set(COLUMNS) <= set(plain):
            return delimiter, columns
        if len(columns) > len(best[1]):
            best = (delimiter, columns)
    return best


def _refuse_other_columns(path: Path, columns: list[str]) -> None:
    if {"instruction", "output"} <= set(columns) and "response" not in columns:
        return
    missing = [column for column in COLUMNS if column not in columns]
    if missing:
        guess = guess_mapping(columns)
        map_them = f" Or tell which they are: --map {guess or 'input=COLUMN,response=COLUMN'}"
        raise OtherColumnsError(
            f"{path}: the first line must name the columns 'input' and 'response'; it has {quoted(columns)}."
            f"{renames(missing, columns)}",
            columns,
            next_step=f"{FORMS}{map_them}",
        )
    twice = next((column for column in COLUMNS if columns.count(column) > 1), None)
    if twice is not None:
        raise BadInputError(f"{path} has two columns {twice!r}.", next_step="Rename or delete one.")


def _csv_reason(caught: str) -> str:
    if "field limit" in caught:
        return f"a text is longer than {MAX_TEXT_CHARACTERS:,} characters; is a closing quote missing?"
    if "unexpected end" in caught:
        return "a quote is opened here and never closed"
    return f"quotes do not match ({caught})"
