"""Noting versions of a procedure: called at the end of every change to pairs, description, form, command or memory.

Changes by hand that follow one another closely are one version, or the list would be as long as the work. Pairs are
kept once, with the versions from which and to which they stood so: what a version costs is what changed in it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Literal

from profiles.store.base import Row, now

VersionKind = Literal["begin", "by_hand", "edit", "many", "memory", "back"]
"""Added with pairs; added without, to be written by hand; changed by hand; many pairs at once; another memory answers;
gone back to an earlier version."""

VERSIONED_COLUMNS = frozenset({"description", "pattern", "output_schema", "reads_conversation"})
"""Columns of ``procedures`` that ``versions`` keeps too, and whose change by hand is a version."""

PAIR_COLUMNS = ("part", "input", "response", "other_answers", "source", "created")
"""Columns of ``pairs`` that ``version_pairs`` keeps too."""

FOLD = timedelta(minutes=10)
"""Changes by hand within this time of one another are one version."""

_FOLDED = "several changes by hand"


def note_version(connection: sqlite3.Connection, procedure_id: int, kind: VersionKind, text: str) -> None:
    """Note the present state of a procedure, at the end of the transaction that changed it."""
    last = newest_version(connection, procedure_id)
    moment = now()
    number, created = 1, moment
    if last is not None and _folds(last, kind, moment):
        # What a procedure begins with by hand is its first version.
        number, created, kind = last["number"], last["created"], last["kind"]
        text = last["text"] if kind == "by_hand" else _FOLDED
    elif last is not None:
        number = last["number"] + 1
    columns = ", ".join(sorted(VERSIONED_COLUMNS))
    connection.execute(
        f"""
        INSERT OR REPLACE INTO versions (procedure_id, number, kind, text, created, updated, pairs_digest, pair_count,
            held_out_count, memories, command, {columns})
        SELECT id, ?, ?, ?, ?, ?, pairs_digest,
            (SELECT count(*) FROM pairs WHERE procedure_id = p.id AND part = 'train'),
            (SELECT count(*) FROM pairs WHERE procedure_id = p.id AND part = 'held_out'),
            (SELECT json_group_object(backbone_fingerprint, id) FROM memories
                WHERE procedure_id = p.id AND status = 'active'),
            (SELECT template FROM commands WHERE procedure_id = p.id),
            {columns}
        FROM procedures p WHERE id = ?
        """,
        (number, kind, text, created, moment, procedure_id),
    )
    gone = """
        procedure_id = ? AND until IS NULL AND NOT EXISTS (
            SELECT 1 FROM pairs p WHERE p.id = pair_id AND p.part = version_pairs.part
                AND p.input = version_pairs.input AND p.response = version_pairs.response
                AND p.other_answers = version_pairs.other_answers)
    """
    # What stood in no version but this one was never part of a version at all.
    connection.execute(f"DELETE FROM version_pairs WHERE since = ? AND {gone}", (number, procedure_id))
    connection.execute(f"UPDATE version_pairs SET until = ? WHERE {gone}", (number, procedure_id))
    columns = ", ".join(PAIR_COLUMNS)
    connection.execute(
        f"""
        INSERT INTO version_pairs (procedure_id, pair_id, since, {columns})
        SELECT procedure_id, id, ?, {columns} FROM pairs p
        WHERE procedure_id = ?
            AND NOT EXISTS (SELECT 1 FROM version_pairs WHERE pair_id = p.id AND until IS NULL)
        ORDER BY id
        """,
        (number, procedure_id),
    )


def forget_past_versions(connection: sqlite3.Connection, procedure_id: int) -> int:
    """Delete the versions of a procedure but the newest; returns how many went."""
    newest = newest_version(connection, procedure_id)
    if newest is None:
        return 0
    where, key = "procedure_id = ? AND", (procedure_id, newest["number"])
    connection.execute(f"DELETE FROM version_pairs WHERE {where} until <= ?", key)
    return connection.execute(f"DELETE FROM versions WHERE {where} number < ?", key).rowcount


def forget_removed(connection: sqlite3.Connection, kept: Iterable[int]) -> None:
    """Delete the versions of procedures that are gone; ``kept`` are the ids of those that an undo can bring back."""
    ids = json.dumps(list(kept))
    for table in ("versions", "version_pairs"):
        connection.execute(
            f"""
            DELETE FROM {table} WHERE procedure_id NOT IN (SELECT id FROM procedures)
                AND procedure_id NOT IN (SELECT value FROM json_each(?))
            """,
            (ids,),
        )


def newest_version(connection: sqlite3.Connection, procedure_id: int) -> Row | None:
    """The present version's row; None before the first was noted."""
    row: Row | None = connection.execute(
        "SELECT * FROM versions WHERE procedure_id = ? ORDER BY number DESC LIMIT 1", (procedure_id,)
    ).fetchone()
    return row


def _folds(last: Row, kind: VersionKind, moment: str) -> bool:
    """Whether a change goes into the version before it."""
    if kind != "edit" or datetime.fromisoformat(moment) - datetime.fromisoformat(last["updated"]) > FOLD:
        return False
    return last["kind"] in ("edit", "by_hand")
