"""What a person said of a procedure's answers, as verdicts that its memory can be improved with.

Nothing is kept twice: a verdict is read from the answer in its chat (a thumb down, the text before an edit, answers
that were asked for again) and from the pair that was made of it. So taking a lesson back, or deleting the chat, takes
the verdict with it. A verdict on a route is none of these: the router alone learns from it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from profiles.database.connection import Database
from profiles.store.base import Row, procedure_id_of
from profiles.store.feedback import CHAT_SOURCE
from tokmem_desk.procedures import AnswerVerdict

REJECTED = "rejected"
"""The key of a message's details under which answers stand that the person had replaced: route and text of each."""

_QUESTION = """
    (SELECT q.content FROM messages q WHERE q.conversation_id = m.conversation_id AND q.role = 'user' AND q.id < m.id
     ORDER BY q.id DESC LIMIT 1)
"""


class Verdicts:
    """Collects verdicts, and knows which of them a memory was made from.

    Args:
        database: the profile's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, name: str) -> list[AnswerVerdict]:
        """All verdicts on answers of a procedure, oldest first, each once.

        Raises:
            NotFoundError: no procedure of that name.
        """
        with self._database.reading():
            key = procedure_id_of(self._database, name)
            return self._collected(key, name)

    def waiting(self, backbone_fingerprint: str | None) -> dict[str, int]:
        """How many verdicts no memory has learned, by procedure; only procedures that answer with a memory.

        What a memory learned as a pair does not wait any more, whatever was rejected beside it.

        Args:
            backbone_fingerprint: of the backbone whose memories count.
        """
        if backbone_fingerprint is None:
            return {}
        found: dict[str, int] = {}
        with self._database.reading():
            memories = self._database.rows(
                """
                SELECT m.id, m.procedure_id, p.name FROM memories m JOIN procedures p ON p.id = m.procedure_id
                WHERE m.status = 'active' AND m.backbone_fingerprint = ? AND p.enabled = 1 AND (
                    EXISTS (SELECT 1 FROM pairs WHERE procedure_id = p.id AND source = ?)
                    OR EXISTS (SELECT 1 FROM messages b WHERE b.rating = 'bad' AND b.route = p.name)
                ) ORDER BY p.name
                """,
                (backbone_fingerprint, CHAT_SOURCE),
            )
            for row in memories:
                if count := len(self._unlearned(row["id"], self._collected(row["procedure_id"], row["name"]))):
                    found[str(row["name"])] = count
        return found

    def unlearned(self, memory_id: str, verdicts: Sequence[AnswerVerdict]) -> list[AnswerVerdict]:
        """Those of ``verdicts`` that a memory was not made from."""
        with self._database.reading():
            return self._unlearned(memory_id, verdicts)

    def mark(self, memory_ids: Sequence[str], verdicts: Sequence[AnswerVerdict]) -> None:
        """Note that these memories were made from verdicts, or tried against them; unknown memories are left out."""
        with self._database.writing() as connection:
            for memory_id in memory_ids:
                if connection.execute("SELECT 1 FROM memories WHERE id = ?", (memory_id,)).fetchone() is not None:
                    connection.executemany(
                        "INSERT OR IGNORE INTO memory_verdicts (memory_id, digest) VALUES (?, ?)",
                        [(memory_id, verdict.digest) for verdict in verdicts],
                    )

    def _collected(self, procedure_id: int, name: str) -> list[AnswerVerdict]:
        return list(dict.fromkeys([*self._on_pairs(procedure_id, name), *self._thumbs_down(name)]))

    def _unlearned(self, memory_id: str, verdicts: Sequence[AnswerVerdict]) -> list[AnswerVerdict]:
        if not verdicts:
            return []
        known = {
            row["digest"]
            for row in self._database.rows("SELECT digest FROM memory_verdicts WHERE memory_id = ?", (memory_id,))
        }
        pairs = {
            (row["input"], row["response"])
            for row in self._database.rows("SELECT input, response FROM memory_pairs WHERE memory_id = ?", (memory_id,))
        }
        return [one for one in verdicts if one.digest not in known and (one.input, one.accepted) not in pairs]

    def _on_pairs(self, procedure_id: int, name: str) -> Iterator[AnswerVerdict]:
        """Of answers that became pairs: corrected ones, those with a thumb up, and what programs said was right."""
        rows = self._database.rows(
            """
            SELECT pairs.input, pairs.response, m.content, m.route, m.details FROM pairs
            LEFT JOIN messages m ON m.id = pairs.message_id
            WHERE pairs.procedure_id = ? AND pairs.source = ? AND pairs.part = 'train' ORDER BY pairs.id
            """,
            (procedure_id, CHAT_SOURCE),
        )
        for row in rows:
            details = _details(row)
            wrong = [text for route, text in _replaced(details) if route == name]
            if row["route"] == name and isinstance(original := details.get("original"), str):
                wrong.append(original)
            wrong = [text for text in dict.fromkeys(wrong) if text.strip() and text.strip() != row["response"].strip()]
            yield from [AnswerVerdict(row["input"], text, row["response"]) for text in wrong] or [
                AnswerVerdict(row["input"], accepted=row["response"])
            ]

    def _thumbs_down(self, name: str) -> Iterator[AnswerVerdict]:
        """Of answers with a thumb down that nobody corrected; those in several parts say not which part was wrong."""
        rows = self._database.rows(
            f"""
            SELECT m.content, m.details, {_QUESTION} AS question FROM messages m
            WHERE m.rating = 'bad' AND m.route = ? AND m.role = 'assistant' AND m.status = 'complete'
                AND NOT EXISTS (SELECT 1 FROM pairs WHERE pairs.message_id = m.id) ORDER BY m.id
            """,
            (name,),
        )
        for row in rows:
            details = _details(row)
            segments = details.get("segments") or ()
            if row["question"] is None or details.get("parts") or details.get("plans") or len(segments) > 1:
                continue
            message = (str(segments[0].get("part") or "") if segments else "") or row["question"]
            wrong = [row["content"], *(text for route, text in _replaced(details) if route == name)]
            for text in dict.fromkeys(wrong):
                if text.strip():
                    yield AnswerVerdict(message, text)


def _details(row: Row) -> dict[str, Any]:
    found = json.loads(row["details"]) if row["details"] else {}
    return found if isinstance(found, dict) else {}


def _replaced(details: dict[str, Any]) -> list[tuple[str, str]]:
    return [(str(one[0]), str(one[1])) for one in details.get(REJECTED) or () if len(one) == 2]
