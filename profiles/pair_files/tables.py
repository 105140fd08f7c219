"""Rows of pairs from tables: CSV with commas, semicolons, tabs or bars, and tables in Markdown.

Keeps usable pairs and notes the line and the fault of the other rows, as the readers of JSON do.
"""

from __future__ import annotations

import csv
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from profiles.pair_files.json_text import GIT_MARK, decode, fault_of, has_git_mark
from profiles.pair_files.readers import FORMS, Found, OtherColumnsError, refuse_costly
from profiles.pair_files.records import (
    Record,
    cells_of_line,
    is_markdown_rule,
    markdown_cells,
    markdown_records,
    read_records,
)
from profiles.pair_files.row_forms import COLUMNS, ColumnMapping, guess_mapping, quoted, renames
from profiles.pair_files.talk_rows import TALK_KEYS
from profiles.store.pair_rules import MAX_TEXT_CHARACTERS
from tokmem_desk.errors import BadInputError, UsageError

_MOST_FIELDS = 100_000
_MOST_HEADING_LINES = 100
_LONGEST_HEADING = 2_000_000
_MOST_LINES_ABOVE = 10
_USUAL = {",": "a comma", ";": "a semicolon", "\t": "a tab"}
_DELIMITERS = {**_USUAL, "|": "a bar", "，": "a wide comma", "；": "a wide semicolon"}
_UNSEEN = re.compile("[\u200b-\u200f\u2060\ufeff\u00ad]")
_OTHER_QUOTES = ("'", "\u2018", "\u2019", "\u201c", "\u201d", "\u201e", "\u00ab")


@dataclass(slots=True)
class _Table:
    """The columns of a table, as they are written, and what stands below them."""

    columns: list[str]
    delimiter: str
    lines: Iterator[str]
    """What stands below the headings."""
    heading: list[str]
    above: int = 0
    """Lines above the headings."""
    markdown: bool = False

    def records(self, path: Path, line: int, *, with_heading: bool) -> Iterator[Record]:
        """The rows; ``line`` is the number of the heading's first line, which is a row too where it names nothing."""
        if self.markdown:
            return markdown_records(self.lines, line + 2)
        named = 0 if with_heading else len(self.heading) if _closed(self.heading) else 1
        rows = _narrow(path, itertools.chain(self.heading[named:], self.lines), self.delimiter)
        return read_records(rows, self.delimiter, line + named)


def read_csv(lines: Iterable[str], blank: int, found: Found) -> None:
    """Read CSV; ``blank`` lines went before.

    The first line names the columns, unless the mapping counts them. A name in quotes may go on in the next lines.
    Lines above the one that names the columns are left out and said, and a table in Markdown is read as one.
    """
    table = _table(iter(lines), found.mapping)
    names = [plain_name(column) for column in table.columns]
    numbered = found.mapping is not None and found.mapping.numbered and not _names_in(names, found.mapping)
    keys = table_keys(names, numbered=numbered)
    found.columns = tuple(keys if numbered else table.columns)
    talk = next((name for name in names if name in TALK_KEYS), None) if found.mapping is None else None
    if found.mapping is not None:
        check_mapping(found.path, found.mapping, keys)
    elif talk is None or set(COLUMNS) <= set(names):
        talk = None
        _refuse_other_columns(found.path, names)
    if table.above:
        lines_above = "1 line" if table.above == 1 else f"{table.above} lines"
        found.remarks.append(f"Left out {lines_above} above the one that names the columns.")
    for record in table.records(found.path, blank + table.above + 1, with_heading=numbered):
        cells = record.cells
        if record.fault:
            found.reject(record.line, _csv_reason(record.fault))
        elif any(text.strip() for text in cells):
            if not numbered and [plain_name(text) for text in cells[: len(names)]] == names:
                found.dropped["headings"] += 1
                continue
            if any(text.strip() for text in cells[len(names) :]):
                reason: str | None = _too_many(cells, len(names), table.delimiter)
            else:
                row = table_row(keys, cells, found.mapping)
                reason = found.take(row) if talk is None else _take_talk(found, row, talk)
            if reason is not None:
                found.reject(record.line, GIT_MARK if has_git_mark(cells[0]) else reason)
            elif record.may_be_several:
                found.remark_lines(record.line)
        if found.enough:
            return


def plain_name(column: str) -> str:
    """The name of a column in small letters, without blanks around it and without characters that nobody sees."""
    return _UNSEEN.sub("", column).strip().lower()


def _take_talk(found: Found, row: dict[str, str], key: str) -> str | None:
    """Keep the pairs of a conversation that stands in a cell as JSON; or return the reason why it cannot be used."""
    text = row.get(key, "")
    refuse_costly(found.path, text)
    try:
        return found.take({key: decode(text)})
    except json.JSONDecodeError as caught:
        return f"{key!r} is {fault_of(text, caught)}"
    except (ValueError, RecursionError):
        return f"{key!r} is not usable JSON"


def _too_many(cells: Sequence[str], most: int, delimiter: str) -> str:
    other = next((cell.lstrip()[0] for cell in cells if cell.lstrip().startswith(_OTHER_QUOTES)), "")
    kind, instead = ("straight double quotes", f", not {other}") if other else ("quotes", "")
    text = f"a text that holds {_DELIMITERS[delimiter]}{instead}"
    return f"{len(cells)} fields, but the header has {most}: put {kind} around {text}"


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


def _closed(heading: Sequence[str]) -> bool:
    """Whether each quote of the heading has its other one."""
    return "".join(heading).count('"') % 2 == 0


def _table(lines: Iterator[str], mapping: ColumnMapping | None) -> _Table:
    """The columns, looked for in the first lines where the first does not name what is needed."""
    heading = _heading(lines)
    found = _Table(*_header(heading, mapping), lines, heading)
    if not _is_heading(found, mapping):
        ahead = list(itertools.islice(lines, _MOST_LINES_ABOVE))
        found.lines = itertools.chain(ahead, lines)
        for place, line in enumerate(ahead, start=1):
            below = _Table(*_header([line], mapping), itertools.chain(ahead[place:], lines), [line])
            if _is_heading(below, mapping):
                below.above = len(heading) + place - 1
                found = below
                break
    if found.heading[0].lstrip().startswith("|"):
        rule = next(found.lines, "")
        if is_markdown_rule(rule):
            found.columns, found.markdown = markdown_cells(found.heading[0]), True
        else:
            found.lines = itertools.chain([rule], found.lines)
    return found


def _is_heading(table: _Table, mapping: ColumnMapping | None) -> bool:
    names = {plain_name(column) for column in table.columns}
    if mapping is not None:
        return not mapping.numbered and {mapping.input.strip().lower(), mapping.response.strip().lower()} <= names
    return any(set(needed) <= names for needed in (COLUMNS, ("instruction", "output")))


def _header(heading: Sequence[str], mapping: ColumnMapping | None) -> tuple[list[str], str]:
    """The columns, as they are written, by the delimiter that makes most sense of the heading, and that delimiter."""
    text = [line[:_LONGEST_HEADING] for line in (heading if _closed(heading) else heading[:1])]
    best: tuple[list[str], str] = ([], ",")
    for delimiter in _DELIMITERS:
        try:
            cells = cells_of_line(text[0], delimiter) if len(text) == 1 and delimiter != "\t" else None
            columns = [column.strip() for column in cells or next(csv.reader(text, delimiter=delimiter), [])]
        except csv.Error:  # a name longer than any text may be
            continue
        if mapping is None and set(COLUMNS) <= {plain_name(column) for column in columns}:
            return columns, delimiter
        # The seldom ones count only where none of the usual ones parts anything.
        if len(columns) > len(best[0]) and (delimiter in _USUAL or len(best[0]) < 2):
            best = (columns, delimiter)
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
    return f'quotes do not match ({caught}): close them, and write "" for a quote inside a text in quotes'
