"""Pairs from pasted text: rows copied in a spreadsheet, or the text of any file that could be imported.

Spreadsheets put cells on the clipboard with tabs between them and quotes around a cell that holds a line end, a tab or
a quote. Some leave quotes inside a cell alone, so a quote counts only where it encloses a whole cell.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

from profiles.pair_files.pairs_file import MAX_BYTES, PairsFile, read_pairs_lines
from profiles.pair_files.readers import Found, check_mapping, table_keys, table_row
from profiles.pair_files.row_forms import COLUMNS, ColumnMapping, guess_mapping
from tokmem_desk.errors import BadInputError

PASTED = Path("the pasted text")
"""What errors call it."""

_HOW = "Copy two columns in a spreadsheet, what you type and what you get, and paste them here."


def read_pasted(text: str, mapping: ColumnMapping | None = None) -> PairsFile:
    """Read pasted text and keep the bad rows beside the good ones.

    A table without a header gives its first column as input and its second as response, unless ``mapping`` says
    otherwise.

    Raises:
        BadInputError: it is no table, too long, or holds no pair.
    """
    if len(text) > MAX_BYTES:
        raise BadInputError("The pasted text is too long.", next_step="Save it as a file and import that.")
    if not text.strip():
        raise BadInputError("Nothing was pasted.", next_step=_HOW)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if text.lstrip()[0] in "[{" or "\t" not in text:
        return _like_a_file(text, mapping)
    found = Found(PASTED, mapping)
    _read_table(list(table_rows(text)), found)
    if not found.pairs["train"] and not found.problems:
        raise BadInputError("The pasted table holds no pair.", next_step=_HOW)
    return PairsFile(
        pairs=tuple(found.pairs["train"]),
        problems=tuple(found.problems),
        forms=tuple(found.forms),
        columns=found.columns,
        mapping=found.mapping,
    )


def is_table(text: str) -> bool:
    """True when pasted text has rows and columns, as a spreadsheet copies them."""
    return "\t" in text and any(len([cell for cell in cells if cell.strip()]) > 1 for _, cells in table_rows(text))


def _like_a_file(text: str, mapping: ColumnMapping | None) -> PairsFile:
    lines = io.StringIO(text, newline="")
    try:
        return read_pairs_lines(PASTED, iter(lines), mapping)
    except BadInputError as caught:
        raise type(caught)(caught.message, *_columns(caught), next_step=_HOW) from caught


def _columns(error: BadInputError) -> tuple[tuple[str, ...], ...]:
    """The further argument of ``OtherColumnsError``."""
    columns = getattr(error, "columns", None)
    return () if columns is None else (columns,)


def _read_table(rows: list[tuple[int, list[str]]], found: Found) -> None:
    first = [cell.strip().lower() for cell in rows[0][1]]
    # A heading is a first row that names both columns; anything else is data.
    headed = guess_mapping(first) is not None
    if found.mapping is not None and not headed:
        headed = found.mapping.input.lower() in first and found.mapping.response.lower() in first
    width = max(len(cells) for _, cells in rows)
    keys = table_keys([*first, *[""] * (width - len(first))], numbered=not headed)
    found.columns = tuple(cell.strip() for cell in rows[0][1]) if headed else tuple(keys)
    mapping = found.mapping
    if mapping is None:
        own = headed and set(COLUMNS) <= set(first)
        mapping = None if own else guess_mapping(first) if headed else ColumnMapping("1", "2")
        found.mapping = mapping
    if mapping is not None:
        check_mapping(PASTED, mapping, keys)
    for line, cells in rows[1:] if headed else rows:
        if not any(cell.strip() for cell in cells):
            continue
        reason = found.take(table_row(keys, [*cells, *[""] * (width - len(cells))], mapping))
        if reason is not None:
            found.reject(line, reason)
            if found.enough:
                return


def table_rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """The rows of a table with tabs, each with the line from 1 on which it begins. Line ends must be line feeds."""
    at, line, length = 0, 1, len(text)
    cells: list[str] = []
    began = 1
    while at <= length:
        cell, end = _cell(text, at)
        line += text.count("\n", at, end)
        cells.append(cell)
        if end >= length or text[end] == "\n":
            if end < length or cells != [""]:
                yield began, cells
            cells, line = [], line + 1
            began = line
        at = end + 1


def _cell(text: str, at: int) -> tuple[str, int]:
    """The cell that begins at ``at``, and where the tab, line end or end of text behind it stands."""
    if text.startswith('"', at):
        parts, begin = [], at + 1
        while (close := text.find('"', begin)) >= 0:
            parts.append(text[begin:close])
            if text.startswith('"', close + 1):
                parts.append('"')
                begin = close + 2
                continue
            if close + 1 == len(text) or text[close + 1] in "\t\n":
                return "".join(parts), close + 1
            break  # text goes on behind the quote: it encloses nothing
    ends = [place for mark in "\t\n" if (place := text.find(mark, at)) >= 0]
    end = min(ends, default=len(text))
    return text[at:end], end
