"""Profile, step 2: groups of procedures; versions of a procedure that can be compared and gone back to."""

from __future__ import annotations

STATEMENTS = (
    "ALTER TABLE procedures ADD COLUMN group_name TEXT NOT NULL DEFAULT ''",
    # No foreign keys to procedures here: a removed procedure keeps its versions for as long as an undo can bring it
    # back. What no undo can bring back is deleted by collect_garbage and forget_undo.
    """
    CREATE TABLE versions (
        procedure_id INTEGER NOT NULL,
        number INTEGER NOT NULL,
        kind TEXT NOT NULL,
        text TEXT NOT NULL,
        description TEXT NOT NULL,
        pattern TEXT,
        pairs_digest TEXT NOT NULL,
        pair_count INTEGER NOT NULL,
        held_out_count INTEGER NOT NULL,
        -- JSON {backbone fingerprint: id of the memory that answered}.
        memories TEXT NOT NULL,
        created TEXT NOT NULL,
        updated TEXT NOT NULL,
        PRIMARY KEY (procedure_id, number)
    ) WITHOUT ROWID
    """,
    # A pair as it stood from version ``since`` to the one before ``until``; NULL: it stands so now.
    """
    CREATE TABLE version_pairs (
        procedure_id INTEGER NOT NULL,
        pair_id INTEGER NOT NULL,
        since INTEGER NOT NULL,
        until INTEGER,
        part TEXT NOT NULL,
        input TEXT NOT NULL,
        response TEXT NOT NULL,
        other_answers TEXT NOT NULL,
        source TEXT NOT NULL,
        created TEXT NOT NULL
    )
    """,
    "CREATE INDEX version_pairs_of_procedure ON version_pairs (procedure_id, since)",
    "CREATE UNIQUE INDEX version_pairs_present ON version_pairs (pair_id) WHERE until IS NULL",
    """
    INSERT INTO versions
    SELECT p.id, 1, 'begin', 'as it was when versions began', p.description, p.pattern, p.pairs_digest,
        (SELECT count(*) FROM pairs WHERE procedure_id = p.id AND part = 'train'),
        (SELECT count(*) FROM pairs WHERE procedure_id = p.id AND part = 'held_out'),
        (SELECT json_group_object(m.backbone_fingerprint, m.id) FROM memories m
            WHERE m.procedure_id = p.id AND m.status = 'active'),
        p.updated, p.updated
    FROM procedures p
    """,
    """
    INSERT INTO version_pairs
    SELECT procedure_id, id, 1, NULL, part, input, response, other_answers, source, created FROM pairs
    """,
)
