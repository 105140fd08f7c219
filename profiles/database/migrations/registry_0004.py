"""Registry, step 4: of tokens, what tells in which profile to look; ``tokens`` is emptied as they move there."""

from __future__ import annotations

STATEMENTS = (
    """
    CREATE TABLE token_hints (
        -- The first digits of the digest: enough to look in one profile, too little to make a token from.
        hint TEXT NOT NULL,
        profile_id TEXT NOT NULL REFERENCES profiles (id) ON DELETE CASCADE ON UPDATE CASCADE,
        PRIMARY KEY (hint, profile_id)
    ) WITHOUT ROWID
    """,
)
