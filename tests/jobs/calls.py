"""Calls of image APIs to be recorded."""

from datetime import UTC, date, datetime
from typing import Any
from uuid import uuid4

from imgsvc.jobs.ledger import NewCall
from imgsvc.jobs.models import Job

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
DAY: date = NOON.date()


def new_call(job: Job, **fields: Any) -> NewCall:
    """Return a call for a job, at noon unless it is said otherwise."""
    given: dict[str, Any] = {
        "id": uuid4().hex,
        "job_id": job.id,
        "provider": "openai",
        "model": "model-1",
        "estimate": 10,
        "at": NOON,
    }
    return NewCall(**given | fields)
