"""Profile, step 7: a job is the training of one procedure and has a place in a queue."""

from __future__ import annotations

STATEMENTS = (
    """
    CREATE TABLE queue (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        -- No REFERENCES: an undo brings a removed procedure back, and its job with it.
        procedure_id INTEGER NOT NULL,
        state TEXT NOT NULL
            CHECK (state IN ('queued', 'running', 'paused', 'undecided', 'done', 'failed', 'cancelled')),
        position INTEGER NOT NULL,
        breaks INTEGER NOT NULL DEFAULT 0,
        request TEXT NOT NULL,
        progress TEXT,
        error TEXT,
        memory_id TEXT,
        created TEXT NOT NULL,
        updated TEXT NOT NULL
    )
    """,
    # What was broken off waits to be resumed; of what has ended nothing reads the rows any more.
    """
    INSERT INTO queue (procedure_id, state, position, request, created, updated)
    SELECT p.id, 'paused', row_number() OVER (ORDER BY max(j.id), n.key), j.request, j.created, j.updated
    FROM jobs j, json_each(j.request, '$.names') n JOIN procedures p ON p.name = n.value
    WHERE j.kind = 'train' AND j.state IN ('queued', 'running', 'paused')
    GROUP BY p.id
    """,
    "UPDATE queue SET request = json_remove(request, '$.names')",
    "DROP TABLE jobs",
    "ALTER TABLE queue RENAME TO jobs",
    "CREATE INDEX jobs_by_state ON jobs (state, position)",
)
