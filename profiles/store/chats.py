"""Conversations and full-text search over their messages. The messages are in ``profiles.store.messages``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from profiles.database.connection import Database
from profiles.store.base import now, storable
from profiles.store.scrubbing import Scrubber, owe_scrub
from profiles.store.table import COMPUTED, Stored, Table
from tokmem_desk.errors import NotFoundError

_SELECT = """
    SELECT c.*, (SELECT count(*) FROM messages WHERE conversation_id = c.id) AS message_count, {snippet} AS snippet
    FROM conversations c
"""


@dataclass(frozen=True, slots=True)
class ConversationRecord:
    """One line of the chat history."""

    id: int
    title: str
    created: str
    updated: str
    message_count: Annotated[int, COMPUTED]
    snippet: Annotated[str, Stored(computed=True, decode=lambda text: text or "")]
    """The text around the first hit of a search, else an empty string."""
    system_prompt: str = ""
    """What plain chat is told before this conversation; empty: the profile's, see ``Chats.system_prompt``."""


CONVERSATIONS = Table("conversations", ConversationRecord)


class Chats:
    """Keeps conversations, without their messages. Temporary chats never come here.

    Args:
        database: the profile's.
        scrubber: takes deleted bytes out of the files.
    """

    def __init__(self, database: Database, scrubber: Scrubber) -> None:
        self._database = database
        self._scrubber = scrubber

    def create(self, title: str = "", system_prompt: str = "") -> int:
        """Begin a conversation and return its id."""
        moment = now()
        with self._database.writing() as connection:
            cursor = connection.execute(
                "INSERT INTO conversations (title, created, updated, system_prompt) VALUES (?, ?, ?, ?)",
                (storable(title), moment, moment, storable(system_prompt)),
            )
        return int(cursor.lastrowid or 0)

    @property
    def system_prompt(self) -> str:
        """What plain chat of this profile is told where a conversation has no text of its own; mostly empty."""
        row = self._database.row("SELECT value FROM meta WHERE key = 'system_prompt'")
        return "" if row is None else str(row["value"])

    def is_first_time(self, what: str) -> bool:
        """True once for each ``what``: something that a person is told once, and not again in this profile."""
        key = f"told_{what}"
        with self._database.writing() as connection:
            inserted = connection.execute("INSERT OR IGNORE INTO meta VALUES (?, 1)", (key,))
        return inserted.rowcount > 0

    def set_system_prompt(self, text: str, conversation_id: int | None = None) -> None:
        """Set what plain chat is told before a conversation.

        Args:
            text: empty takes it away.
            conversation_id: for one conversation alone; None: for all that have no text of their own.

        Raises:
            NotFoundError: the conversation was deleted.
        """
        text = storable(text.strip())
        with self._database.writing() as connection:
            owe_scrub(connection)  # the text before must not stay in the file's free pages
            if conversation_id is not None:
                done = connection.execute(
                    "UPDATE conversations SET system_prompt = ? WHERE id = ?", (text, conversation_id)
                )
                if done.rowcount == 0:
                    raise no_conversation(conversation_id)
                return
            connection.execute("DELETE FROM meta WHERE key = 'system_prompt'")
            if text:
                connection.execute("INSERT INTO meta VALUES ('system_prompt', ?)", (text,))

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

    def rename(self, conversation_id: int, title: str) -> None:
        """Give a conversation another title.

        Raises:
            NotFoundError: the conversation was deleted.
        """
        with self._database.writing() as connection:
            done = connection.execute(
                "UPDATE conversations SET title = ? WHERE id = ?", (storable(title), conversation_id)
            )
            if done.rowcount == 0:
                raise no_conversation(conversation_id)

    def delete(self, conversation_id: int) -> str:
        """Delete a conversation with all its messages, for good.

        Returns:
            As ``Scrubber.run``: empty when no byte of it is left, else a sentence that says what remains and for
            how long.

        Raises:
            NotFoundError: it was deleted already.
        """
        with self._database.writing() as connection:
            if connection.execute("DELETE FROM conversations WHERE id = ?", (conversation_id,)).rowcount == 0:
                raise no_conversation(conversation_id)
            owe_scrub(connection, promised=True)
        return self._scrubber.run()

    def get(self, conversation_id: int) -> ConversationRecord:
        """One conversation.

        Raises:
            NotFoundError: it was deleted.
        """
        row = self._database.row(_SELECT.format(snippet="''") + "WHERE c.id = ?", (conversation_id,))
        if row is None:
            raise no_conversation(conversation_id)
        return CONVERSATIONS.record(row)

    def list(self, limit: int = 50, search: str | None = None) -> list[ConversationRecord]:
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
        return [CONVERSATIONS.record(row) for row in rows]


def _match_expression(search: str) -> str:
    """Every word as a quoted prefix, so that no character is an FTS operator; without a word, what matches nothing."""
    words = (word.replace('"', '""') for word in storable(search).replace("\0", " ").split())
    return " ".join(f'"{word}"*' for word in words) or '""'


def no_conversation(conversation_id: int) -> NotFoundError:
    """The error for a conversation that was deleted."""
    return NotFoundError(f"Conversation {conversation_id} is not there any more.", next_step="Begin a new one.")
