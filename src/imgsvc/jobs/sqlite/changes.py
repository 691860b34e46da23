"""What can be done to the record: each function is one operation in one transaction.

They run on the database's thread. Every move asks for the states that `moves` allows,
so that of two that race one finds nothing to change.
"""

import json
import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from yarl import URL

from imgsvc.errors import CallbackNotSettled, IdempotencyKeyReused, JobNotFound
from imgsvc.jobs.audit import Action, Actor
from imgsvc.jobs.backend import Accepted, Frozen
from imgsvc.jobs.models import (
    BatchSpec,
    CallbackAttempt,
    CallbackState,
    EventType,
    Job,
    JobState,
    NewJob,
    Outcome,
)
from imgsvc.jobs.moves import callback_sources, sources
from imgsvc.jobs.sqlite import again, audit, items
from imgsvc.jobs.sqlite.client_queues import check_room
from imgsvc.jobs.sqlite.events import add_event, next_number, now
from imgsvc.jobs.sqlite.rows import dump_blob, dump_outcome, dump_spec, to_job
from imgsvc.jobs.sqlite.writer import Transaction

_INSERT = """
INSERT INTO jobs (id, kind, state, spec, client, priority, callback_url, callback_host, request_id,
                  webhook_id, idempotency_key, digest, retry_of, accepted_at, progress_url,
                  payload)
VALUES (?, ?, 'queued', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING *
"""


def accept(tx: Transaction, new: NewJob, by: Actor | None = None) -> Accepted:
    """Insert a job, or find the one that its idempotency key stands for."""
    if new.idempotency_key is not None:
        found = tx.one(
            "SELECT * FROM jobs WHERE client = ? AND idempotency_key = ?",
            (new.client, new.idempotency_key),
        )
        if found is not None:
            if found["digest"] != new.digest:
                raise IdempotencyKeyReused
            return Accepted(job=to_job(found), is_new=False)
    check_room(tx, new.client, new.payload, new.limits)
    row = tx.one(
        _INSERT,
        (
            str(uuid.uuid4()),
            new.spec.kind,
            dump_spec(new.spec),
            new.client,
            new.priority,
            new.callback_url,
            None if new.callback_url is None else _authority(new.callback_url),
            new.request_id,
            f"msg_{uuid.uuid4().hex}",
            new.idempotency_key,
            new.digest,
            new.retry_of,
            now(),
            new.progress_url,
            new.payload,
        ),
    )
    job = _job(row)
    for blob in new.spec.blobs:
        tx.execute("INSERT INTO blobs (key, job) VALUES (?, ?)", (blob.key, job.seq))
    if job.retry_of is not None and isinstance(job.spec, BatchSpec):
        again.check_again(tx, job.retry_of, job.seq)
    add_event(tx, job.seq, EventType.QUEUED, {"retry_of": job.retry_of})
    if job.retry_of is None:
        audit.note(tx, by, Action.JOB_SUBMIT, job.id, client=job.client, kind=job.spec.kind)
    else:
        audit.note(tx, by, Action.JOB_RETRY, job.retry_of, client=job.client, job_id=job.id)
    return Accepted(job=job, is_new=True)


def start(tx: Transaction, job_id: str) -> Job | None:
    """Give a queued job to a worker."""
    row = tx.one(
        "UPDATE jobs SET state = 'running', attempt = attempt + 1, started_at = ?"
        f" WHERE id = ? AND state IN {_among(sources(JobState.RUNNING))} RETURNING *",
        (now(), job_id),
    )
    if row is None:
        return None
    add_event(tx, row["seq"], EventType.STARTED, {"attempt": row["attempt"]})
    return to_job(row)


def close_portion(tx: Transaction, job_id: str, token: int, error: str | None) -> bool:
    """End some items of a job that this worker holds; say whether there is more."""
    held = tx.one(
        "SELECT seq FROM jobs WHERE id = ? AND attempt = ? AND state = 'running'", (job_id, token)
    )
    return held is not None and items.close_portion(tx, held["seq"], error)


def finish(
    tx: Transaction, job_id: str, token: int, outcome: Outcome, callback: Frozen
) -> Job | None:
    """End a job that this worker holds, whose items have all ended."""
    row = tx.one(
        f"UPDATE jobs SET {_END} WHERE id = ? AND attempt = ? AND state = 'running' RETURNING *",
        (*_end(outcome, callback), job_id, token),
    )
    return None if row is None else _ended(tx, row, outcome)


def cancel(
    tx: Transaction, job_id: str, outcome: Outcome, callback: Frozen | None, by: Actor | None
) -> tuple[Job, bool]:
    """End a queued job, or ask for the end of one in work; return whether it has just ended."""
    if callback is not None:
        row = tx.one(
            f"UPDATE jobs SET {_END} WHERE id = ? AND state = 'queued' AND NOT {_HAS_OUTPUTS}"
            " RETURNING *",
            (*_end(outcome, callback), job_id),
        )
        if row is not None:
            job = _ended(tx, row, outcome)
            audit.note(tx, by, Action.JOB_CANCEL, job.id, client=job.client)
            return job, True
    row = tx.one(
        "UPDATE jobs SET cancel_requested = 1 WHERE id = ? AND NOT cancel_requested"
        f" AND (state = 'running' OR state = 'queued' AND {_HAS_OUTPUTS}) RETURNING *",
        (job_id,),
    )
    if row is None:
        return get(tx, job_id), False
    job = to_job(row)
    add_event(tx, job.seq, EventType.CANCEL_REQUESTED, {})
    audit.note(tx, by, Action.JOB_CANCEL, job.id, client=job.client)
    return job, False


def put_back(tx: Transaction, *, orderly: bool, held: tuple[str, int] | None = None) -> list[Job]:
    """Queue what is running: its worker is gone; after a crash, not in an `orderly` way.

    `held` is id and attempt of one job whose worker stops, instead of all.

    A batch that has got on meanwhile is not to blame for the crash; each of its images has
    attempts of its own.
    """
    of_worker = "" if held is None else "AND id = ? AND attempt = ?"
    rows = tx.execute(
        "UPDATE jobs SET state = 'queued', interruptions = interruptions + (? OR EXISTS"
        " (SELECT 1 FROM batches WHERE job = seq AND got_on))"
        f" WHERE state = 'running' {of_worker} RETURNING *",
        (int(orderly), *(held or ())),
    ).fetchall()
    for row in rows:
        items.put_back(tx, row["seq"], orderly=orderly)
        reason = "service_stopped" if orderly else "service_crashed"
        add_event(tx, row["seq"], EventType.QUEUED, {"reason": reason})
    return [to_job(row) for row in rows]


def record_delivery(
    tx: Transaction,
    job_id: str,
    attempt: CallbackAttempt,
    state: CallbackState,
    next_at: datetime | None,
) -> Job | None:
    """Keep an attempt and where the callback stands after it."""
    row = tx.one(
        "UPDATE jobs SET callback_state = ?, callback_attempts = callback_attempts + 1,"
        " next_attempt_at = ? WHERE id = ? AND callback_state = 'pending' RETURNING *",
        (state, None if next_at is None else next_at.timestamp(), job_id),
    )
    if row is None:
        return None
    job = to_job(row)
    kept = replace(attempt, number=next_number(tx, "attempts", job.seq))
    tx.execute(
        "INSERT INTO attempts (job, number, at, duration, verdict, status, error, answer)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            job.seq,
            kept.number,
            kept.at.timestamp(),
            kept.duration,
            kept.verdict,
            kept.status,
            kept.error,
            kept.answer,
        ),
    )
    data = {"number": kept.number, "status": kept.status, "error": kept.error}
    add_event(tx, job.seq, EventType.CALLBACK_ATTEMPT, data | {"next_attempt_at": next_at})
    if state is CallbackState.DELIVERED:
        add_event(tx, job.seq, EventType.CALLBACK_DELIVERED, {})
    elif state is CallbackState.DEAD:
        add_event(tx, job.seq, EventType.CALLBACK_DEAD, {"error": kept.error})
    return job


def redeliver(tx: Transaction, job_id: str, by: Actor | None) -> tuple[Job, CallbackState]:
    """Make a settled callback due; return the job and how the callback stood before."""
    former = get(tx, job_id).callback_state
    if former not in {*callback_sources(CallbackState.PENDING)} - {CallbackState.NONE}:
        raise CallbackNotSettled(
            "There is no callback to deliver again yet."
            if former is CallbackState.NONE
            else "The callback is being delivered; wait until that has ended."
        )
    row = tx.one(
        "UPDATE jobs SET callback_state = 'pending', callback_attempts = 0, next_attempt_at = ?"
        " WHERE id = ? RETURNING *",
        (now(), job_id),
    )
    job = _job(row)
    add_event(tx, job.seq, EventType.CALLBACK_REDELIVERED, {})
    audit.note(tx, by, Action.CALLBACK_REDELIVER, job.id, client=job.client)
    return job, former


def forget(tx: Transaction, before: datetime, limit: int) -> tuple[list[str], list[CallbackState]]:
    """Remove settled jobs; return the keys of their blobs, and how their callbacks stood."""
    rows = tx.execute(
        f"SELECT seq, callback_state FROM jobs WHERE seq IN ({items.FORGETTABLE})",
        (before.timestamp(), limit),
    ).fetchall()
    among = json.dumps([row["seq"] for row in rows])
    of_these = "IN (SELECT value FROM json_each(?))"
    keys = tx.execute(f"SELECT key FROM blobs WHERE job {of_these}", (among,)).fetchall()
    for table, column in (
        ("blobs", "job"),
        ("events", "job"),
        ("attempts", "job"),
        ("calls", "job"),
        ("batches", "job"),
        ("items", "job"),
        ("jobs", "seq"),
    ):
        tx.execute(f"DELETE FROM {table} WHERE {column} {of_these}", (among,))
    return [row["key"] for row in keys], [CallbackState(row["callback_state"]) for row in rows]


def get(tx: Transaction, job_id: str) -> Job:
    """Return a job, or raise JobNotFound."""
    row = tx.one("SELECT * FROM jobs WHERE id = ?", (job_id,))
    if row is None:
        raise JobNotFound
    return to_job(row)


_HAS_OUTPUTS = "(kind = 'batch' AND attempt > 0)"
"""Whether a worker was at it before the service was lost, and has to say what is there."""

_END = (
    "state = ?, outcome = ?, callback_body = ?, finished_at = ?,"
    " callback_state = CASE WHEN callback_url IS NULL THEN 'none' ELSE 'pending' END,"
    " next_attempt_at = CASE WHEN callback_url IS NULL THEN NULL ELSE ? END"
)


def _end(outcome: Outcome, callback: Frozen) -> tuple[Any, ...]:
    return (
        outcome.state,
        dump_outcome(outcome),
        dump_blob(callback.body),
        now(),
        callback.due_at.timestamp(),
    )


def _ended(tx: Transaction, row: Any, outcome: Outcome) -> Job:
    job = to_job(row)
    if not job.spec.keeps_blobs(outcome.state):
        tx.execute("DELETE FROM blobs WHERE job = ?", (job.seq,))
    if job.callback_body is not None:
        tx.execute("INSERT INTO blobs (key, job) VALUES (?, ?)", (job.callback_body.key, job.seq))
    data = {"state": outcome.state, "provider": outcome.provider, "error": outcome.error}
    add_event(tx, job.seq, EventType.FINISHED, data)
    return job


def _job(row: Any) -> Job:
    if row is None:
        raise AssertionError("RETURNING gives the row that was written")
    return to_job(row)


def _among(states: Sequence[str]) -> str:
    return "(" + ", ".join(f"'{state}'" for state in states) + ")"


def _authority(url: str) -> str:
    parsed = URL(url)
    return f"{parsed.host}:{parsed.port}"
