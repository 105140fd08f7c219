"""Profile, step 16: which verdicts on answers a memory was made from, so that they are not counted again."""

from __future__ import annotations

STATEMENTS = (
    """
    CREATE TABLE memory_verdicts (
        memory_id TEXT NOT NULL REFERENCES memories (id) ON DELETE CASCADE,
        -- Of message and answers, as profiles.store.verdicts makes it.
        digest TEXT NOT NULL,
        PRIMARY KEY (memory_id, digest)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX messages_rated ON messages (rating) WHERE rating IS NOT NULL",
)
