"""Profile, step 15: what finding habits keeps: vectors, which go with their message, and what was turned down."""

from __future__ import annotations

STATEMENTS = (
    """
    CREATE TABLE message_vectors (
        message_id INTEGER PRIMARY KEY REFERENCES messages (id) ON DELETE CASCADE,
        -- Of the model and its router's space; vectors of another one are worth nothing.
        space TEXT NOT NULL,
        -- float16, little-endian.
        vector BLOB NOT NULL
    )
    """,
    """
    CREATE TRIGGER message_vectors_changed AFTER UPDATE OF content ON messages BEGIN
        DELETE FROM message_vectors WHERE message_id = old.id;
    END
    """,
    """
    CREATE TABLE dismissed_habits (
        message_id INTEGER PRIMARY KEY REFERENCES messages (id) ON DELETE CASCADE
    )
    """,
)
