"""Profile, step 4: the form of a procedure's answers, what it reads, its command."""

from __future__ import annotations

STATEMENTS = (
    # A JSON schema, or NULL.
    "ALTER TABLE procedures ADD COLUMN output_schema TEXT",
    """
    ALTER TABLE procedures ADD COLUMN
        reads_conversation INTEGER NOT NULL DEFAULT 0 CHECK (reads_conversation IN (0, 1))
    """,
    # Apart from the procedures, and no part of an undo: neither a command nor a consent may come back by itself.
    """
    CREATE TABLE commands (
        procedure_id INTEGER PRIMARY KEY REFERENCES procedures (id) ON DELETE CASCADE,
        -- JSON list: the program and its arguments, with slots.
        template TEXT NOT NULL,
        -- What the person allowed to run unasked (a digest), or NULL: ask each time.
        allowed TEXT,
        created TEXT NOT NULL
    )
    """,
)
