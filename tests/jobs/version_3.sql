PRAGMA user_version = 3;
BEGIN TRANSACTION;
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
;
CREATE TABLE batches (
    job INTEGER PRIMARY KEY,  -- its seq
    folder TEXT NOT NULL,  -- id of the job in whose output folder the results are
    last_key BLOB,  -- the listing goes on behind it
    is_listed INTEGER NOT NULL DEFAULT 0,  -- whether that is all
    got_on INTEGER NOT NULL DEFAULT 0  -- whether the newest attempt has listed or ended anything
);
INSERT INTO "batches" VALUES(1,'25cb7376-e1e9-4eef-98ee-c3cad57c0614',X'696E7075742F652E747874',0,1);
CREATE TABLE blobs (
    key TEXT PRIMARY KEY,
    job INTEGER NOT NULL  -- its seq
) WITHOUT ROWID
;
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
;
CREATE TABLE days (
    day TEXT PRIMARY KEY,
    spent INTEGER NOT NULL  -- cost and what is held
) WITHOUT ROWID
;
CREATE TABLE events (
    job INTEGER, -- its seq
    number INTEGER,  -- from 1 in each job
    type TEXT NOT NULL,
    at REAL NOT NULL,
    data TEXT NOT NULL,
    PRIMARY KEY (job, number)
) WITHOUT ROWID
;
INSERT INTO "events" VALUES(1,1,'queued',1.79565598963957405087e+09,'{}');
INSERT INTO "events" VALUES(1,2,'started',1.79565598964111900327e+09,'{"attempt":1}');
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
;
INSERT INTO "items" VALUES(1,1,X'696E7075742F612E706E67',7,1795521600.0,'output/25cb7376-e1e9-4eef-98ee-c3cad57c0614/a_modified',1,'processed',1,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0.0,0,0,0);
INSERT INTO "items" VALUES(1,2,X'696E7075742F622E706E67',7,1795521600.0,'output/25cb7376-e1e9-4eef-98ee-c3cad57c0614/b_modified',1,'failed',1,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0.0,0,0,0);
INSERT INTO "items" VALUES(1,3,X'696E7075742F632E706E67',7,1795521600.0,'output/25cb7376-e1e9-4eef-98ee-c3cad57c0614/c_modified',1,'running',1,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0.0,0,0,0);
INSERT INTO "items" VALUES(1,4,X'696E7075742F642E706E67',7,1795521600.0,'output/25cb7376-e1e9-4eef-98ee-c3cad57c0614/d_modified',1,'pending',0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0.0,0,0,0);
INSERT INTO "items" VALUES(1,5,X'696E7075742F652E747874',7,1795521600.0,NULL,NULL,'skipped',0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0.0,0,0,0);
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
, calls INTEGER NOT NULL DEFAULT 0, cost INTEGER NOT NULL DEFAULT 0, held INTEGER NOT NULL DEFAULT 0, unknown_calls INTEGER NOT NULL DEFAULT 0);
INSERT INTO "jobs" VALUES(1,'25cb7376-e1e9-4eef-98ee-c3cad57c0614','batch','running',1,0,'{"prompt":"Make it night","input_prefix":"input/","output_prefix":"output/","concurrency":3,"options":{"model":null,"quality":null,"size":null,"background":null,"output_format":null,"stream_partials":0},"fallback_allowed":true,"max_cost":null}','local',5,'http://127.0.0.1:9/callback','127.0.0.1:9','req-1','msg_bb2721d1bef64a50884453214c8da90f',NULL,'',NULL,1795655989.63889,1795655989.64091,NULL,0,NULL,NULL,'none',0,NULL,0,0,0,0);
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
;
CREATE INDEX jobs_by_state ON jobs (state, seq);
CREATE INDEX jobs_by_kind ON jobs (kind, seq);
CREATE INDEX jobs_by_callback ON jobs (callback_state, seq);
CREATE INDEX jobs_by_end ON jobs (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX jobs_by_arrival ON jobs (accepted_at);
CREATE INDEX callbacks_due ON jobs (next_attempt_at, callback_host, id)
    WHERE callback_state = 'pending'
    ;
CREATE UNIQUE INDEX jobs_by_idempotency_key ON jobs (client, idempotency_key)
    WHERE idempotency_key IS NOT NULL
    ;
CREATE INDEX blobs_by_job ON blobs (job);
CREATE INDEX calls_by_job ON calls (job);
CREATE INDEX calls_under_way ON calls (id) WHERE state = 'reserved';
CREATE UNIQUE INDEX items_by_output ON items (job, path, copy) WHERE path IS NOT NULL;
CREATE INDEX items_by_state ON items (job, state, number);
CREATE INDEX jobs_waiting ON jobs (kind = 'batch', priority, client, seq)
        WHERE state = 'queued'
        ;
CREATE INDEX jobs_by_retry ON jobs (retry_of) WHERE retry_of IS NOT NULL;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('jobs',1);
COMMIT;
