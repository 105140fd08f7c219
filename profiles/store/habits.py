"""What the person asked and how it was answered, for finding habits; vectors of messages; habits that were turned down.

Finding them is ``tokmem_desk.routing.habits``. Only turns that no procedure has yet are given out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from profiles.database.connection import Database

MOST_TURNS = 5_000
"""The last ones; a habit is something of these days."""

_TURNS = """
    SELECT asked.id, asked.content AS message, answer.content AS answer
    FROM messages asked JOIN messages answer ON answer.conversation_id = asked.conversation_id
        AND answer.id = (
            SELECT min(id) FROM messages next WHERE next.conversation_id = asked.conversation_id AND next.id > asked.id
        )
    WHERE asked.role = 'user' AND answer.role = 'assistant' AND answer.status = 'complete'
        AND coalesce(answer.route, 'none') = 'none' AND trim(answer.content) <> ''
        AND NOT EXISTS (SELECT 1 FROM pairs WHERE pairs.message_id = answer.id)
        AND NOT EXISTS (SELECT 1 FROM pairs WHERE pairs.input = asked.content)
    ORDER BY asked.id DESC LIMIT ?
"""


@dataclass(frozen=True, slots=True)
class TurnRecord:
    """A message of the person and the answer that stands behind it."""

    message_id: int
    message: str
    answer: str


class Habits:
    """Reads turns, and keeps vectors and verdicts.

    Args:
        database: the profile's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def turns(self, limit: int = MOST_TURNS) -> list[TurnRecord]:
        """The last turns that plain chat answered and no pair was made of, oldest first."""
        rows = self._database.rows(_TURNS, (limit,))
        return [TurnRecord(row["id"], row["message"], row["answer"]) for row in reversed(rows)]

    def vectors(self, space: str) -> dict[int, bytes]:
        """What is kept in that space, by message."""
        rows = self._database.rows("SELECT message_id, vector FROM message_vectors WHERE space = ?", (space,))
        return {row["message_id"]: bytes(row["vector"]) for row in rows}

    def keep_vectors(self, space: str, vectors: Mapping[int, bytes]) -> None:
        """Keep vectors; those of messages that were deleted meanwhile are dropped, those of other spaces go."""
        with self._database.writing() as connection:
            connection.execute("DELETE FROM message_vectors WHERE space <> ?", (space,))
            connection.executemany(
                "INSERT OR REPLACE INTO message_vectors SELECT id, ?, ? FROM messages WHERE id = ?",
                [(space, vector, message_id) for message_id, vector in vectors.items()],
            )

    def forget_vectors(self) -> None:
        """Drop them all: habits are not looked for any more."""
        if self._database.row("SELECT 1 FROM message_vectors LIMIT 1", ()) is None:
            return
        with self._database.writing() as connection:
            connection.execute("DELETE FROM message_vectors")

    def dismiss(self, message_ids: Sequence[int]) -> None:
        """Never propose these turns again."""
        with self._database.writing() as connection:
            connection.executemany(
                "INSERT OR IGNORE INTO dismissed_habits SELECT id FROM messages WHERE id = ?",
                [(message_id,) for message_id in message_ids],
            )

    def dismissed(self, message_ids: Iterable[int]) -> bool:
        """Whether two of these turns were turned down, and so their kind."""
        known = {row["message_id"] for row in self._database.rows("SELECT message_id FROM dismissed_habits")}
        return len(known.intersection(message_ids)) > 1
