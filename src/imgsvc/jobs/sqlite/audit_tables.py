"""The tables of the audit log: rows come, and go when they are old enough, but never change."""

AUDIT_TABLES = (
    """
    CREATE TABLE audit (
        number INTEGER PRIMARY KEY AUTOINCREMENT,  -- a gap tells that a row is missing
        at REAL NOT NULL,
        actor TEXT NOT NULL,
        proof TEXT NOT NULL,
        key_id TEXT,
        address TEXT,
        request_id TEXT,
        action TEXT NOT NULL,
        target TEXT,  -- id of a job or key
        outcome TEXT NOT NULL,  -- done, or the code of an error
        details TEXT NOT NULL
    )
    """,
    "CREATE INDEX audit_by_time ON audit (at)",
    "CREATE INDEX audit_by_actor ON audit (actor, at)",
    "CREATE INDEX audit_by_actor_and_action ON audit (actor, action, at)",
    "CREATE INDEX audit_by_action ON audit (action, at)",
    "CREATE INDEX audit_by_target ON audit (target, at) WHERE target IS NOT NULL",
    "CREATE TABLE audit_horizon (at REAL NOT NULL)",  # one row: what is older may go
    "INSERT INTO audit_horizon VALUES (0)",
    """
    CREATE TRIGGER audit_unchanged BEFORE UPDATE ON audit BEGIN
        SELECT RAISE(ABORT, 'rows of the audit log are never changed');
    END
    """,
    # INSERT OR REPLACE removes a row without asking the trigger for DELETE.
    """
    CREATE TRIGGER audit_unreplaced BEFORE INSERT ON audit
    WHEN EXISTS (SELECT 1 FROM audit WHERE number = NEW.number) BEGIN
        SELECT RAISE(ABORT, 'rows of the audit log are never changed');
    END
    """,
    """
    CREATE TRIGGER audit_kept BEFORE DELETE ON audit
    WHEN OLD.at >= coalesce((SELECT at FROM audit_horizon), 0) BEGIN
        SELECT RAISE(ABORT, 'rows of the audit log are kept until the retention has passed');
    END
    """,
)

REFUSAL_INDEX = "CREATE INDEX audit_by_refusal ON audit (outcome, at) WHERE outcome <> 'done'"
