"""What is asked of the record; nothing in here changes it."""

import json
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from imgsvc.jobs.fairness import FairLane
from imgsvc.jobs.models import (
    CallbackAttempt,
    CallbackState,
    Job,
    JobEvent,
    JobFilter,
    JobState,
)
from imgsvc.jobs.sqlite.rows import time_or_none, to_attempt, to_event, to_job
from imgsvc.jobs.sqlite.writer import Transaction

MAX_ATTEMPTS_SHOWN = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """What the record holds when it is opened."""

    states: Counter[JobState]
    callbacks: Counter[CallbackState]
    waiting: dict[bool, dict[FairLane, int]]  # batches are True
    running: dict[str, int]  # by client


@dataclass(frozen=True, kw_only=True, slots=True)
class Due:
    """Callbacks to deliver now, and when the next one will be due."""

    jobs: list[tuple[Job, str]]  # each with the host and port it goes to
    next_at: datetime | None


_IS_BATCH = "(kind = 'batch')"  # as in the index of what waits


def standing(tx: Transaction) -> Standing:
    """Count all there is."""
    states = tx.execute("SELECT state, count(*) FROM jobs GROUP BY state")
    callbacks = tx.execute("SELECT callback_state, count(*) FROM jobs GROUP BY callback_state")
    rows = tx.execute(
        f"SELECT {_IS_BATCH}, priority, client, count(*) FROM jobs WHERE state = 'queued'"
        " GROUP BY 1, 2, 3"
    )
    waiting: dict[bool, dict[FairLane, int]] = {False: {}, True: {}}
    for of_batches, priority, client, count in rows:
        waiting[bool(of_batches)][priority, client] = count
    running = tx.execute("SELECT client, count(*) FROM jobs WHERE state = 'running' GROUP BY 1")
    return Standing(
        states=Counter({JobState(state): count for state, count in states}),
        callbacks=Counter({CallbackState(state): count for state, count in callbacks}),
        waiting=waiting,
        running=dict(running.fetchall()),
    )


_FIRST_SINCE = "SELECT seq FROM jobs WHERE accepted_at >= ? ORDER BY accepted_at LIMIT 1"


def list_jobs(tx: Transaction, wanted: JobFilter, before: int | None, limit: int) -> list[Job]:
    """Return a page of jobs, the newest first."""
    since = None if wanted.since is None else wanted.since.timestamp()
    conditions: list[tuple[str, Any]] = [
        ("client = ?", wanted.client),
        ("state = ?", wanted.state),
        ("kind = ?", wanted.kind),
        ("callback_state = ?", wanted.callback),
        ("accepted_at >= ?", since),
        # In the order of arrival the first of them is where the look can end.
        (f"seq >= ({_FIRST_SINCE})", since),
        ("seq < ?", before),
    ]
    given = [(sql, value) for sql, value in conditions if value is not None]
    where = " AND ".join(sql for sql, _ in given) or "TRUE"
    return [
        to_job(row)
        for row in tx.execute(
            f"SELECT * FROM jobs WHERE {where} ORDER BY seq DESC LIMIT ?",
            (*(value for _, value in given), limit),
        )
    ]


def next_in_lane(
    tx: Transaction, *, lane: FairLane, of_batches: bool, besides: Collection[str]
) -> str | None:
    """Return the id of the first job that waits in the lane, apart from some."""
    row = tx.one(
        f"SELECT id FROM jobs WHERE state = 'queued' AND {_IS_BATCH} = ? AND priority = ?"
        " AND client = ? AND id NOT IN (SELECT value FROM json_each(?)) ORDER BY seq LIMIT 1",
        (int(of_batches), *lane, json.dumps(list(besides))),
    )
    return None if row is None else str(row["id"])


def due_callbacks(
    tx: Transaction, *, besides: Collection[str], busy_hosts: Collection[str], limit: int
) -> Due:
    """Return pending callbacks whose time has come, apart from some jobs and hosts."""
    # The index alone answers both questions: a host that is at its limit can have very many.
    pending = (
        "FROM jobs INDEXED BY callbacks_due WHERE callback_state = 'pending'"
        " AND id NOT IN (SELECT value FROM json_each(?))"
        " AND callback_host NOT IN (SELECT value FROM json_each(?))"
    )
    apart = (json.dumps(list(besides)), json.dumps(list(busy_hosts)))
    now = datetime.now(UTC).timestamp()
    rows = tx.execute(
        f"SELECT * FROM jobs WHERE seq IN (SELECT seq {pending} AND next_attempt_at <= ?"
        " ORDER BY next_attempt_at LIMIT ?) ORDER BY next_attempt_at",
        (*apart, now, limit),
    ).fetchall()
    later = tx.one(
        f"SELECT next_attempt_at AS at {pending} AND next_attempt_at > ?"
        " ORDER BY next_attempt_at LIMIT 1",
        (*apart, now),
    )
    return Due(
        jobs=[(to_job(row), row["callback_host"]) for row in rows],
        next_at=time_or_none(None if later is None else later["at"]),
    )


def attempts(tx: Transaction, job_id: str) -> list[CallbackAttempt]:
    """Return the newest attempts to deliver a job's callback, in order."""
    rows = tx.execute(
        "SELECT * FROM attempts WHERE job = (SELECT seq FROM jobs WHERE id = ?)"
        " ORDER BY number DESC LIMIT ?",
        (job_id, MAX_ATTEMPTS_SHOWN),
    ).fetchall()
    return [to_attempt(row) for row in reversed(rows)]


def events(tx: Transaction, job_id: str, after: int, limit: int) -> list[JobEvent]:
    """Return a job's events behind the one with this number, in order."""
    rows = tx.execute(
        "SELECT * FROM events WHERE job = (SELECT seq FROM jobs WHERE id = ?) AND number > ?"
        " ORDER BY number LIMIT ?",
        (job_id, after, limit),
    )
    return [to_event(row) for row in rows]


def unknown_blobs(tx: Transaction, keys: Sequence[str]) -> frozenset[str]:
    """Return those of the keys that belong to no job."""
    known = tx.execute(
        "SELECT key FROM blobs WHERE key IN (SELECT value FROM json_each(?))",
        (json.dumps(list(keys)),),
    )
    return frozenset(keys) - {row["key"] for row in known}
