"""Rows of pairs from JSONL, JSON and CSV text; ``profiles.pairs_file`` opens the file and tells the form.

Each reader keeps usable pairs and notes the line and the fault of the others. It raises only when the text as a whole
is no list of pairs.
"""

from __future__ import annotations

import csv
import difflib
import itertools
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from profiles.json_lines import row_lines
from profiles.pair_rules import MAX_TEXT_CHARACTERS, pair_fault, text_fault
from tokmem_desk.errors import BadInputError
from tokmem_desk.procedures import ExamplePair

MAX_PAIRS = 20_000
MAX_PROBLEMS = 1_000
"""Reading stops after this many bad rows: the file is then something else."""

_COLUMNS = ("input", "response")
_ALIASES = {
    "input": ("prompt", "question", "instruction", "query", "user", "source", "text", "message"),
    "response": ("output", "answer", "completion", "assistant", "target", "reply", "label", "expected"),
}
"""What other programs call the two columns. Only ever suggested: guessing wrongly would train the wrong thing."""

_DELIMITERS = {",": "a comma", ";": "a semicolon", "\t": "a tab"}
FORMS = 'Use CSV with the columns input and response, or one {"input": "…", "response": "…"} a line.'


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
    pairs: dict[str, list[ExamplePair]] = field(default_factory=lambda: {"train": [], "test": []})
    problems: list[RowProblem] = field(default_factory=list)

    def take(self, row: object, part: str = "train") -> str | None:
        """Keep one row; or return the reason why it cannot be used."""
        made = _pair(row)
        if isinstance(made, str):
            return made
        self.pairs[part].append(made)
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
            reason = found.take(json.loads(line))
        except json.JSONDecodeError as caught:
            reason = f"not valid JSON: {caught.msg} at column {caught.colno}"
        except (ValueError, RecursionError):
            reason = "not usable JSON: a number too long, or nested too deeply"
        if reason is not None:
            found.reject(number, reason)
            if found.enough:
                return


def read_json(text: str, found: Found) -> dict[str, str]:
    """Read a list of pairs, or a procedure; return the procedure's name, description and pattern."""
    path = found.path
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
    else:
        raise BadInputError(
            f"{path} is JSON with the keys {_quoted(document)}, but a procedure has 'train' or 'test'.",
            next_step=FORMS,
        )
    lines: dict[str, list[int]] | None = None
    for part, rows in parts.items():
        if not isinstance(rows, list):
            raise BadInputError(f"{path}: {part!r} is {_kind(rows)}, not a list of pairs.", next_step=FORMS)
        for index, row in enumerate(rows):
            reason = found.take(row, part)
            if reason is not None:
                lines = row_lines(text) if lines is None else lines
                found.reject(lines["" if isinstance(document, list) else part][index], reason)
                if found.enough:
                    break
    return {} if isinstance(document, list) else _facts(path, document)


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
        re.compile(facts.get("pattern", ""))
    except (re.error, OverflowError, RecursionError) as caught:
        raise BadInputError(
            f"{path}: 'pattern' is not a regular expression: {caught}.", next_step="Correct it, or leave it out."
        ) from caught
    return facts


def read_csv(first: str, lines: Iterable[str], blank: int, found: Found) -> None:
    """Read CSV with a header; ``first`` is its first line and stands in ``lines`` again."""
    delimiter, columns = _header(first)
    _refuse_other_columns(found.path, columns)
    places = {column: columns.index(column) for column in _COLUMNS}
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while not found.enough:
        line = blank + reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as caught:
            found.reject(line, _csv_reason(str(caught)))
            continue
        if line == blank + 1 or not any(text.strip() for text in fields):
            continue
        if any(text.strip() for text in fields[len(columns) :]):
            reason: str | None = (
                f"{len(fields)} fields, but the header has {len(columns)}: "
                f"put quotes around a text that holds {_DELIMITERS[delimiter]}"
            )
        else:
            reason = found.take({column: fields[at] for column, at in places.items() if at < len(fields)})
        if reason is not None:
            found.reject(line, reason)


def _header(first: str) -> tuple[str, list[str]]:
    """The delimiter that makes most sense of the first line, and the columns it gives, in lower case."""
    best: tuple[str, list[str]] = (",", [])
    for delimiter in _DELIMITERS:
        columns = [column.strip().lower() for column in next(csv.reader([first[:10_000]], delimiter=delimiter), [])]
        if set(_COLUMNS) <= set(columns):
            return delimiter, columns
        if len(columns) > len(best[1]):
            best = (delimiter, columns)
    return best


def _refuse_other_columns(path: Path, columns: list[str]) -> None:
    missing = [column for column in _COLUMNS if column not in columns]
    if missing:
        raise BadInputError(
            f"{path}: the first line must name the columns 'input' and 'response'; it has {_quoted(columns)}."
            f"{_renames(missing, columns)}",
            next_step=FORMS,
        )
    twice = next((column for column in _COLUMNS if columns.count(column) > 1), None)
    if twice is not None:
        raise BadInputError(f"{path} has two columns {twice!r}.", next_step="Rename or delete one.")


def _csv_reason(caught: str) -> str:
    if "field limit" in caught:
        return f"a text is longer than {MAX_TEXT_CHARACTERS:,} characters; is a closing quote missing?"
    if "unexpected end" in caught:
        return "a quote is opened here and never closed"
    return f"quotes do not match ({caught})"


def _pair(row: object) -> ExamplePair | str:
    """The pair in a row, or why there is none."""
    if not isinstance(row, dict):
        return f"{_kind(row)}, not an object with 'input' and 'response'"
    missing = [column for column in _COLUMNS if column not in row]
    if missing:
        lacks = " and ".join(repr(column) for column in missing)
        return f"no {lacks} (found: {_quoted(row)}).{_renames(missing, list(row))}".rstrip(".")
    for column in _COLUMNS:
        if not isinstance(row[column], str):
            return f"{column} is {_kind(row[column])}, not text in quotes"
    references = row.get("references") or []
    if not isinstance(references, list) or not all(isinstance(text, str) for text in references):
        return "references is not a list of texts"
    pair = ExamplePair(row["input"], row["response"], tuple(references))
    return pair_fault(pair) or pair


def _renames(missing: list[str], found: list[str]) -> str:
    """A sentence for each missing column that has a likely stand-in."""
    by_lower = {str(name).strip().lower(): str(name) for name in found if name not in _COLUMNS}
    said = ""
    for column in missing:
        alias = next((name for name in _ALIASES[column] if name in by_lower), None)
        if alias is None:
            alias = next(iter(difflib.get_close_matches(column, list(by_lower), n=1, cutoff=0.5)), None)
        if alias is not None:
            said += f" Rename {by_lower[alias]!r} to {column!r}?"
    return said


def _quoted(names: Iterable[object]) -> str:
    shown = [repr(str(name)[:40]) for name in itertools.islice(names, 8)]
    return ", ".join(shown) or "none"


def _kind(value: object) -> str:
    if value is None:
        return "null"
    kinds = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list", dict: "an object"}
    return kinds.get(type(value), "something else")
