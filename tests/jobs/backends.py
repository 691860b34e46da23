"""Every record of jobs, opened for a test, and what the tests do with one."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Any, TypeAlias

import pytest

from imgsvc.callbacks import Verdict
from imgsvc.jobs import BackendStats, JobBackend
from imgsvc.jobs.memory import MemoryConfig
from imgsvc.jobs.models import BlobRef, Job, JobState
from jobs.parts import CALLBACK_URL, image_spec

Open: TypeAlias = Callable[..., AbstractAsyncContextManager[JobBackend]]

BODY = BlobRef(key="body", size=2, sha256="0" * 64, content_type="application/json")
OTHER_BODY = replace(BODY, key="other")
IDLE = BackendStats(queued=0, running=0, callbacks_pending=0)


def _open_memory(*, max_queued: int, max_callbacks: int) -> AbstractAsyncContextManager[JobBackend]:
    return MemoryConfig(max_queued=max_queued, max_callbacks=max_callbacks).open()


IMPLEMENTATIONS = [pytest.param(_open_memory, id="memory")]


async def accept(backend: JobBackend, request_id: str = "req-1") -> Job:
    return await backend.accept(
        image_spec(filename="a.png"), callback_url=CALLBACK_URL, request_id=request_id
    )


async def finish(backend: JobBackend, job: Job) -> bool:
    return await backend.finish(job.id, job.attempt, JobState.COMPLETED, BODY)


async def nothing(_: object) -> None:
    """Do nothing with a job."""


@asynccontextmanager
async def running(
    backend: JobBackend,
    *,
    process: Callable[[str], Awaitable[None]] | None = None,
    deliver: Callable[[Job], Coroutine[Any, Any, None]] | None = None,
    workers: int = 2,
) -> AsyncIterator[None]:
    """Run the backend while the context lasts; by default every job is completed and delivered.

    If the run fails, so does the context, as it is in the service.
    """

    async def complete(job_id: str) -> None:
        if (job := await backend.start(job_id)) is not None:
            await finish(backend, job)

    async def settle(job: Job) -> None:
        await backend.record_delivery(job.id, Verdict.DELIVERED)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(
            backend.run(process or complete, deliver or settle, workers=workers), name="run"
        )
        try:
            yield
        finally:
            task.cancel()
