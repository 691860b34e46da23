"""The tables of the record, and the steps from each version to the next."""

import sqlite3

from imgsvc.errors import ConfigurationError
from imgsvc.jobs.sqlite.audit_tables import AUDIT_TABLES, REFUSAL_INDEX

# Times are seconds since 1970, with fractions; money is in nano-dollars. Specifications, blobs,
# outcomes and the data of events are JSON documents.
_JOBS = """
CREATE TABLE jobs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,  -- the order of arrival
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 0,
    interruptions INTEGER NOT NULL DEFAULT 0,  -- attempts that ended with an orderly stop
    spec TEXT NOT NULL,
    client TEXT NOT NULL,
    priority INTEGER NOT NULL,
    callback_url TEXT,
    callback_host TEXT,  -- host and port: how much goes to one at a time is limited
    request_id TEXT NOT NULL,
    webhook_id TEXT NOT NULL,
    idempotency_key TEXT,
    digest TEXT NOT NULL,
    retry_of TEXT,
    accepted_at REAL NOT NULL,
    started_at REAL,
    finished_at REAL,
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    outcome TEXT,
    callback_body TEXT,
    callback_state TEXT NOT NULL DEFAULT 'none',
    callback_attempts INTEGER NOT NULL DEFAULT 0,
    next_attempt_at REAL
)
"""

_INDEXES = (
    "CREATE INDEX jobs_waiting ON jobs (priority, client, seq) WHERE state = 'queued'",
    "CREATE INDEX jobs_by_state ON jobs (state, seq)",
    "CREATE INDEX jobs_by_kind ON jobs (kind, seq)",
    "CREATE INDEX jobs_by_callback ON jobs (callback_state, seq)",
    "CREATE INDEX jobs_by_end ON jobs (finished_at) WHERE finished_at IS NOT NULL",
    "CREATE INDEX jobs_by_arrival ON jobs (accepted_at)",
    """
    CREATE INDEX callbacks_due ON jobs (next_attempt_at, callback_host, id)
    WHERE callback_state = 'pending'
    """,
    """
    CREATE UNIQUE INDEX jobs_by_idempotency_key ON jobs (client, idempotency_key)
    WHERE idempotency_key IS NOT NULL
    """,
)

_BLOBS = """
CREATE TABLE blobs (
    key TEXT PRIMARY KEY,
    job INTEGER NOT NULL  -- its seq
) WITHOUT ROWID
"""

_EVENTS = """
CREATE TABLE events (
    job INTEGER, -- its seq
    number INTEGER,  -- from 1 in each job
    type TEXT NOT NULL,
    at REAL NOT NULL,
    data TEXT NOT NULL,
    PRIMARY KEY (job, number)
) WITHOUT ROWID
"""

_ATTEMPTS = """
CREATE TABLE attempts (
    job INTEGER,  -- its seq
    number INTEGER,  -- from 1 in each job
    at REAL NOT NULL,
    duration REAL NOT NULL,
    verdict TEXT NOT NULL,
    status INTEGER,
    error TEXT,
    answer TEXT NOT NULL,
    PRIMARY KEY (job, number)
) WITHOUT ROWID
"""

# What a job has spent is in its row too: a large batch has very many calls to add up.
_SPENT_BY_JOBS = (
    "ALTER TABLE jobs ADD COLUMN calls INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE jobs ADD COLUMN cost INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE jobs ADD COLUMN held INTEGER NOT NULL DEFAULT 0",  # as in `usage_days`
    "ALTER TABLE jobs ADD COLUMN unknown_calls INTEGER NOT NULL DEFAULT 0",
)

_CALLS = """
CREATE TABLE calls (
    id TEXT PRIMARY KEY,
    job INTEGER NOT NULL,  -- its seq
    day TEXT NOT NULL,  -- that pays, YYYY-MM-DD in UTC
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    started REAL NOT NULL,
    state TEXT NOT NULL,  -- reserved, settled or unknown
    estimate INTEGER NOT NULL,
    cost INTEGER,  -- NULL unless it is settled
    images INTEGER NOT NULL DEFAULT 0,
    text_tokens INTEGER NOT NULL DEFAULT 0,
    image_tokens INTEGER NOT NULL DEFAULT 0,
    output_tokens INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID
"""

# Outlives the jobs.
_USAGE_DAYS = """
CREATE TABLE usage_days (
    day TEXT,
    client TEXT,
    provider TEXT,
    model TEXT,
    calls INTEGER NOT NULL DEFAULT 0,
    images INTEGER NOT NULL DEFAULT 0,
    text_tokens INTEGER NOT NULL DEFAULT 0,
    image_tokens INTEGER NOT NULL DEFAULT 0,
    output_tokens INTEGER NOT NULL DEFAULT 0,
    cost INTEGER NOT NULL DEFAULT 0,
    held INTEGER NOT NULL DEFAULT 0,  -- for calls under way, and for those of unknown cost
    unknown_calls INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (day, client, provider, model)
) WITHOUT ROWID
"""

# What all clients have spent, because there may be very many of them to add up.
_DAYS = """
CREATE TABLE days (
    day TEXT PRIMARY KEY,
    spent INTEGER NOT NULL  -- cost and what is held
) WITHOUT ROWID
"""

# Keys of objects are bytes: a file's name need not be UTF-8.
_BATCHES = """
CREATE TABLE batches (
    job INTEGER PRIMARY KEY,  -- its seq
    folder TEXT NOT NULL,  -- id of the job in whose output folder the results are
    last_key BLOB,  -- the listing goes on behind it
    is_listed INTEGER NOT NULL DEFAULT 0,  -- whether that is all
    got_on INTEGER NOT NULL DEFAULT 0  -- whether the newest attempt has listed or ended anything
)
"""

_ITEMS = """
CREATE TABLE items (
    job INTEGER,  -- its seq
    number INTEGER,  -- from 1 in each job, in the order of the listing
    key BLOB NOT NULL,
    size INTEGER NOT NULL,
    modified REAL NOT NULL,
    path TEXT,  -- the output's key without number and extension; NULL: no image
    copy INTEGER,  -- its number
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    interruptions INTEGER NOT NULL DEFAULT 0,  -- attempts that ended with an orderly stop
    output_key TEXT,
    provider TEXT,
    model TEXT,
    fallback_reason TEXT,
    operations TEXT,
    ignored TEXT,
    error TEXT,
    bytes INTEGER,
    seconds REAL NOT NULL DEFAULT 0,
    calls INTEGER NOT NULL DEFAULT 0,
    cost INTEGER NOT NULL DEFAULT 0,
    unknown_calls INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (job, number)
) WITHOUT ROWID
"""

# A batch may have too many items to count them whenever somebody asks how far it is. The trigger
# is for those that end; new ones come many at a time, and are counted together.
_COUNTS = (
    "ALTER TABLE batches ADD COLUMN images INTEGER NOT NULL DEFAULT 0",  # without what is skipped
    "ALTER TABLE batches ADD COLUMN done INTEGER NOT NULL DEFAULT 0",  # images that have ended
    "ALTER TABLE batches ADD COLUMN failed INTEGER NOT NULL DEFAULT 0",  # done without an output
    "ALTER TABLE batches ADD COLUMN rate REAL",  # images a second, as the worker last said
    """
    UPDATE batches SET (images, done, failed) = (
        SELECT count(*) FILTER (WHERE state <> 'skipped'),
            count(*) FILTER (WHERE state NOT IN ('pending', 'running', 'skipped')),
            count(*) FILTER (WHERE state IN ('failed', 'not_started'))
        FROM items WHERE items.job = batches.job
    )
    """,
    """
    CREATE TRIGGER item_ended AFTER UPDATE OF state ON items
    WHEN OLD.state IN ('pending', 'running') AND NEW.state NOT IN ('pending', 'running') BEGIN
        UPDATE batches SET images = images - (NEW.state = 'skipped'),
            done = done + (NEW.state <> 'skipped'),
            failed = failed + (NEW.state IN ('failed', 'not_started'))
        WHERE job = NEW.job;
    END
    """,
)

# Only the digest of a key's secret: who reads the file can use no key.
_API_KEYS = """
CREATE TABLE api_keys (
    id TEXT PRIMARY KEY,  -- the part of the key that is no secret
    digest BLOB NOT NULL,  -- SHA-256 of its secret
    client TEXT NOT NULL,
    roles TEXT NOT NULL,  -- a JSON list
    created_at REAL NOT NULL,
    expires_at REAL,
    last_used_at REAL,
    revoked_at REAL
) WITHOUT ROWID
"""

# What waits of each client, so that its limits are one look and not a count. Triggers keep it:
# there are many ways into the queue and out of it.
_CLIENT_QUEUES = (
    "ALTER TABLE jobs ADD COLUMN payload INTEGER NOT NULL DEFAULT 0",  # bytes of what came with it
    """
    UPDATE jobs SET payload = coalesce(spec ->> '$.image.blob.size', 0)
        + coalesce(spec ->> '$.mask.size', 0) + coalesce(spec ->> '$.keys.size', 0)
    """,
    """
    CREATE TABLE client_queues (
        client TEXT PRIMARY KEY,
        jobs INTEGER NOT NULL,
        bytes INTEGER NOT NULL
    ) WITHOUT ROWID
    """,
    """
    INSERT INTO client_queues
    SELECT client, count(*), sum(payload) FROM jobs WHERE state = 'queued' GROUP BY client
    """,
    """
    CREATE TRIGGER job_queued AFTER INSERT ON jobs WHEN NEW.state = 'queued' BEGIN
        INSERT INTO client_queues VALUES (NEW.client, 1, NEW.payload)
        ON CONFLICT DO UPDATE SET jobs = jobs + 1, bytes = bytes + excluded.bytes;
    END
    """,
    """
    CREATE TRIGGER job_queued_again AFTER UPDATE OF state ON jobs
    WHEN OLD.state <> 'queued' AND NEW.state = 'queued' BEGIN
        INSERT INTO client_queues VALUES (NEW.client, 1, NEW.payload)
        ON CONFLICT DO UPDATE SET jobs = jobs + 1, bytes = bytes + excluded.bytes;
    END
    """,
    """
    CREATE TRIGGER job_left_queue AFTER UPDATE OF state ON jobs
    WHEN OLD.state = 'queued' AND NEW.state <> 'queued' BEGIN
        UPDATE client_queues SET jobs = jobs - 1, bytes = bytes - OLD.payload
        WHERE client = OLD.client;
        DELETE FROM client_queues WHERE client = OLD.client AND jobs = 0;
    END
    """,
)

_REQUEST_RATES = """
CREATE TABLE request_rates (
    client TEXT PRIMARY KEY,
    full_at INTEGER NOT NULL  -- when its requests have worn off, nanoseconds since 1970
) WITHOUT ROWID
"""

_MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        _JOBS,
        *_INDEXES,
        _BLOBS,
        "CREATE INDEX blobs_by_job ON blobs (job)",
        _EVENTS,
        _ATTEMPTS,
    ),
    (
        *_SPENT_BY_JOBS,
        _CALLS,
        "CREATE INDEX calls_by_job ON calls (job)",
        "CREATE INDEX calls_under_way ON calls (id) WHERE state = 'reserved'",
        _USAGE_DAYS,
        _DAYS,
    ),
    (
        _BATCHES,
        _ITEMS,
        "CREATE UNIQUE INDEX items_by_output ON items (job, path, copy) WHERE path IS NOT NULL",
        "CREATE INDEX items_by_state ON items (job, state, number)",
        # Batches and single images wait apart.
        "DROP INDEX jobs_waiting",
        """
        CREATE INDEX jobs_waiting ON jobs (kind = 'batch', priority, client, seq)
        WHERE state = 'queued'
        """,
        "CREATE INDEX jobs_by_retry ON jobs (retry_of) WHERE retry_of IS NOT NULL",
    ),
    _COUNTS,
    ("ALTER TABLE jobs ADD COLUMN progress_url TEXT",),
    (
        "ALTER TABLE calls ADD COLUMN item INTEGER",  # its number; NULL: the job is no batch
        "DROP INDEX calls_by_job",
        "CREATE INDEX calls_by_item ON calls (job, item)",
    ),
    (
        "ALTER TABLE items ADD COLUMN started_at REAL",  # seconds since 1970; the newest attempt
        "ALTER TABLE items ADD COLUMN finished_at REAL",
    ),
    (_API_KEYS, "CREATE INDEX jobs_by_client ON jobs (client, seq)"),
    (*_CLIENT_QUEUES, _REQUEST_RATES),
    AUDIT_TABLES,
    (REFUSAL_INDEX,),
    (
        "ALTER TABLE api_keys ADD COLUMN made_until REAL",
        "UPDATE api_keys SET made_until = expires_at",
    ),
)
"""Statements that lead from version n to n + 1."""

VERSION = len(_MIGRATIONS)
"""The newest version."""


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the tables to the newest version, each step in one transaction.

    Raises ConfigurationError if a newer version of imgsvc has written them.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        problem = (
            f"data_dir: a newer imgsvc has written its jobs (version {version}, known here is"
            f" {VERSION}): start that one, or use another folder"
        )
        raise ConfigurationError([problem])
    for number, statements in enumerate(_MIGRATIONS[version:], start=version + 1):
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in statements:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
