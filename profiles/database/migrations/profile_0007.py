"""Profile, steps 1 to 7 in one: the tables as tokmem-desk 0.1.0 made them.

Older databases were never released; they are refused.
"""

from __future__ import annotations

STATEMENTS = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID",
    "INSERT INTO meta VALUES ('revision', 0), ('name', '')",
    # Ids are never reused (AUTOINCREMENT): an undo may bring a row back under its old one.
    """
    CREATE TABLE procedures (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        uuid TEXT NOT NULL UNIQUE,
        name TEXT NOT NULL UNIQUE,
        description TEXT NOT NULL,
        pattern TEXT,
        source TEXT NOT NULL,
        enabled INTEGER NOT NULL CHECK (enabled IN (0, 1)),
        threshold REAL CHECK (threshold BETWEEN 0 AND 1),
        version INTEGER NOT NULL,
        -- Of the train pairs, kept here so that "what needs training" is one comparison per procedure.
        pairs_digest TEXT NOT NULL,
        created TEXT NOT NULL,
        updated TEXT NOT NULL,
        group_name TEXT NOT NULL DEFAULT '',
        -- A JSON schema, or NULL.
        output_schema TEXT,
        reads_conversation INTEGER NOT NULL DEFAULT 0 CHECK (reads_conversation IN (0, 1))
    )
    """,
    """
    CREATE TABLE pairs (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        procedure_id INTEGER NOT NULL REFERENCES procedures (id) ON DELETE CASCADE,
        part TEXT NOT NULL CHECK (part IN ('train', 'held_out')),
        input TEXT NOT NULL,
        response TEXT NOT NULL,
        other_answers TEXT NOT NULL,
        source TEXT NOT NULL,
        created TEXT NOT NULL,
        -- The answer that it came from, or NULL.
        message_id INTEGER REFERENCES messages (id) ON DELETE SET NULL
    )
    """,
    "CREATE INDEX pairs_of_procedure ON pairs (procedure_id, part, id)",
    "CREATE INDEX pairs_message ON pairs (message_id)",
    """
    CREATE TABLE memories (
        id TEXT PRIMARY KEY,
        procedure_id INTEGER NOT NULL REFERENCES procedures (id) ON DELETE CASCADE,
        backbone_fingerprint TEXT NOT NULL,
        file TEXT NOT NULL UNIQUE,
        status TEXT NOT NULL CHECK (status IN ('candidate', 'active', 'archived')),
        version INTEGER NOT NULL,
        pair_count INTEGER NOT NULL,
        pairs_digest TEXT NOT NULL,
        settings TEXT NOT NULL,
        scorecard TEXT NOT NULL,
        created TEXT NOT NULL,
        UNIQUE (procedure_id, version)
    )
    """,
    """
    CREATE UNIQUE INDEX one_active_memory ON memories (procedure_id, backbone_fingerprint) WHERE status = 'active'
    """,
    "CREATE INDEX memories_of_backbone ON memories (backbone_fingerprint, status)",
    """
    CREATE TABLE memory_pairs (
        memory_id TEXT NOT NULL REFERENCES memories (id) ON DELETE CASCADE,
        position INTEGER NOT NULL,
        input TEXT NOT NULL,
        response TEXT NOT NULL,
        PRIMARY KEY (memory_id, position)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE conversations (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        title TEXT NOT NULL,
        created TEXT NOT NULL,
        updated TEXT NOT NULL
    )
    """,
    "CREATE INDEX conversations_by_use ON conversations (updated)",
    """
    CREATE TABLE messages (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        conversation_id INTEGER NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
        role TEXT NOT NULL CHECK (role IN ('user', 'assistant')),
        content TEXT NOT NULL,
        status TEXT NOT NULL CHECK (status IN ('complete', 'stopped', 'failed')),
        created TEXT NOT NULL,
        route TEXT,
        probability REAL,
        candidates TEXT,
        timing TEXT,
        -- JSON: how the answer was made, as far as nobody searches it.
        details TEXT,
        rating TEXT CHECK (rating IN ('good', 'bad'))
    )
    """,
    "CREATE INDEX messages_of_conversation ON messages (conversation_id, id)",
    """
    CREATE VIRTUAL TABLE messages_fts USING fts5 (
        content, content = 'messages', content_rowid = 'id', tokenize = 'unicode61 remove_diacritics 2'
    )
    """,
    """
    CREATE TRIGGER messages_fts_added AFTER INSERT ON messages BEGIN
        INSERT INTO messages_fts (rowid, content) VALUES (new.id, new.content);
    END
    """,
    """
    CREATE TRIGGER messages_fts_removed AFTER DELETE ON messages BEGIN
        INSERT INTO messages_fts (messages_fts, rowid, content) VALUES ('delete', old.id, old.content);
    END
    """,
    """
    CREATE TRIGGER messages_fts_changed AFTER UPDATE OF content ON messages BEGIN
        INSERT INTO messages_fts (messages_fts, rowid, content) VALUES ('delete', old.id, old.content);
        INSERT INTO messages_fts (rowid, content) VALUES (new.id, new.content);
    END
    """,
    # A route is a procedure's id, so that renaming keeps the correction; NULL stands for none. The wrong procedure
    # may go and the correction stays (with the name it had); without the right one it means nothing.
    """
    CREATE TABLE corrections (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        text TEXT NOT NULL,
        wrong_route TEXT NOT NULL,
        wrong_procedure_id INTEGER REFERENCES procedures (id) ON DELETE SET NULL,
        right_procedure_id INTEGER REFERENCES procedures (id) ON DELETE CASCADE,
        message_id INTEGER REFERENCES messages (id) ON DELETE SET NULL,
        active INTEGER NOT NULL CHECK (active IN (0, 1)),
        created TEXT NOT NULL
    )
    """,
    "CREATE INDEX corrections_right ON corrections (right_procedure_id)",
    "CREATE INDEX corrections_wrong ON corrections (wrong_procedure_id)",
    "CREATE INDEX corrections_message ON corrections (message_id)",
    """
    CREATE TABLE jobs (
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
    "CREATE INDEX jobs_by_state ON jobs (state, position)",
    """
    CREATE TABLE undo_log (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        text TEXT NOT NULL,
        created TEXT NOT NULL,
        -- JSON {table: [key, ...]} to delete and {table: [row, ...]} to put back.
        remove TEXT NOT NULL,
        restore TEXT NOT NULL
    )
    """,
    # No foreign keys to procedures here: a removed procedure keeps its versions for as long as an undo can bring it
    # back. What no undo can bring back is deleted by Garbage.collect and UndoLog.forget.
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
        output_schema TEXT,
        reads_conversation INTEGER NOT NULL DEFAULT 0,
        -- JSON list, or NULL.
        command TEXT,
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
    # Apart from the procedures: neither a command nor a consent may come back by itself.
    """
    CREATE TABLE commands (
        procedure_id INTEGER PRIMARY KEY REFERENCES procedures (id) ON DELETE CASCADE,
        -- JSON list: the program and its arguments, with slots.
        template TEXT NOT NULL,
        -- What the person allowed to run unasked (a digest), or NULL: ask each time.
        allowed TEXT,
        created TEXT NOT NULL
    )
    """,
    """
    CREATE TABLE router_rows (
        memory_id TEXT PRIMARY KEY REFERENCES memories (id) ON DELETE CASCADE,
        digest TEXT NOT NULL,
        file_bytes INTEGER NOT NULL,
        file_time INTEGER NOT NULL,
        tied INTEGER NOT NULL CHECK (tied IN (0, 1)),
        inputs INTEGER NOT NULL,
        scatter REAL NOT NULL,
        mean BLOB NOT NULL,
        sketch BLOB NOT NULL,
        address BLOB NOT NULL
    )
    """,
)
