"""Profile, step 14: what the holder of a token may do. Tokens from before have messages answered and teach nothing."""

from __future__ import annotations

STATEMENTS = ("ALTER TABLE tokens ADD COLUMN scope TEXT NOT NULL DEFAULT 'ask'",)
