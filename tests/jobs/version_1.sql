PRAGMA user_version = 1;
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
INSERT INTO "attempts" VALUES(1,1,1.79564607425716495515e+09,0.25,'delivered',200,NULL,'thanks');
CREATE TABLE blobs (
    key TEXT PRIMARY KEY,
    job INTEGER NOT NULL  -- its seq
) WITHOUT ROWID
;
INSERT INTO "blobs" VALUES('body-8c4acedd-d907-4353-8659-55eb210b7dc3',1);
INSERT INTO "blobs" VALUES('body-dc51909f-1e75-424c-8ac2-8111fcc84bdc',2);
CREATE TABLE events (
    job INTEGER, -- its seq
    number INTEGER,  -- from 1 in each job
    type TEXT NOT NULL,
    at REAL NOT NULL,
    data TEXT NOT NULL,
    PRIMARY KEY (job, number)
) WITHOUT ROWID
;
INSERT INTO "events" VALUES(1,1,'queued',1.79564607422539901726e+09,'{}');
INSERT INTO "events" VALUES(1,2,'started',1795646074.24106,'{"attempt":1}');
INSERT INTO "events" VALUES(1,3,'finished',1.79564607425072288518e+09,'{"state":"completed","provider":"local"}');
INSERT INTO "events" VALUES(1,4,'callback_attempt',1.7956460742575280666e+09,'{"number":1,"status":200}');
INSERT INTO "events" VALUES(1,5,'callback_delivered',1.79564607425757598877e+09,'{}');
INSERT INTO "events" VALUES(2,1,'queued',1.79564607426516294479e+09,'{}');
INSERT INTO "events" VALUES(2,2,'started',1795646074.27708,'{"attempt":1}');
INSERT INTO "events" VALUES(2,3,'finished',1.79564607427818393706e+09,'{"state":"failed","provider":"openai","error":"JobTimeout: too long"}');
INSERT INTO "events" VALUES(3,1,'queued',1.79564607428569793703e+09,'{}');
INSERT INTO "events" VALUES(4,1,'queued',1.79564607429749703406e+09,'{}');
INSERT INTO "events" VALUES(4,2,'started',1.79564607431307792667e+09,'{"attempt":1}');
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
);
INSERT INTO "jobs" VALUES(1,'8c4acedd-d907-4353-8659-55eb210b7dc3','image_to_base64','completed',1,0,'{"kind":"image_to_base64","prompt":"Make it night","image":{"url":"http://127.0.0.1:9/nothing"},"filename":"a.png","mask":null,"options":{"model":null,"quality":null,"size":null,"background":null,"output_format":null},"fallback_allowed":true}','local',5,'http://127.0.0.1:9/callback','127.0.0.1:9','req-1','msg_83d9defbb90541b49705b9d5be6ed053','key-1','d1',NULL,1.79564607422490406032e+09,1.79564607424086403845e+09,1.79564607425025296212e+09,0,'{"state":"completed","provider":"local","fallback_reason":"provider_timeout","operations":[],"ignored":[],"cost_unknown":true}','{"key":"body-8c4acedd-d907-4353-8659-55eb210b7dc3","size":2,"sha256":"0000000000000000000000000000000000000000000000000000000000000000","content_type":"application/json"}','delivered',1,NULL);
INSERT INTO "jobs" VALUES(2,'dc51909f-1e75-424c-8ac2-8111fcc84bdc','image_to_base64','failed',1,0,'{"kind":"image_to_base64","prompt":"Make it night","image":{"url":"http://127.0.0.1:9/nothing"},"filename":"a.png","mask":null,"options":{"model":null,"quality":null,"size":null,"background":null,"output_format":null},"fallback_allowed":true}','ann',5,'http://127.0.0.1:9/callback','127.0.0.1:9','req-2','msg_1e400510a3fc494d9c54f2dd6a125788',NULL,'',NULL,1.7956460742649710178e+09,1.79564607427695393558e+09,1.79564607427802610398e+09,0,'{"state":"failed","provider":"openai","operations":[],"ignored":[],"error":"JobTimeout: too long","cost_unknown":false}','{"key":"body-dc51909f-1e75-424c-8ac2-8111fcc84bdc","size":2,"sha256":"0000000000000000000000000000000000000000000000000000000000000000","content_type":"application/json"}','pending',0,1.79564607427794599532e+09);
INSERT INTO "jobs" VALUES(3,'df7ede04-308b-48d3-af41-87c05971370e','batch','queued',0,0,'{"prompt":"Make it night","input_prefix":"input/","output_prefix":"output/","concurrency":3,"options":{"model":null,"quality":null,"size":null,"background":null,"output_format":null},"fallback_allowed":true}','local',8,'http://127.0.0.1:9/callback','127.0.0.1:9','req-3','msg_3f3a2d26d862416aa84f972c3ba73647',NULL,'',NULL,1.79564607428550505633e+09,NULL,NULL,0,NULL,NULL,'none',0,NULL);
INSERT INTO "jobs" VALUES(4,'1ca8e83d-6c7b-4e2f-aa90-bae96e5bbee3','image_to_base64','running',1,0,'{"kind":"image_to_base64","prompt":"Make it night","image":{"url":"http://127.0.0.1:9/nothing"},"filename":"a.png","mask":null,"options":{"model":null,"quality":null,"size":null,"background":null,"output_format":null},"fallback_allowed":true}','local',5,'http://127.0.0.1:9/callback','127.0.0.1:9','req-4','msg_df6d1d284e4b4312b5ce6a123b61d397',NULL,'',NULL,1.79564607429722905163e+09,1.79564607431297302243e+09,NULL,0,NULL,NULL,'none',0,NULL);
CREATE INDEX jobs_waiting ON jobs (priority, client, seq) WHERE state = 'queued';
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
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('jobs',4);
COMMIT;
