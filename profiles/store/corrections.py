"""Corrections: a person's verdict that a text belongs to another route than the one it got."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Annotated

from profiles.database.connection import Database
from profiles.store.base import bump_revision, message_row, now, procedure_id_of
from profiles.store.pair_rules import text_fault
from profiles.store.table import FLAG, Stored, Table
from tokmem_desk.errors import BadInputError, NotFoundError, UsageError
from tokmem_desk.procedures import NONE_ROUTE

_SELECT = """
    SELECT c.*, coalesce(wrong.name, c.wrong_route) AS wrong_now, coalesce(correct.name, :none) AS right_now
    FROM corrections c
    LEFT JOIN procedures wrong ON wrong.id = c.wrong_procedure_id
    LEFT JOIN procedures correct ON correct.id = c.right_procedure_id
"""


@dataclass(frozen=True, slots=True)
class CorrectionRecord:
    """A person's verdict: this text belongs to ``right_route``, not to ``wrong_route``."""

    id: int
    text: str
    wrong_route: Annotated[str, Stored("wrong_now", computed=True)]
    right_route: Annotated[str, Stored("right_now", computed=True)]
    message_id: int | None
    active: Annotated[bool, FLAG]
    created: str


CORRECTIONS = Table("corrections", CorrectionRecord)


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
            correction_id = insert_correction(connection, text, wrong_route, wrong_id, right_id, message_id)
            bump_revision(connection)
        return correction_id

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
        return [CORRECTIONS.record(row) for row in rows]


def insert_correction(
    connection: sqlite3.Connection,
    text: str,
    wrong_name: str,
    wrong_id: int | None,
    right_id: int | None,
    message_id: int | None = None,
) -> int:
    """Insert an active correction inside the caller's transaction.

    Args:
        connection: in a transaction.
        text: the message.
        wrong_name: the route it got, by the name it had then.
        wrong_id: that procedure; None for none, or for one that is gone.
        right_id: the procedure it should have got; None for none.
        message_id: the answer that showed it.

    Returns:
        The correction's id.
    """
    # The record reads both routes by the procedures' present names, so here they are columns.
    cursor = connection.execute(
        """
        INSERT INTO corrections (text, wrong_route, wrong_procedure_id, right_procedure_id, message_id, active, created)
        VALUES (?, ?, ?, ?, ?, 1, ?)
        """,
        (text, wrong_name, wrong_id, right_id, message_id, now()),
    )
    return int(cursor.lastrowid or 0)
