"""Profile, step 13: plans, and what came of each run of one.

The steps of a plan name procedures; ``step_uuids`` says which were meant, so that renaming changes nothing.
"""

from __future__ import annotations

STATEMENTS = (
    # NULL: no plan. Empty: a plan whose answers are its steps.
    "ALTER TABLE procedures ADD COLUMN steps TEXT",
    # JSON: the UUID of each procedure that the steps name.
    "ALTER TABLE procedures ADD COLUMN step_uuids TEXT NOT NULL DEFAULT '{}'",
    """
    CREATE TABLE plan_runs (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        key TEXT NOT NULL UNIQUE,
        plan TEXT NOT NULL,
        message TEXT NOT NULL,
        -- The question in a conversation; NULL where it was asked outside of one.
        question_id INTEGER REFERENCES messages (id) ON DELETE CASCADE,
        -- JSON: the steps of all plans that may be called, and the day, as they were at the beginning.
        task TEXT NOT NULL,
        -- JSON: what came of each step, by its place.
        answers TEXT NOT NULL,
        status TEXT NOT NULL CHECK (status IN ('running', 'waiting', 'done', 'stopped', 'failed')),
        words TEXT NOT NULL,
        created TEXT NOT NULL,
        updated TEXT NOT NULL
    )
    """,
    "CREATE INDEX plan_runs_of_question ON plan_runs (question_id)",
)
