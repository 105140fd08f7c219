"""Messages as they are typed, piped in, or listed in a file."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from profiles.files.atomic import storage_error
from profiles.store.pair_rules import text_fault
from tokmem_desk.errors import BadInputError, NotFoundError, UsageError

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


def read_queries(file: str) -> list[str]:
    """The messages of a JSONL file of ``{"query"}``; ``-`` is stdin. Empty lines are passed over.

    Raises:
        BadInputError: names the file, the first bad line and the reason; or there is no message in it.
        NotFoundError: there is no such file.
        StorageError: it cannot be read.
    """
    name = "stdin" if file == STDIN else file
    queries = [_query(line, f"{name}, line {number}") for number, line in _lines(file, name) if line.strip()]
    if not queries:
        raise BadInputError(f"{name} holds no message.", next_step='Write one {"query": "…"} a line.')
    return queries


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


def _lines(file: str, name: str) -> Iterator[tuple[int, str]]:
    if file == STDIN:
        data = sys.stdin.buffer.read()
    else:
        try:
            data = Path(file).read_bytes()
        except FileNotFoundError:
            raise NotFoundError(f"There is no file {file}.", next_step="Check the path.") from None
        except OSError as caught:
            raise storage_error(f"{file} could not be read", caught) from caught
    yield from enumerate(_decoded(data, name).split("\n"), start=1)


def _decoded(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadInputError(f"{name} is not UTF-8 text.", next_step="Save it as UTF-8 and try again.") from None
