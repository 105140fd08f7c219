"""Many messages from a file, one answer each: JSON lines or a table in, the same with the answers out.

With an output file the answers are kept in a journal beside it as they come, so that the same command goes on where an
interrupted one ended. The output file itself is written at the end, as a whole.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from profiles.files.atomic import storage_error, write_text
from profiles.store.pair_rules import text_fault
from tokmem_desk.errors import BadInputError, ConflictError, UsageError
from tui.cli.texts import STDIN, read_text

USUAL_COLUMNS = ("query", "input", "message", "text", "prompt")
"""Where a message stands when nobody says which column."""
_HOW = 'Write one {"query": "…"} a line, or a CSV table whose first line names its columns.'
_DELIMITERS = ",;\t"


@dataclass(frozen=True, slots=True)
class Batch:
    """The rows of a file.

    Attributes:
        rows: as they are in the file.
        column: where the message of each stands.
        delimiter: of a table; None for JSON lines.
    """

    rows: Sequence[Mapping[str, Any]]
    column: str
    delimiter: str | None

    @property
    def messages(self) -> list[str]:
        """What is to be answered."""
        return [str(row[self.column]) for row in self.rows]

    def line(self, row: Mapping[str, Any]) -> str:
        """A row as it is written, with its end."""
        if self.delimiter is None:
            return json.dumps(row, ensure_ascii=False) + "\n"
        return _table_line([_cell(value) for value in row.values()], self.delimiter)

    def heading(self, new: Sequence[str]) -> str:
        """The first line of a table with further columns; nothing for JSON lines."""
        return "" if self.delimiter is None else _table_line([*self.rows[0], *new], self.delimiter)


def read_batch(file: str, column: str | None) -> Batch:
    """Read a file of messages; ``-`` is stdin.

    Args:
        column: where the message stands; None takes the first of ``USUAL_COLUMNS`` that is there.

    Raises:
        BadInputError: names the line and what is wrong.
        NotFoundError: there is no such file.
        StorageError: it cannot be read.
    """
    name = "stdin" if file == STDIN else file
    text = read_text(file)
    if not text.strip():
        raise BadInputError(f"{name} holds no message.", next_step=_HOW)
    delimiter = None if text.lstrip()[0] == "{" else _delimiter(text)
    rows = list(_objects(text, name) if delimiter is None else _records(text, delimiter, name))
    if not rows:
        raise BadInputError(f"{name} holds no message.", next_step=_HOW)
    known = list(rows[0][1])
    chosen = column or next((one for one in USUAL_COLUMNS if one in known), None)
    if chosen is None or chosen not in known:
        lack = f"no column {column!r}" if column else "no column for the message"
        raise BadInputError(
            f"{name} has {lack}; it has {', '.join(map(repr, known[:8]))}.", next_step="Name it: --column NAME."
        )
    for line, row in rows:
        message = row.get(chosen)
        if not isinstance(message, str) or not message.strip():
            raise BadInputError(f"{name}, line {line}: there is no text under {chosen!r}.", next_step=_HOW)
        if (fault := text_fault(message)) is not None:
            raise BadInputError(f"{name}, line {line}: the text under {chosen!r} {fault}.", next_step="Correct it.")
    return Batch([row for _, row in rows], chosen, delimiter)


def _objects(text: str, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise BadInputError(f"{name}, line {number}: this is no JSON object.", next_step=_HOW)
        yield number, row


def _records(text: str, delimiter: str, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    heading: list[str] = []
    line = 1
    try:
        for cells in reader:
            if not heading:
                heading = [cell.strip() for cell in cells]
                if len(set(heading)) < len(heading):
                    raise BadInputError(f"{name} has two columns of one name.", next_step="Rename or delete one.")
            elif any(cell.strip() for cell in cells):
                if len(cells) != len(heading):
                    raise BadInputError(
                        f"{name}, line {line}: {len(cells)} fields, but the first line names {len(heading)} columns.",
                        next_step="Put quotes around a text that holds the delimiter.",
                    )
                yield line, dict(zip(heading, cells, strict=True))
            line = reader.line_num + 1
    except csv.Error as caught:
        raise BadInputError(f"{name}, line {line}: quotes do not match ({caught}).", next_step=_HOW) from caught


def _delimiter(text: str) -> str:
    first = text.lstrip("\n\r").split("\n", 1)[0]
    return max(_DELIMITERS, key=first.count)


def _table_line(cells: Sequence[str], delimiter: str) -> str:
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=delimiter, lineterminator="\n").writerow(cells)
    return out.getvalue()


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


class Journal:
    """The answers that there are so far, each on a line of a file beside the output.

    Args:
        out: the output file.
        batch: what is answered.
        settings: what else the answers depend on, such as the route.
    """

    def __init__(self, out: Path, batch: Batch, settings: Mapping[str, Any]) -> None:
        self.path = out.with_name(f"{out.name}.part")
        self.answers: dict[int, dict[str, Any]] = {}
        """By the place of the row, from 0."""
        identity = json.dumps([batch.messages, dict(settings)], ensure_ascii=True, sort_keys=True)
        self._head = {"answers": hashlib.sha256(identity.encode()).hexdigest()}

    @contextmanager
    def open(self) -> Iterator[Callable[[int, dict[str, Any]], None]]:
        """Read what is there, and give what adds an answer.

        Raises:
            ConflictError: the journal belongs to other messages or options.
            StorageError: the disk refuses.
        """
        try:
            whole = self._read()
            with self.path.open("a", encoding="utf-8", newline="\n") as file:
                os.truncate(self.path, whole)  # a line that was cut off while it was written
                if not whole:
                    _write(file, self._head)
                yield lambda place, answer: self._add(file, place, answer)
        except OSError as caught:
            raise storage_error(f"{self.path} could not be written", caught) from caught

    def _read(self) -> int:
        """Take the answers of an earlier run; returns how many bytes of the file are whole lines."""
        if not self.path.exists():
            return 0
        data = self.path.read_bytes()
        data = data[: data.rfind(b"\n") + 1]
        lines = [json.loads(line) for line in data.decode().splitlines()]
        if lines and lines[0] != self._head:
            raise ConflictError(
                f"{self.path} holds answers to other messages, or with other options.",
                next_step="Delete it, or choose another --out.",
            )
        self.answers = {line["row"]: line["answer"] for line in lines[1:]}
        return len(data)

    def _add(self, file: TextIO, place: int, answer: dict[str, Any]) -> None:
        self.answers[place] = answer
        _write(file, {"row": place, "answer": answer})

    def finish(self, out: Path, text: str) -> None:
        """Write the output, and let the journal go.

        Raises:
            StorageError: the disk refuses.
        """
        write_text(out, text)
        self.path.unlink(missing_ok=True)


def _write(file: TextIO, line: Mapping[str, Any]) -> None:
    file.write(json.dumps(line, ensure_ascii=True) + "\n")
    file.flush()


def with_answer(row: Mapping[str, Any], answer: Mapping[str, Any], into: str) -> dict[str, Any]:
    """A row with its answer and its route.

    Raises:
        UsageError: the row has such a column already.
    """
    for name in (into, "route", "probability"):
        if name in row:
            raise UsageError(
                f"The file has a column {name!r} already.", next_step="Rename it, or name another: --into NAME."
            )
    return {**row, into: answer["response"], "route": answer["route"], "probability": answer["probability"]}
