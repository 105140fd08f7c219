"""Pairs from pasted text: rows copied in a spreadsheet, or the text of any file that could be imported."""

from __future__ import annotations

import io
from pathlib import Path

from profiles.pair_files.pairs_file import MAX_BYTES, PairsFile, read_pairs_lines
from profiles.pair_files.readers import Found
from profiles.pair_files.records import may_be_several
from profiles.pair_files.row_forms import COLUMNS, ColumnMapping, guess_mapping
from profiles.pair_files.tab_rows import table_rows
from profiles.pair_files.tables import check_mapping, table_keys, table_row
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
        remarks=tuple(found.remarks),
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
        elif may_be_several(cells, "\t"):
            found.remark_lines(line)
