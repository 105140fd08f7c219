"""Deletes copies of pairs that were removed, wherever the profile keeps some.

A memory keeps the pairs it was made from and a scorecard with samples; a job keeps samples of its training. Knows the
tables' columns, and of a scorecard and a progress no more than their ``samples``.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable


def forget_quotes(connection: sqlite3.Connection, procedure_ids: Iterable[int]) -> None:
    """Delete every quote of pairs that these procedures do not have any more."""
    for key in procedure_ids:
        connection.execute(
            """
            DELETE FROM memory_pairs WHERE memory_id IN (SELECT id FROM memories WHERE procedure_id = ?)
                AND (input, response) NOT IN (SELECT input, response FROM pairs WHERE procedure_id = ?)
            """,
            (key, key),
        )
        rows = connection.execute("SELECT input, response FROM pairs WHERE procedure_id = ?", (key,))
        present = {(row["input"], row["response"]) for row in rows}
        for table, column in (("memories", "scorecard"), ("jobs", "progress")):
            kept = connection.execute(
                f"SELECT id, {column} AS text FROM {table} WHERE procedure_id = ? AND {column} LIKE '%\"samples\"%'",
                (key,),
            ).fetchall()
            for row in kept:
                document = json.loads(row["text"])
                samples = [one for one in document["samples"] if (one["input"], one["expected"]) in present]
                if len(samples) < len(document["samples"]):
                    connection.execute(
                        f"UPDATE {table} SET {column} = ? WHERE id = ?",
                        (json.dumps({**document, "samples": samples}), row["id"]),
                    )


def forget_lost_jobs(connection: sqlite3.Connection, kept: Iterable[int]) -> None:
    """Delete jobs of procedures that are gone; ``kept`` are the ids of those that an undo can bring back."""
    connection.execute(
        """
        DELETE FROM jobs WHERE procedure_id NOT IN (SELECT id FROM procedures)
            AND procedure_id NOT IN (SELECT value FROM json_each(?))
        """,
        (json.dumps(list(kept)),),
    )
