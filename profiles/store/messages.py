"""Messages of conversations: what was asked and answered, and how. ``profiles.store.chats`` has the conversations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from profiles.database.connection import Database
from profiles.store.base import JsonObject, message_row, now, storable
from profiles.store.chats import no_conversation
from profiles.store.scrubbing import owe_scrub
from profiles.store.table import JSON, JSON_LIST, Table

Role = Literal["user", "assistant"]
MessageStatus = Literal["complete", "stopped", "failed"]
Rating = Literal["good", "bad"]


@dataclass(frozen=True, slots=True)
class MessageRecord:
    """One message of a conversation; the fields from ``route`` on belong to answers."""

    id: int
    conversation_id: int
    role: Role
    content: str
    status: MessageStatus
    created: str
    route: str | None
    probability: float | None
    candidates: Annotated[tuple[JsonObject, ...] | None, JSON_LIST]
    """``{"route", "probability"}``, best first."""
    timing: Annotated[JsonObject | None, JSON]
    """Seconds ``prefill, route, first_token, total`` and ``tokens``."""
    details: Annotated[JsonObject | None, JSON] = None
    """How the answer was made, as whoever wrote it put it."""
    rating: Rating | None = None


MESSAGES = Table("messages", MessageRecord)


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
            return MESSAGES.insert(
                connection,
                conversation_id=conversation_id,
                role=role,
                content=storable(content),
                status=status,
                created=moment,
                route=route,
                probability=probability,
                candidates=candidates,
                timing=timing,
                details=details,
            )

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
        values = {
            "content": None if content is None else storable(content),
            "route": route,
            "probability": probability,
            "candidates": candidates,
            "timing": timing,
            "details": details,
            "status": status,
        }
        given = {name: value for name, value in values.items() if value is not None or whole}
        with self._database.writing() as connection:
            if given:
                MESSAGES.update(connection, message_id, **given)
            row = message_row(self._database, message_id)
        return MESSAGES.record(row)

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
        columns = ", ".join(column for column in MESSAGES.columns if column != "id")
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

    def latest_questions(self, limit: int) -> list[str]:
        """What the person typed last, in all conversations, newest first."""
        rows = self._database.rows(
            "SELECT content FROM messages WHERE role = 'user' ORDER BY id DESC LIMIT ?", (limit,)
        )
        return [row["content"] for row in rows]

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
        return [MESSAGES.record(row) for row in rows]
