"""A record of jobs in process memory: it ends with the process."""

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from imgsvc.callbacks.protocol import Verdict
from imgsvc.errors import QueueFull
from imgsvc.jobs.backend import BackendStats, Deliver, Process
from imgsvc.jobs.models import BlobRef, Job, JobSpec, JobState


class MemoryConfig(BaseModel):
    """Keep the record of jobs in process memory."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["memory"] = Field("memory", description="Which record of jobs to use.")
    max_queued: int = Field(
        1000, ge=1, description="Jobs that may wait for a worker; one more is refused with 503."
    )
    max_callbacks: int = Field(
        10_000, ge=1, description="Callbacks that may wait for delivery before jobs are refused."
    )

    @asynccontextmanager
    async def open(self) -> AsyncIterator["MemoryBackend"]:
        """Yield an empty record."""
        yield MemoryBackend(max_queued=self.max_queued, max_callbacks=self.max_callbacks)


class MemoryBackend:
    """Jobs in a dictionary, their order in an `asyncio.Queue`.

    A job holds its description only (payloads are blobs on disk), and it is forgotten
    when its callback is settled. Both ends are bounded: `max_queued` jobs that wait and
    `max_callbacks` callbacks not yet settled; past either, `accept` refuses.
    """

    def __init__(self, *, max_queued: int, max_callbacks: int) -> None:
        self._jobs: dict[str, Job] = {}
        self._counts: Counter[JobState] = Counter()
        self._queue: asyncio.Queue[str] = asyncio.Queue(maxsize=max_queued)
        self._finished: asyncio.Queue[Job] = asyncio.Queue()
        self._max_callbacks = max_callbacks
        self._settled = asyncio.Event()
        self._settled.set()

    async def accept(self, spec: JobSpec, *, callback_url: str, request_id: str) -> Job:
        """Record a new job, or raise QueueFull."""
        if self.stats().callbacks_pending >= self._max_callbacks:
            raise QueueFull
        job_id = str(uuid.uuid4())
        job = Job(
            id=job_id,
            spec=spec,
            callback_url=callback_url,
            request_id=request_id,
            webhook_id=f"msg_{uuid.uuid4().hex}",
            accepted_at=datetime.now(UTC),
        )
        try:
            self._queue.put_nowait(job_id)
        except asyncio.QueueFull as exc:
            raise QueueFull from exc
        self._keep(job)
        self._settled.clear()
        return job

    async def start(self, job_id: str) -> Job | None:
        """Claim a queued job, or return None."""
        job = self._jobs.get(job_id)
        if job is None or job.state is not JobState.QUEUED:
            return None
        job = replace(job, state=JobState.RUNNING, attempt=job.attempt + 1)
        self._keep(job)
        return job

    async def finish(
        self, job_id: str, token: int, state: JobState, callback_body: BlobRef
    ) -> bool:
        """Freeze state and callback body, or return False if the token is not the newest."""
        job = self._jobs.get(job_id)
        if job is None or (job.state, job.attempt) != (JobState.RUNNING, token):
            return False
        job = replace(job, state=state, callback_body=callback_body)
        self._keep(job)
        self._finished.put_nowait(job)
        return True

    async def record_delivery(self, job_id: str, verdict: Verdict) -> None:  # noqa: ARG002 - the protocol's; this record ends here
        """Forget the job: its callback is settled, one way or the other."""
        if (job := self._jobs.pop(job_id, None)) is not None:
            self._counts[job.state] -= 1
        if not self._jobs:
            self._settled.set()

    async def run(self, process: Process, deliver: Deliver, *, workers: int) -> None:
        """Run the workers and the deliveries until cancelled."""
        async with asyncio.TaskGroup() as group:
            for number in range(workers):
                group.create_task(self._work(process), name=f"worker-{number}")
            while True:
                job = await self._finished.get()
                group.create_task(deliver(job), name=f"callback-{job.id}")

    async def drain(self) -> None:
        """Wait until every accepted job has settled its callback."""
        await self._settled.wait()

    def stats(self) -> BackendStats:
        """Count what is queued, running, and waiting for its callback to be settled."""
        queued, running = self._counts[JobState.QUEUED], self._counts[JobState.RUNNING]
        return BackendStats(
            queued=queued, running=running, callbacks_pending=len(self._jobs) - queued - running
        )

    def _keep(self, job: Job) -> None:
        if (former := self._jobs.get(job.id)) is not None:
            self._counts[former.state] -= 1
        self._counts[job.state] += 1
        self._jobs[job.id] = job

    async def _work(self, process: Process) -> None:
        while True:
            await process(await self._queue.get())
