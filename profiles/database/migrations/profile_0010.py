"""Profile, step 10: which of its pairs a memory learned, and which were held out to measure it."""

from __future__ import annotations

STATEMENTS = (
    # 1: learned; 0: not learned; NULL: not known, since the memory is older than this column.
    "ALTER TABLE memory_pairs ADD COLUMN learned INTEGER CHECK (learned IN (0, 1))",
)
