"""Between rows of the tables and the objects they stand for."""

import sqlite3
from datetime import UTC, datetime
from typing import Any

from pydantic import TypeAdapter

from imgsvc.jobs.models import (
    BatchSpec,
    BlobRef,
    CallbackAttempt,
    CallbackState,
    EventType,
    ImageSpec,
    Job,
    JobEvent,
    JobKind,
    JobSpec,
    JobState,
    Outcome,
)
from imgsvc.jobs.spent import Spent

_IMAGE_SPEC = TypeAdapter(ImageSpec)
_BATCH_SPEC = TypeAdapter(BatchSpec)
_BLOB = TypeAdapter(BlobRef)
_OUTCOME = TypeAdapter(Outcome)
_DATA = TypeAdapter(dict[str, Any])


def dump_spec(spec: JobSpec) -> str:
    """Return a specification as JSON."""
    if isinstance(spec, BatchSpec):
        return _BATCH_SPEC.dump_json(spec).decode()
    return _IMAGE_SPEC.dump_json(spec).decode()


def dump_blob(blob: BlobRef) -> str:
    """Return a blob's description as JSON."""
    return _BLOB.dump_json(blob).decode()


def dump_outcome(outcome: Outcome) -> str:
    """Return an outcome as JSON."""
    return _OUTCOME.dump_json(outcome, exclude_none=True).decode()


def dump_data(data: dict[str, Any]) -> str:
    """Return the data of an event as JSON, without fields that have no value."""
    return _DATA.dump_json({k: v for k, v in data.items() if v is not None}).decode()


def to_job(row: sqlite3.Row) -> Job:
    """Return the job of a row of `jobs`."""
    kind = JobKind(row["kind"])
    adapter: TypeAdapter[Any] = _BATCH_SPEC if kind is JobKind.BATCH else _IMAGE_SPEC
    outcome, body = row["outcome"], row["callback_body"]
    return Job(
        id=row["id"],
        seq=row["seq"],
        spec=adapter.validate_json(row["spec"]),
        client=row["client"],
        priority=row["priority"],
        callback_url=row["callback_url"],
        request_id=row["request_id"],
        webhook_id=row["webhook_id"],
        retry_of=row["retry_of"],
        accepted_at=_time(row["accepted_at"]),
        started_at=time_or_none(row["started_at"]),
        finished_at=time_or_none(row["finished_at"]),
        state=JobState(row["state"]),
        attempt=row["attempt"],
        interruptions=row["interruptions"],
        cancel_requested=bool(row["cancel_requested"]),
        spent=Spent(calls=row["calls"], cost=row["cost"], unknown_calls=row["unknown_calls"]),
        outcome=None if outcome is None else _OUTCOME.validate_json(outcome),
        callback_body=None if body is None else _BLOB.validate_json(body),
        callback_state=CallbackState(row["callback_state"]),
        callback_attempts=row["callback_attempts"],
        next_attempt_at=time_or_none(row["next_attempt_at"]),
        progress_url=row["progress_url"],
    )


def to_event(row: sqlite3.Row) -> JobEvent:
    """Return the event of a row of `events`."""
    return JobEvent(
        number=row["number"],
        type=EventType(row["type"]),
        at=_time(row["at"]),
        data=_DATA.validate_json(row["data"]),
    )


def to_attempt(row: sqlite3.Row) -> CallbackAttempt:
    """Return the attempt of a row of `attempts`."""
    return CallbackAttempt(
        number=row["number"],
        at=_time(row["at"]),
        duration=row["duration"],
        verdict=row["verdict"],
        status=row["status"],
        error=row["error"],
        answer=row["answer"],
    )


def time_or_none(seconds: float | None) -> datetime | None:
    """Return a time of a row that may have none."""
    return None if seconds is None else _time(seconds)


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
