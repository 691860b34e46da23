"""Every record of jobs, opened for a test, and what the tests do with one."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from imgsvc.jobs import BackendStats, JobBackend, RunLimits
from imgsvc.jobs.backend import Claim, Frozen
from imgsvc.jobs.models import (
    BlobRef,
    CallbackAttempt,
    CallbackState,
    Job,
    JobState,
    Outcome,
)
from imgsvc.jobs.sqlite import SqliteConfig
from jobs.parts import new_job

Open: TypeAlias = Callable[..., AbstractAsyncContextManager[JobBackend]]

BODY = BlobRef(key="body", size=2, sha256="0" * 64, content_type="application/json")
COMPLETED = Outcome(state=JobState.COMPLETED, provider="openai")
FAILED = Outcome(state=JobState.FAILED, provider="openai", error="JobTimeout: too long")
CANCELLED = Outcome(state=JobState.CANCELLED, error="JobCancelled: stopped")
IDLE = BackendStats(queued=0, running=0, callbacks_pending=0)


def _open_sqlite(
    folder: Path, *, max_queued: int = 2000
) -> AbstractAsyncContextManager[JobBackend]:
    return SqliteConfig(max_queued=max_queued).open(folder)


IMPLEMENTATIONS = [pytest.param(_open_sqlite, id="sqlite")]


def frozen(job_id: str, *, due_at: datetime | None = None) -> Frozen:
    """Return a callback's body of its own for a job, due at once."""
    return Frozen(body=replace(BODY, key=f"body-{job_id}"), due_at=due_at or datetime.now(UTC))


async def accept(backend: JobBackend, request_id: str = "req-1", **fields: Any) -> Job:
    return (await backend.accept(new_job(request_id=request_id, **fields))).job


async def claim(backend: JobBackend, job: Job) -> Claim:
    """Claim a job that is there to be claimed."""
    claimed = await backend.start(job.id)
    assert claimed is not None
    return claimed


async def finish(backend: JobBackend, job: Job, outcome: Outcome = COMPLETED) -> bool:
    return await backend.finish(job.id, job.attempt, outcome, frozen(job.id))


async def finished(backend: JobBackend, outcome: Outcome = COMPLETED, **fields: Any) -> Job:
    """Accept a job, claim and finish it."""
    job = await accept(backend, **fields)
    assert await finish(backend, (await claim(backend, job)).job, outcome)
    return await backend.get(job.id)


def attempt(**fields: Any) -> CallbackAttempt:
    given: dict[str, Any] = {
        "number": 1,
        "at": datetime.now(UTC),
        "duration": 0.25,
        "verdict": "delivered",
        "status": 200,
        "error": None,
        "answer": "thanks",
    }
    return CallbackAttempt(**given | fields)


async def settle(backend: JobBackend, job: Job) -> None:
    assert await backend.record_delivery(job.id, attempt(), CallbackState.DELIVERED, None)


async def nothing(_: object) -> None:
    """Do nothing with a job."""


async def until_settled(backend: JobBackend, *jobs: Job) -> list[Job]:
    """Wait until nothing more will happen to the jobs, and return them as they are then."""
    ended = []
    for job in jobs:
        with backend.watch(job.id) as happened:
            while True:
                happened.clear()  # before the look: what happens after it must not be missed
                if (current := await backend.get(job.id)).is_settled:
                    break
                await happened.wait()
        ended.append(current)
    return ended


@asynccontextmanager
async def running(
    backend: JobBackend,
    *,
    process: Callable[[str], Awaitable[None]] | None = None,
    deliver: Callable[[Job], Coroutine[Any, Any, None]] | None = None,
    workers: int = 2,
    **limits: Any,
) -> AsyncIterator[None]:
    """Run the backend while the context lasts; by default every job is completed and delivered.

    If the run fails, so does the context, as it is in the service.
    """

    async def complete(job_id: str) -> None:
        if (claimed := await backend.start(job_id)) is not None:
            await finish(backend, claimed.job)

    async def settle_it(job: Job) -> None:
        await settle(backend, job)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(
            backend.run(
                process or complete, deliver or settle_it, RunLimits(workers=workers, **limits)
            ),
            name="run",
        )
        try:
            yield
        finally:
            task.cancel()
