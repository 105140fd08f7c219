"""Rows of text with tabs between the cells, as spreadsheets put them on the clipboard.

There are quotes around a cell that holds a line end, a tab or a quote. Some programs leave quotes inside a cell
alone, so a quote counts only where it encloses a whole cell.
"""

from __future__ import annotations

from collections.abc import Iterator


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
