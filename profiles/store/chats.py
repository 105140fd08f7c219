"""Conversations, their messages and full-text search over them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from profiles.store.base import Row, as_json, from_json, now, storable
from profiles.store.records import ConversationRecord, JsonObject, MessageRecord, MessageStatus, Role
from profiles.store.scrubbing import Scrubbing, owe_scrub
from tokmem_desk.errors import NotFoundError

_SELECT = """
    SELECT c.*, (SELECT count(*) FROM messages WHERE conversation_id = c.id) AS message_count, {snippet} AS snippet
    FROM conversations c
"""


class ChatTable(Scrubbing):
    """The part of the store that keeps chats. Temporary chats never come here."""

    def create_conversation(self, title: str = "") -> int:
        """Begin a conversation and return its id."""
        moment = now()
        with self._database.writing() as connection:
            cursor = connection.execute(
                "INSERT INTO conversations (title, created, updated) VALUES (?, ?, ?)",
                (storable(title), moment, moment),
            )
        return int(cursor.lastrowid or 0)

    def keep_unsent(self, text: str) -> None:
        """Keep what was typed and not sent, until ``take_unsent``; an empty text keeps nothing."""
        with self._database.writing() as connection:
            connection.execute("DELETE FROM meta WHERE key = 'unsent'")
            if text.strip():
                connection.execute("INSERT INTO meta VALUES ('unsent', ?)", (storable(text),))

    def take_unsent(self) -> str:
        """What ``keep_unsent`` kept, once; empty where there is nothing."""
        row = self._database.row("SELECT value FROM meta WHERE key = 'unsent'")
        if row is None:
            return ""
        self.keep_unsent("")
        return str(row["value"])

    def conversations(self, limit: int = 50, search: str | None = None) -> list[ConversationRecord]:
        """The conversations used last, newest first.

        Args:
            limit: at most this many.
            search: only those where a message holds every word (or the beginning of one), or the title holds the
                text as it is. Nothing in it is an operator.
        """
        words = _match_expression(search or "")
        if search is None or not search.strip():
            rows = self._database.rows(
                _SELECT.format(snippet="''") + "ORDER BY c.updated DESC, c.id DESC LIMIT ?", (limit,)
            )
        else:
            snippet = """(
                SELECT snippet(messages_fts, 0, '', '', '…', 12)
                FROM messages_fts JOIN messages m ON m.id = messages_fts.rowid
                WHERE messages_fts MATCH :words AND m.conversation_id = c.id ORDER BY rank LIMIT 1
            )"""
            rows = self._database.rows(
                _SELECT.format(snippet=snippet)
                + """
                WHERE c.id IN (
                    SELECT m.conversation_id FROM messages_fts JOIN messages m ON m.id = messages_fts.rowid
                    WHERE messages_fts MATCH :words
                ) OR instr(lower(c.title), lower(:text)) > 0
                ORDER BY c.updated DESC, c.id DESC LIMIT :limit
                """,
                {"words": words, "text": storable(search).strip(), "limit": limit},
            )
        return [_conversation(row) for row in rows]

    def rename_conversation(self, conversation_id: int, title: str) -> None:
        """Give a conversation another title.

        Raises:
            NotFoundError: the conversation was deleted.
        """
        with self._database.writing() as connection:
            done = connection.execute(
                "UPDATE conversations SET title = ? WHERE id = ?", (storable(title), conversation_id)
            )
            if done.rowcount == 0:
                raise _no_conversation(conversation_id)

    def delete_conversation(self, conversation_id: int) -> str:
        """Delete a conversation with all its messages, for good.

        Returns:
            As ``scrub``: empty when no byte of it is left, else a sentence that says what remains and for how long.

        Raises:
            NotFoundError: it was deleted already.
        """
        with self._database.writing() as connection:
            if connection.execute("DELETE FROM conversations WHERE id = ?", (conversation_id,)).rowcount == 0:
                raise _no_conversation(conversation_id)
            owe_scrub(connection, promised=True)
        return self.scrub()

    def conversation(self, conversation_id: int) -> ConversationRecord:
        """One conversation.

        Raises:
            NotFoundError: it was deleted.
        """
        row = self._database.row(_SELECT.format(snippet="''") + "WHERE c.id = ?", (conversation_id,))
        if row is None:
            raise _no_conversation(conversation_id)
        return _conversation(row)

    def messages(self, conversation_id: int) -> list[MessageRecord]:
        """All messages of a conversation, first to last.

        Raises:
            NotFoundError: the conversation was deleted.
        """
        with self._database.reading():
            if self._database.row("SELECT 1 FROM conversations WHERE id = ?", (conversation_id,)) is None:
                raise _no_conversation(conversation_id)
            rows = self._database.rows(
                "SELECT * FROM messages WHERE conversation_id = ? ORDER BY id", (conversation_id,)
            )
        return [_message(row) for row in rows]

    def add_message(
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
                raise _no_conversation(conversation_id)
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

    def update_message(
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
            row = self._message_row(message_id)
        return _message(row)

    def delete_messages_from(self, message_id: int) -> int:
        """Delete a message and all that follow it in its conversation, and return how many went.

        For editing a question and for asking again.

        Raises:
            NotFoundError: the message was deleted.
        """
        with self._database.writing() as connection:
            row = self._message_row(message_id)
            # Counted first: rowcount after a delete with triggers is not ours to rely on.
            where = "conversation_id = ? AND id >= ?"
            parameters = (row["conversation_id"], message_id)
            gone = connection.execute(f"SELECT count(*) FROM messages WHERE {where}", parameters).fetchone()[0]
            connection.execute(f"DELETE FROM messages WHERE {where}", parameters)
            owe_scrub(connection)
        return int(gone)

    def delete_message(self, message_id: int) -> None:
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
                self._message_row(message_id)
                cursor = connection.execute(
                    f"INSERT INTO messages ({columns}) SELECT {columns} FROM messages WHERE id = ?", (message_id,)
                )
                moved.append(int(cursor.lastrowid or 0))
                connection.execute("DELETE FROM messages WHERE id = ?", (message_id,))
        return moved


def _match_expression(search: str) -> str:
    """Every word as a quoted prefix, so that no character is an FTS operator; without a word, what matches nothing."""
    words = (word.replace('"', '""') for word in storable(search).replace("\0", " ").split())
    return " ".join(f'"{word}"*' for word in words) or '""'


def _no_conversation(conversation_id: int) -> NotFoundError:
    return NotFoundError(f"Conversation {conversation_id} is not there any more.", next_step="Begin a new one.")


def _conversation(row: Row) -> ConversationRecord:
    return ConversationRecord(
        id=row["id"],
        title=row["title"],
        created=row["created"],
        updated=row["updated"],
        message_count=row["message_count"],
        snippet=row["snippet"] or "",
    )


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
