"""Profile, step 5: what the router needs of each memory, beside the rows that name the files."""

from __future__ import annotations

STATEMENTS = (
    """
    CREATE TABLE router_rows (
        memory_id TEXT PRIMARY KEY REFERENCES memories (id) ON DELETE CASCADE,
        digest TEXT NOT NULL,
        file_bytes INTEGER NOT NULL,
        file_time INTEGER NOT NULL,
        tied INTEGER NOT NULL CHECK (tied IN (0, 1)),
        inputs INTEGER NOT NULL,
        scatter REAL NOT NULL,
        mean BLOB NOT NULL,
        sketch BLOB NOT NULL,
        address BLOB NOT NULL
    )
    """,
)
