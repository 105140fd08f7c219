"""What was learned from answers: verdicts on routes, pairs, thumbs; and what of it waits for training.

Nothing is learned unasked: every row here follows a key that the person pressed, and can be taken back.
"""

from __future__ import annotations

from dataclasses import dataclass

from profiles.database.connection import Database
from profiles.store.base import message_row
from profiles.store.messages import Rating
from tokmem_desk.procedures import NONE_ROUTE

CHAT_SOURCE = "chat"
"""The source of pairs that came from an answer."""


@dataclass(slots=True)
class AnswerFeedback:
    """What a person made of one answer: a verdict on its route, an example pair, or both."""

    correction_id: int | None = None
    """The verdict on its route that holds."""
    wrong_route: str | None = None
    pair_id: int | None = None
    """The example pair that was made of it."""
    pair_procedure: str | None = None


class Feedback:
    """Knows what a person made of which answer, and what of it waits for training.

    Args:
        database: the profile's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def rate(self, message_id: int, rating: Rating | None) -> None:
        """Keep a thumb for an answer, or take it back.

        Raises:
            NotFoundError: the message was deleted.
        """
        with self._database.writing() as connection:
            message_row(self._database, message_id)
            connection.execute("UPDATE messages SET rating = ? WHERE id = ?", (rating, message_id))

    def of_conversation(self, conversation_id: int) -> dict[int, AnswerFeedback]:
        """What came from the answers of a conversation, by message id; only answers that anything came from."""
        by_message: dict[int, AnswerFeedback] = {}
        corrections = self._database.rows(
            """
            SELECT c.message_id, c.id, coalesce(p.name, c.wrong_route) AS wrong_now
            FROM corrections c JOIN messages m ON m.id = c.message_id
            LEFT JOIN procedures p ON p.id = c.wrong_procedure_id
            WHERE m.conversation_id = ? AND c.active = 1 ORDER BY c.id
            """,
            (conversation_id,),
        )
        for row in corrections:
            by_message[row["message_id"]] = AnswerFeedback(row["id"], row["wrong_now"] or NONE_ROUTE)
        pairs = self._database.rows(
            """
            SELECT pairs.message_id, pairs.id, p.name FROM pairs
            JOIN messages m ON m.id = pairs.message_id JOIN procedures p ON p.id = pairs.procedure_id
            WHERE m.conversation_id = ? ORDER BY pairs.id
            """,
            (conversation_id,),
        )
        for row in pairs:
            feedback = by_message.setdefault(row["message_id"], AnswerFeedback())
            feedback.pair_id, feedback.pair_procedure = row["id"], row["name"]
        return by_message

    def waiting(self, backbone_fingerprint: str | None) -> dict[str, int]:
        """How many pairs out of chats wait to be trained, by procedure; disabled procedures wait for nothing.

        Args:
            backbone_fingerprint: of the backbone whose memories count; without one every such pair waits.
        """
        rows = self._database.rows(
            """
            SELECT p.name, count(*) AS waiting FROM pairs JOIN procedures p ON p.id = pairs.procedure_id
            WHERE pairs.source = :source AND pairs.part = 'train' AND p.enabled = 1 AND NOT EXISTS (
                SELECT 1 FROM memories m JOIN memory_pairs learned ON learned.memory_id = m.id
                WHERE m.procedure_id = p.id AND m.status = 'active' AND m.backbone_fingerprint = :fingerprint
                    AND learned.input = pairs.input AND learned.response = pairs.response
            ) GROUP BY p.name ORDER BY p.name
            """,
            {"source": CHAT_SOURCE, "fingerprint": backbone_fingerprint or ""},
        )
        return {str(row["name"]): int(row["waiting"]) for row in rows}
