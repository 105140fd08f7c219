"""Records of delimited text: one row at a time, with the line on which it begins, and never two rows as one.

The csv module reads what is well formed. Here is what it does with the rest. A comma or a semicolon may have blanks
beside it, and a quote may be written with a backslash; both have one meaning only. With tabs a quote counts only where
it encloses a whole cell, as on the clipboard. Any other stray quote is a fault of its line, and reading goes on at the
next line.
"""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from profiles.pair_files.tab_rows import table_rows

_BLANK_BEFORE_QUOTE = re.compile(r'(?:^|[,;|，；]) +"')
_BAR = re.compile(r"(?<!\\)\|")
_RULE = re.compile(":?-+:?")
_LINE_END = re.compile(r"\r\n|\r|\n")
_QUOTED = r'[ ]*"((?:[^"{escape}]|""{escaped})*)"[ ]*(?={delimiter}|\r?\n?\Z)'


@dataclass(frozen=True, slots=True)
class Record:
    """One row, or the fault in its place."""

    line: int
    """Line on which it begins, from 1."""
    cells: list[str]
    fault: str = ""
    """What the csv module says; empty for a row that can be read."""
    may_be_several: bool = False
    """A text in quotes goes over lines that would all be rows of their own."""


class _Lines:
    """Lines that remember what was taken since the last record, and can be given back."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self._returned: deque[str] = deque()
        self.taken: list[str] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._returned.popleft() if self._returned else next(self._lines)
        self.taken.append(line)
        return line

    def give_back(self, kept: int) -> None:
        """Let all but the first ``kept`` lines that were taken come again."""
        self._returned.extendleft(reversed(self.taken[kept:]))
        del self.taken[kept:]


def read_records(lines: Iterable[str], delimiter: str, line: int) -> Iterator[Record]:
    """The records of delimited text.

    Args:
        lines: with their endings; no heading is looked for.
        delimiter: one character; a tab has rules of its own.
        line: the number of the first one.
    """
    feeder = _Lines(lines)
    reader = csv.reader(feeder, delimiter=delimiter, strict=True)
    after_fault = False
    while True:
        feeder.taken.clear()
        fault = ""
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as caught:
            cells, fault = [], str(caught)
        if fault and delimiter == "\t":
            feeder.give_back(0)
            yield from _tab_records(feeder, line)
            return
        first, several = feeder.taken[0], len(feeder.taken) > 1
        if delimiter != "\t":
            too_long = "field limit" in fault and not several
            if fault or (not several and _BLANK_BEFORE_QUOTE.search(first)):
                repaired = None if too_long else cells_of_line(first, delimiter)
                if fault and several:
                    # The csv module ran over lines that may be rows of their own.
                    feeder.give_back(1)
                if repaired is not None:
                    cells, fault = repaired, ""
            elif after_fault and not several and first.count('"') % 2:
                fault = "a quote without its other one"  # perhaps the end of what the line before has begun
        yield Record(line, cells, fault, not fault and may_be_several(cells, delimiter))
        line += len(feeder.taken)
        after_fault = bool(fault)


def _tab_records(lines: Iterable[str], line: int) -> Iterator[Record]:
    text = "".join(lines).replace("\r\n", "\n").replace("\r", "\n")
    for began, cells in table_rows(text):
        yield Record(line + began - 1, cells, "", may_be_several(cells, "\t"))


def markdown_records(lines: Iterable[str], line: int) -> Iterator[Record]:
    """The rows of a table in Markdown; ``lines`` begin below its rule, ``line`` is the number of the first."""
    for number, text in enumerate(lines, start=line):
        yield Record(number, markdown_cells(text) if text.strip() else [])


def markdown_cells(line: str) -> list[str]:
    """The cells of a row in Markdown, without the blanks around them."""
    inner = line.strip().removeprefix("|")
    if inner.endswith("|") and not inner.endswith("\\|"):
        inner = inner[:-1]
    return [cell.strip().replace("\\|", "|") for cell in _BAR.split(inner)]


def is_markdown_rule(line: str) -> bool:
    """Whether a line is the one below the headings of a table in Markdown."""
    return "|" in line and all(_RULE.fullmatch(cell) for cell in markdown_cells(line))


def cells_of_line(line: str, delimiter: str) -> list[str] | None:
    """The cells of one line, where quotes may have blanks beside them or a backslash; None where a quote is stray."""
    marked = re.escape(delimiter)
    plain = re.compile(_QUOTED.format(escape="", escaped="", delimiter=marked))
    escaped = re.compile(_QUOTED.format(escape="\\\\", escaped=r"|\\.", delimiter=marked))
    bare = re.compile(rf'(?![ ]*")[^{marked}\r\n]*')
    cells, at = [], 0
    while True:
        if (match := plain.match(line, at)) is not None:
            cells.append(match[1].replace('""', '"'))
        elif (match := escaped.match(line, at)) is not None:
            cells.append(re.sub(r'\\(["\\])', r"\1", match[1]).replace('""', '"'))
        elif (match := bare.match(line, at)) is not None:
            cells.append(match[0])
        else:
            return None
        at = match.end()
        if at >= len(line) or line[at] != delimiter:
            return cells if not line[at:].strip("\r\n") else None
        at += 1


def may_be_several(cells: list[str], delimiter: str) -> bool:
    """Whether each line of a record of several lines has as many texts, none of them empty, as the record has cells."""
    if len(cells) < 2 or not any("\n" in cell or "\r" in cell for cell in cells):
        return False
    lines = [line.split(delimiter) for line in _LINE_END.split(delimiter.join(cells))]
    return all(len(texts) == len(cells) and all(text.strip(' \t"') for text in texts) for texts in lines)
