"""What a worker does with a job, from claiming it to its delivered callback."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic

import structlog
from pydantic import BaseModel, ConfigDict, Field
from structlog.contextvars import bound_contextvars

from imgsvc.callbacks import CallbackSender, Delivery, deliver_until_done
from imgsvc.errors import DiskRefuses, ImgsvcError, describe
from imgsvc.jobs.backend import JobBackend
from imgsvc.jobs.batch import BatchEditor
from imgsvc.jobs.blobs import BlobFolder
from imgsvc.jobs.bodies import encode, failed_body
from imgsvc.jobs.deadline import deadline
from imgsvc.jobs.edit import ImageEditor
from imgsvc.jobs.models import BatchSpec, BlobRef, Job, JobState, Outcome

log = structlog.get_logger(__name__)

DISK_RETRY = 5.0
"""Seconds between two attempts to write to a disk that refuses."""

DISK_ATTEMPTS = 12
"""Attempts to write a callback's body before its result is given up."""


class WorkersConfig(BaseModel):
    """How many jobs are in work at once, and for how long."""

    model_config = ConfigDict(extra="forbid")

    count: int = Field(8, ge=1, le=1024, description="Workers: jobs in work at once.")
    job_timeout: float = Field(
        600,
        gt=0,
        allow_inf_nan=False,
        description="Seconds one image may take, from the worker's claim to its result.",
    )
    batch_concurrency: int = Field(
        4, ge=1, le=256, description="Images of one batch in work at once, if it does not say."
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class JobRunner:
    """Does claimed jobs and delivers their callbacks; never raises for a job's sake."""

    backend: JobBackend
    blobs: BlobFolder
    images: ImageEditor
    batches: BatchEditor
    sender: CallbackSender
    schedule: Sequence[float]  # seconds to wait before each attempt to deliver
    config: WorkersConfig

    async def process(self, job_id: str) -> None:
        """Claim the job, do it, and freeze how it ended."""
        job = await self.backend.start(job_id)
        if job is None:
            return
        with bound_contextvars(job_id=job.id, request_id=job.request_id):
            started = monotonic()
            log.info("job_started", kind=job.spec.kind, attempt=job.attempt)
            outcome = await self._outcome(job)
            state, body = await self._freeze(job, outcome)
            won = await self.backend.finish(job.id, job.attempt, state, body)
            if not won:
                log.warning("job_superseded", attempt=job.attempt)
                await self.blobs.delete([body])
                return
            # Logged before the next await: by then the callback may be on its way.
            log.info(
                "job_finished",
                kind=job.spec.kind,
                state=state,
                seconds=round(monotonic() - started, 3),
                callback_bytes=body.size,
            )
            await self.blobs.delete(job.spec.blobs)

    async def deliver(self, job: Job) -> None:
        """Bring the frozen callback to its receiver, on the schedule, then drop its body."""
        if job.callback_body is None:
            return
        with bound_contextvars(job_id=job.id, request_id=job.request_id):
            delivery = Delivery(
                url=job.callback_url,
                webhook_id=job.webhook_id,
                request_id=job.request_id,
                body=self.blobs.path(job.callback_body),
            )
            verdict = await deliver_until_done(self.sender, delivery, schedule=self.schedule)
            await self.backend.record_delivery(job.id, verdict)
            await self.blobs.delete([job.callback_body])

    async def _freeze(self, job: Job, outcome: Outcome) -> tuple[JobState, BlobRef]:
        """Write the callback's body; return it and how the job ended.

        A full disk gets time, because the result may be paid for; the inputs make room
        at once. A result that still finds none is given up for a body that is small.
        """
        for _ in range(DISK_ATTEMPTS):
            with suppress(DiskRefuses):
                return outcome.state, await self._write(outcome)
            await self.blobs.delete(job.spec.blobs)
            await asyncio.sleep(DISK_RETRY)
        lost = self._failed(
            job, DiskRefuses("The result was lost: the server's disk took no more. Try again.")
        )
        while True:
            with suppress(DiskRefuses):
                return lost.state, await self._write(lost)
            await asyncio.sleep(DISK_RETRY)

    async def _write(self, outcome: Outcome) -> BlobRef:
        return await self.blobs.put(outcome.body, content_type="application/json")

    async def _outcome(self, job: Job) -> Outcome:
        try:
            if isinstance(job.spec, BatchSpec):
                return await self.batches.run(job, job.spec)
            async with deadline(self.config.job_timeout):
                return await self.images.run(job, job.spec)
        except ImgsvcError as exc:
            log.warning("job_failed", code=exc.code, error=describe(exc))
            return self._failed(job, exc)
        except Exception as exc:
            log.exception("job_crashed")
            return self._failed(job, exc)

    def _failed(self, job: Job, exc: Exception) -> Outcome:
        body = failed_body(job, provider=self.images.router.name, error=describe(exc))
        return Outcome(state=JobState.FAILED, body=encode(body))
