"""Conversations in the databases of other programs: oterm's ``store.db``, and ``logs.db`` of the command ``llm``.

They are opened for reading alone, and may be in use. Knows no profile.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from profiles.pair_files.chat_exports import ExportedTalk, talk_of
from tokmem_desk.errors import BadInputError

MAGIC = b"SQLite format 3\0"
"""With which such a file begins."""

_OTERM = "SELECT c.id, c.name, m.author, m.text FROM message m JOIN chat c ON c.id = m.chat_id ORDER BY c.id, m.id"
# Each row is a question with its answer; what was asked outside of a conversation stands alone.
_LLM = """
    SELECT coalesce(r.conversation_id, r.id), coalesce(c.name, ''), r.prompt, r.response
    FROM responses r LEFT JOIN conversations c ON c.id = r.conversation_id ORDER BY r.datetime_utc, r.id
"""
_OTERM_ROLES = {"me": "user", "ollama": "assistant"}
"""As earlier versions of oterm wrote them; now they are called as everywhere."""


def database_talks(path: Path) -> list[ExportedTalk]:
    """The conversations of a database, the newest first, as in exports.

    Raises:
        BadInputError: it is none of the two, or damaged.
    """
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
            names = {row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if {"chat", "message"} <= names:
                rows = list(_oterm(database))
            elif {"responses", "conversations"} <= names:
                rows = list(_llm(database))
            else:
                raise BadInputError(
                    f"{path} is a database, but neither oterm's nor that of llm.",
                    next_step="Give oterm's store.db or llm's logs.db ('llm logs path' prints where it is).",
                )
    except (sqlite3.Error, UnicodeError) as caught:
        raise BadInputError(f"{path} cannot be read as a database ({caught}).", next_step="Is it damaged?") from caught
    talks: dict[object, tuple[str, list[tuple[str, object]]]] = {}
    for key, title, role, text in rows:
        talks.setdefault(key, (str(title or ""), []))[1].append((role, text))
    return [talk_of(title, messages) for title, messages in reversed(talks.values())]


_Said = tuple[object, object, str, object]


def _oterm(database: sqlite3.Connection) -> Iterator[_Said]:
    for key, title, author, text in database.execute(_OTERM):
        yield key, title, _OTERM_ROLES.get(str(author), str(author)), text


def _llm(database: sqlite3.Connection) -> Iterator[_Said]:
    for key, title, prompt, response in database.execute(_LLM):
        yield key, title, "user", prompt
        yield key, title, "assistant", response
