"""Profile, step 3: what an answer came with, what the person thought of it, and which pairs came from it."""

from __future__ import annotations

STATEMENTS = (
    # JSON: how the answer was made, as far as nobody searches it.
    "ALTER TABLE messages ADD COLUMN details TEXT",
    "ALTER TABLE messages ADD COLUMN rating TEXT CHECK (rating IN ('good', 'bad'))",
    "ALTER TABLE pairs ADD COLUMN message_id INTEGER REFERENCES messages (id) ON DELETE SET NULL",
    "CREATE INDEX pairs_message ON pairs (message_id)",
)
