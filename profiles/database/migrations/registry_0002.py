"""Registry, step 2: tokens with which other programs reach one profile through ``serve``."""

from __future__ import annotations

STATEMENTS = (
    """
    CREATE TABLE tokens (
        name TEXT PRIMARY KEY,
        -- Locking a profile gives it another id; its tokens go along.
        profile_id TEXT NOT NULL REFERENCES profiles (id) ON DELETE CASCADE ON UPDATE CASCADE,
        -- SHA-256 of the token; the token itself is shown once and kept nowhere.
        digest TEXT NOT NULL UNIQUE,
        created TEXT NOT NULL,
        last_used TEXT
    )
    """,
)
