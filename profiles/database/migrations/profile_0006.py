"""Profile, step 6: versions keep the form of answers, what is read, and the command."""

from __future__ import annotations

STATEMENTS = (
    "ALTER TABLE versions ADD COLUMN output_schema TEXT",
    "ALTER TABLE versions ADD COLUMN reads_conversation INTEGER NOT NULL DEFAULT 0",
    # JSON list, or NULL.
    "ALTER TABLE versions ADD COLUMN command TEXT",
    # What earlier versions had is not known: going back to them leaves these as they are now.
    """
    UPDATE versions SET
        output_schema = (SELECT p.output_schema FROM procedures p WHERE p.id = procedure_id),
        reads_conversation =
            coalesce((SELECT p.reads_conversation FROM procedures p WHERE p.id = procedure_id), 0),
        command = (SELECT c.template FROM commands c WHERE c.procedure_id = versions.procedure_id)
    """,
)
