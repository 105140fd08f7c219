"""Corrections: a person's verdict that a text belongs to another route than the one it got."""

from __future__ import annotations

from profiles.database.connection import Database
from profiles.store.base import Row, bump_revision, message_row, now, procedure_id_of
from profiles.store.pair_rules import text_fault
from profiles.store.records import CorrectionRecord
from tokmem_desk.errors import BadInputError, NotFoundError, UsageError
from tokmem_desk.procedures import NONE_ROUTE

_SELECT = """
    SELECT c.*, coalesce(wrong.name, c.wrong_route) AS wrong_now, coalesce(correct.name, :none) AS right_now
    FROM corrections c
    LEFT JOIN procedures wrong ON wrong.id = c.wrong_procedure_id
    LEFT JOIN procedures correct ON correct.id = c.right_procedure_id
"""


class Corrections:
    """Keeps the person's verdicts on routes.

    Args:
        database: the profile's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, text: str, wrong_route: str, right_route: str, message_id: int | None = None) -> int:
        """Keep a verdict on a route and return its id. An earlier active verdict on the same text is replaced.

        Args:
            text: the message that was routed.
            wrong_route: the route it got, a procedure or ``none``.
            right_route: the route it should have got.
            message_id: the answer that showed it.

        Raises:
            NotFoundError: a route names no procedure, or the message was deleted.
            UsageError: both routes are the same.
            BadInputError: the text is empty or unusable.
        """
        if wrong_route == right_route:
            raise UsageError(f"{right_route!r} is the route it got.", next_step="Choose another one.")
        if not text.strip():
            raise BadInputError("An empty message has no route to correct.")
        if (fault := text_fault(text)) is not None:
            raise BadInputError(f"The message {fault}.")
        with self._database.writing() as connection:
            right_id = None if right_route == NONE_ROUTE else procedure_id_of(self._database, right_route)
            wrong_id = None if wrong_route == NONE_ROUTE else procedure_id_of(self._database, wrong_route)
            if message_id is not None:
                message_row(self._database, message_id)
            connection.execute("UPDATE corrections SET active = 0 WHERE text = ? AND active = 1", (text,))
            cursor = connection.execute(
                """
                INSERT INTO corrections (text, wrong_route, wrong_procedure_id, right_procedure_id, message_id, active,
                    created) VALUES (?, ?, ?, ?, ?, 1, ?)
                """,
                (text, wrong_route, wrong_id, right_id, message_id, now()),
            )
            bump_revision(connection)
        return int(cursor.lastrowid or 0)

    def remove(self, correction_id: int) -> None:
        """Take a verdict back; it stays in the history.

        Raises:
            NotFoundError: there is no such correction.
        """
        with self._database.writing() as connection:
            done = connection.execute("UPDATE corrections SET active = 0 WHERE id = ?", (correction_id,))
            if done.rowcount == 0:
                raise NotFoundError(f"There is no correction number {correction_id} any more.")
            bump_revision(connection)

    def list(self, active_only: bool = True) -> list[CorrectionRecord]:
        """The verdicts in the order in which they were given, under the procedures' present names."""
        where = "WHERE c.active = 1" if active_only else ""
        rows = self._database.rows(f"{_SELECT} {where} ORDER BY c.id", {"none": NONE_ROUTE})
        return [_record(row) for row in rows]


def _record(row: Row) -> CorrectionRecord:
    return CorrectionRecord(
        id=row["id"],
        text=row["text"],
        wrong_route=row["wrong_now"],
        right_route=row["right_now"],
        message_id=row["message_id"],
        active=bool(row["active"]),
        created=row["created"],
    )
