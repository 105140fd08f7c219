"""Profile, step 9: tokens of ``serve`` lie in the profile that they open, under its lock where it has one."""

from __future__ import annotations

STATEMENTS = (
    """
    CREATE TABLE tokens (
        name TEXT PRIMARY KEY,
        -- SHA-256 of the token; the token itself is shown once and kept nowhere.
        digest TEXT NOT NULL UNIQUE,
        created TEXT NOT NULL,
        last_used TEXT
    )
    """,
)
