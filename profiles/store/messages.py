"""Messages of conversations: what was asked and answered, and how. ``profiles.store.chats`` has the conversations."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from profiles.database.connection import Database
from profiles.store.base import Row, as_json, from_json, message_row, now, storable
from profiles.store.chats import no_conversation
from profiles.store.records import JsonObject, MessageRecord, MessageStatus, Role
from profiles.store.scrubbing import owe_scrub


class Messages:
    """Keeps the messages of conversations.

    Args:
        database: the profile's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self,
        conversation_id: int,
        role: Role,
        content: str,
        *,
        route: str | None = None,
        probability: float | None = None,
        candidates: Sequence[Mapping[str, Any]] | None = None,
        timing: Mapping[str, Any] | None = None,
        details: Mapping[str, Any] | None = None,
        status: MessageStatus = "complete",
    ) -> int:
        """Append a message and return its id.

        Raises:
            NotFoundError: the conversation was deleted.
        """
        moment = now()
        with self._database.writing() as connection:
            used = connection.execute("UPDATE conversations SET updated = ? WHERE id = ?", (moment, conversation_id))
            if used.rowcount == 0:
                raise no_conversation(conversation_id)
            cursor = connection.execute(
                """
                INSERT INTO messages (conversation_id, role, content, status, created, route, probability,
                    candidates, timing, details) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                """,
                (
                    conversation_id,
                    role,
                    storable(content),
                    status,
                    moment,
                    route,
                    probability,
                    as_json(candidates),
                    as_json(timing),
                    as_json(details),
                ),
            )
        return int(cursor.lastrowid or 0)

    def update(
        self,
        message_id: int,
        *,
        content: str | None = None,
        route: str | None = None,
        probability: float | None = None,
        candidates: Sequence[Mapping[str, Any]] | None = None,
        timing: Mapping[str, Any] | None = None,
        details: Mapping[str, Any] | None = None,
        status: MessageStatus | None = None,
        whole: bool = False,
    ) -> MessageRecord:
        """Change what is given and leave the rest; with ``whole``, what is not given is emptied.

        Raises:
            NotFoundError: the message was deleted.
        """
        columns = {
            "content": None if content is None else storable(content),
            "route": route,
            "probability": probability,
            "candidates": as_json(candidates),
            "timing": as_json(timing),
            "details": as_json(details),
            "status": status,
        }
        given = {column: value for column, value in columns.items() if value is not None or whole}
        with self._database.writing() as connection:
            if given:
                assignments = ", ".join(f"{column} = ?" for column in given)
                connection.execute(f"UPDATE messages SET {assignments} WHERE id = ?", (*given.values(), message_id))
            row = message_row(self._database, message_id)
        return _message(row)

    def delete_from(self, message_id: int) -> int:
        """Delete a message and all that follow it in its conversation, and return how many went.

        For editing a question and for asking again.

        Raises:
            NotFoundError: the message was deleted.
        """
        with self._database.writing() as connection:
            row = message_row(self._database, message_id)
            # Counted first: rowcount after a delete with triggers is not ours to rely on.
            where = "conversation_id = ? AND id >= ?"
            parameters = (row["conversation_id"], message_id)
            gone = connection.execute(f"SELECT count(*) FROM messages WHERE {where}", parameters).fetchone()[0]
            connection.execute(f"DELETE FROM messages WHERE {where}", parameters)
            owe_scrub(connection)
        return int(gone)

    def delete(self, message_id: int) -> None:
        """Delete one message, as one that was withdrawn before it was answered; one that is gone is no error."""
        with self._database.writing() as connection:
            connection.execute("DELETE FROM messages WHERE id = ?", (message_id,))

    def move_to_end(self, message_ids: Sequence[int]) -> list[int]:
        """Put messages behind all others of their conversation, in the given order, and return their new ids.

        For questions that were asked before the answer that stands before them was there.

        Raises:
            NotFoundError: one of them was deleted.
        """
        columns = "conversation_id, role, content, status, created, route, probability, candidates, timing, details"
        moved = []
        with self._database.writing() as connection:
            for message_id in message_ids:
                message_row(self._database, message_id)
                cursor = connection.execute(
                    f"INSERT INTO messages ({columns}) SELECT {columns} FROM messages WHERE id = ?", (message_id,)
                )
                moved.append(int(cursor.lastrowid or 0))
                connection.execute("DELETE FROM messages WHERE id = ?", (message_id,))
        return moved

    def list(self, conversation_id: int) -> list[MessageRecord]:
        """All messages of a conversation, first to last.

        Raises:
            NotFoundError: the conversation was deleted.
        """
        with self._database.reading():
            if self._database.row("SELECT 1 FROM conversations WHERE id = ?", (conversation_id,)) is None:
                raise no_conversation(conversation_id)
            rows = self._database.rows(
                "SELECT * FROM messages WHERE conversation_id = ? ORDER BY id", (conversation_id,)
            )
        return [_message(row) for row in rows]


def _message(row: Row) -> MessageRecord:
    return MessageRecord(
        id=row["id"],
        conversation_id=row["conversation_id"],
        role=row["role"],
        content=row["content"],
        status=row["status"],
        created=row["created"],
        route=row["route"],
        probability=row["probability"],
        candidates=_candidates(row["candidates"]),
        timing=from_json(row["timing"]),
        details=from_json(row["details"]),
        rating=row["rating"],
    )


def _candidates(text: str | None) -> tuple[JsonObject, ...] | None:
    return None if text is None else tuple(json.loads(text))
