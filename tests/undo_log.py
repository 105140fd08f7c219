"""What stands in a profile's undo log, for tests that look without taking anything back."""

from __future__ import annotations

from profiles.store.store import ProfileStore


def newest_undo(store: ProfileStore) -> str | None:
    """What the next undo would take back, None where there is nothing."""
    rows = store.rows("SELECT text FROM undo_log ORDER BY id DESC LIMIT 1")
    return str(rows[0]["text"]) if rows else None
