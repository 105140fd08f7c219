"""Registry, step 3: what must not come back with an older copy of a profile: that it is locked, which consents hold."""

from __future__ import annotations

STATEMENTS = (
    # NULL: not looked at yet (``ProfileRegistry`` does so when it is opened).
    "ALTER TABLE profiles ADD COLUMN locked INTEGER CHECK (locked IN (0, 1))",
    "ALTER TABLE profiles ADD COLUMN consent_epoch INTEGER NOT NULL DEFAULT 0",
    # HMAC over the count and all consents; NULL: none was ever given.
    "ALTER TABLE profiles ADD COLUMN consent_seal TEXT",
)
