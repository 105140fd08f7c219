"""Profile, step 12: which procedure goes on with an answer.

The UUID, not the id: a procedure that is removed and brought back by undo is the next step again.
"""

from __future__ import annotations

STATEMENTS = ("ALTER TABLE procedures ADD COLUMN then_uuid TEXT NOT NULL DEFAULT ''",)
