"""Profile, step 8: changes of consents are counted, so that an older copy of the database is known as one."""

from __future__ import annotations

_COUNT = "UPDATE meta SET value = value + 1 WHERE key = 'consent_epoch'"

STATEMENTS = (
    # Why a consent that stands here was not honoured, or NULL.
    "ALTER TABLE commands ADD COLUMN withheld TEXT",
    "INSERT INTO meta VALUES ('consent_epoch', 0)",
    # In triggers, since a consent also goes with its procedure, with an undo, with a version, with an import.
    f"""
    CREATE TRIGGER consent_changed AFTER UPDATE OF allowed ON commands WHEN old.allowed IS NOT new.allowed BEGIN
        {_COUNT};
    END
    """,
    f"""
    CREATE TRIGGER consent_gone AFTER DELETE ON commands WHEN old.allowed IS NOT NULL BEGIN
        {_COUNT};
    END
    """,
    f"""
    CREATE TRIGGER consent_given AFTER INSERT ON commands WHEN new.allowed IS NOT NULL BEGIN
        {_COUNT};
    END
    """,
)
