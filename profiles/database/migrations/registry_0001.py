"""Registry, step 1: the profiles of this machine and which one is active."""

from __future__ import annotations

STATEMENTS = (
    """
    CREATE TABLE profiles (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        created TEXT NOT NULL,
        last_used TEXT NOT NULL,
        active INTEGER NOT NULL DEFAULT 0 CHECK (active IN (0, 1)),
        -- Set before the folder goes, so that a deletion cut short is finished at the next start.
        deleting INTEGER NOT NULL DEFAULT 0 CHECK (deleting IN (0, 1))
    )
    """,
    "CREATE UNIQUE INDEX one_active_profile ON profiles (active) WHERE active = 1",
)
