"""Profile, step 11: what plain chat is told before a conversation; empty: what the whole profile says.

The profile's own text is the entry ``system_prompt`` of ``meta``.
"""

from __future__ import annotations

STATEMENTS = ("ALTER TABLE conversations ADD COLUMN system_prompt TEXT NOT NULL DEFAULT ''",)
