"""Messages as they are typed, piped in, or listed in a file."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from profiles.files.atomic import storage_error
from profiles.store.pair_rules import text_fault
from tokmem_desk.errors import BadInputError, NotFoundError, UsageError

if TYPE_CHECKING:
    from profiles.pair_files.pairs_file import PairsFile
    from profiles.pair_files.row_forms import ColumnMapping

STDIN = "-"
_NEXT_STEP = "Nothing was sent. Correct it and try again."


def message_of(words: Iterable[str]) -> str:
    """The message on the command line, or from stdin where it is ``-``.

    Raises:
        UsageError: it is empty.
        BadInputError: it is not text.
    """
    text = " ".join(words)
    if text == STDIN:
        text = _decoded(sys.stdin.buffer.read(), "stdin").rstrip("\r\n")
    if not text.strip():
        raise UsageError("The message is empty.", next_step='Give it in quotes: tokmem-desk ask "…"')
    if fault := text_fault(text):
        raise BadInputError(f"The message {fault}.", next_step=_NEXT_STEP)
    return text


def system_prompt_of(typed: str) -> str:
    """A system prompt as it was typed, or from stdin where it is ``-``; it may be empty.

    Raises:
        BadInputError: it is not text.
    """
    text = _decoded(sys.stdin.buffer.read(), "stdin") if typed == STDIN else typed
    if fault := text_fault(text):
        raise BadInputError(f"The system prompt {fault}.", next_step=_NEXT_STEP)
    return text.strip()


def read_queries(file: str) -> list[str]:
    """The messages of a file, one a line, or of a JSONL file of ``{"query"}``; ``-`` is stdin.

    Empty lines are passed over. A file is JSONL where its first line is meant as JSON. There a message may have line
    breaks.

    Raises:
        BadInputError: names the file, the first bad line and the reason; or there is no message in it.
        NotFoundError: there is no such file.
        StorageError: it cannot be read.
    """
    name = "stdin" if file == STDIN else file
    lines = [(number, line.strip()) for number, line in _numbered(read_text(file)) if line.strip()]
    if not lines:
        raise BadInputError(f"{name} holds no message.", next_step="Write one a line.")
    read = _query if _is_json(lines[0][1]) else _plain
    return [read(line, f"{name}, line {number}") for number, line in lines]


def _is_json(line: str) -> bool:
    """Whether a line is meant as JSON, perhaps with a slip; a text may begin with a bracket."""
    if line.startswith("{"):
        return True
    try:
        return isinstance(json.loads(line), list)
    except (ValueError, RecursionError):
        return False


def _plain(line: str, where: str) -> str:
    if fault := text_fault(line):
        raise BadInputError(f"{where}: the message {fault}.", next_step=_NEXT_STEP)
    return line


def _query(line: str, where: str) -> str:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        raise BadInputError(f"{where}: this is not JSON.", next_step='Write one {"query": "…"} a line.') from None
    query = row.get("query") if isinstance(row, dict) else None
    if not isinstance(query, str) or not query.strip():
        raise BadInputError(f'{where}: there is no text under "query".', next_step='Write one {"query": "…"} a line.')
    if fault := text_fault(query):
        raise BadInputError(f"{where}: the query {fault}.", next_step=_NEXT_STEP)
    return query


def _numbered(text: str) -> Iterator[tuple[int, str]]:
    return enumerate(text.split("\n"), start=1)


def pairs_of(path: Path, mapping: ColumnMapping | None = None) -> tuple[Path, PairsFile]:
    """The pairs of a file, or of stdin where it is ``-``, bad rows beside the good ones; and what errors call it.

    Raises:
        BadInputError: it cannot be used as a whole.
        NotFoundError: there is no such file.
        StorageError: it cannot be read.
    """
    # Imported this late: most commands that read messages read no pairs.
    from profiles.pair_files.pairs_file import MAX_BYTES, read_pairs_bytes, read_pairs_file

    if str(path) != STDIN:
        return path, read_pairs_file(path, mapping)
    name = Path(source_of(path))
    return name, read_pairs_bytes(name, sys.stdin.buffer.read(MAX_BYTES + 1), mapping)


def source_of(path: Path) -> str:
    """Where pairs come from, as it is kept with them."""
    return "stdin" if str(path) == STDIN else path.name


def read_text(file: str) -> str:
    """All text of a file; ``-`` is stdin.

    Raises:
        BadInputError: it is not UTF-8.
        NotFoundError: there is no such file.
        StorageError: it cannot be read.
    """
    if file == STDIN:
        data = sys.stdin.buffer.read()
    else:
        try:
            data = Path(file).read_bytes()
        except FileNotFoundError:
            raise NotFoundError(f"There is no file {file}.", next_step="Check the path.") from None
        except OSError as caught:
            raise storage_error(f"{file} could not be read", caught) from caught
    return _decoded(data, "stdin" if file == STDIN else file)


def _decoded(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadInputError(f"{name} is not UTF-8 text.", next_step="Save it as UTF-8 and try again.") from None
