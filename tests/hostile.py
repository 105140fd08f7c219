"""Text that a terminal would obey, put into every text field of every table, and a look at what came through."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tui.kit.visible_text import is_plain

CONTROLS = "".join(
    chr(code)
    for code in (
        *(one for one in range(1, 32) if one not in (9, 10)),
        *range(127, 160),
        *(0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x2028, 0x2029),
    )
)
HOSTILE = f"\x1b]52;c;eA==\x07{CONTROLS}\x1b]0;t\x1b\\\x9d0;t\x9c"
"""Would set the clipboard and the window's title, among others. No sequence in it is one that Textual sends."""

KEPT = "👩\u200d👧 ❤\ufe0f می\u200cخواهم"

EXACT = {
    # what names a row, a file or a state: other text there is no such row, or refused by the program that reads it
    ("profiles", "id"),
    ("tokens", "profile_id"),
    ("tokens", "digest"),
    ("meta", "key"),
    ("meta", "value"),
    ("procedures", "uuid"),
    ("pairs", "part"),
    ("version_pairs", "part"),
    ("versions", "kind"),
    ("memories", "id"),
    ("memories", "file"),
    ("memories", "status"),
    ("memories", "backbone_fingerprint"),
    ("memory_pairs", "memory_id"),
    ("router_rows", "memory_id"),
    ("router_rows", "digest"),
    ("messages", "role"),
    ("messages", "status"),
    ("messages", "rating"),
    ("jobs", "state"),
    ("jobs", "memory_id"),
    # read back as statements of rows when something is taken back
    ("undo_log", "remove"),
    ("undo_log", "restore"),
    # a moment that is reckoned with, a JSON schema and a consent's digest
    ("versions", "updated"),
    ("procedures", "output_schema"),
    ("versions", "output_schema"),
    ("commands", "allowed"),
}
"""Fields whose text no person wrote. A field that is not named here is fed, a new one by itself."""


def feed(database: Path) -> list[str]:
    """Put hostile text into every row's text fields, into the strings within JSON too.

    Returns:
        The fields that were fed, as ``table.column``.
    """
    fed = []
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.create_function("hostile", 1, hostile)
        connection.execute("PRAGMA ignore_check_constraints = ON")
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            if table.startswith(("sqlite_", "messages_fts")):
                continue
            for _, column, kind, *_ in connection.execute(f"PRAGMA table_info({table})").fetchall():
                if kind not in ("TEXT", "") or (table, column) in EXACT:
                    continue
                change = f"UPDATE {table} SET {column} = hostile({column}) WHERE {column} NOT NULL"
                if connection.execute(change).rowcount:
                    fed.append(f"{table}.{column}")
    return fed


def hostile(value: str) -> str:
    """A stored text with hostile text in it."""
    try:
        document = json.loads(value)
    except ValueError:
        return f"{value}{KEPT}{HOSTILE}"
    if isinstance(document, (dict, list)):
        return json.dumps(_within(document), ensure_ascii=False)
    return value


def _within(value: Any) -> Any:
    if isinstance(value, str):
        return f"{value}{KEPT}{HOSTILE}"
    if isinstance(value, list):
        return [_within(one) for one in value]
    if isinstance(value, dict):
        return {key: one if key in ("route", "status") else _within(one) for key, one in value.items()}
    return value


def leaves(value: Any, change: Callable[[str], str], path: str = "") -> list[tuple[str, Any]]:
    """Copies of a document, each with one of its strings changed, and where that stands."""
    found: list[tuple[str, Any]] = []
    if isinstance(value, str):
        return [(path, change(value))]
    if isinstance(value, dict):
        for key, one in value.items():
            found += [(where, {**value, key: made}) for where, made in leaves(one, change, f"{path}.{key}")]
    if isinstance(value, list):
        for place, one in enumerate(value):
            made_here = leaves(one, change, f"{path}[{place}]")
            found += [(where, [*value[:place], made, *value[place + 1 :]]) for where, made in made_here]
    return found


_OWN = re.compile(r"\x1b\[[0-9;:?<>=$]*[A-Za-z]|\x1b\]8;[^\x00-\x1f]*\x1b\\|\x1b\]22;[a-z-]*\x07|[\r\n]")
"""What Textual and rich send themselves: positions, colours, links, the pointer's shape."""


def assert_obeyed_nothing(sent: str, where: str) -> None:
    """All that reached a terminal is text that is shown, and sequences of our own."""
    text = _OWN.sub("", sent).replace("\t", "")
    if not is_plain(text):
        at = next(place for place in range(len(text)) if not is_plain(text[place]))
        raise AssertionError(f"{where}: {text[max(0, at - 60) : at + 20]!r}")
