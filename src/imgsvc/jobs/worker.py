"""What a worker does with a job, from claiming it to its frozen callback."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from time import monotonic

import structlog
from pydantic import BaseModel, ConfigDict, Field
from structlog.contextvars import bound_contextvars

from imgsvc.errors import DiskRefuses, ImgsvcError, JobCancelled, JobPoisoned, describe
from imgsvc.jobs.backend import Claim, Frozen, JobBackend
from imgsvc.jobs.batch import BatchEditor
from imgsvc.jobs.blobs import BlobFolder
from imgsvc.jobs.bodies import Ending, unfinished
from imgsvc.jobs.clients import Clients
from imgsvc.jobs.deadline import deadline
from imgsvc.jobs.edit import ImageEditor
from imgsvc.jobs.freezing import DISK_ATTEMPTS, DISK_RETRY, Freezer, persist
from imgsvc.jobs.items import JobLost
from imgsvc.jobs.models import BatchSpec
from imgsvc.jobs.spending import BudgetsConfig, JobAccount
from imgsvc.jobs.stopping import JobStopping, unless_cancelled
from imgsvc.jobs.story import Story
from imgsvc.jobs.thumbnails import Thumbnailer
from imgsvc.killpoints import KillPoint, around

log = structlog.get_logger(__name__)


class WorkersConfig(BaseModel):
    """How many jobs are in work at once, and for how long."""

    model_config = ConfigDict(extra="forbid")

    count: int = Field(
        8,
        ge=1,
        le=1024,
        description="Single images in work at once; besides, as many of all batches together.",
    )
    batches: int = Field(
        4,
        ge=1,
        le=1024,
        description="Batches in work at once; each of their images waits for its turn.",
    )
    job_timeout: float = Field(
        600,
        gt=0,
        allow_inf_nan=False,
        description="Seconds one image may take, from the worker's claim to its result.",
    )
    max_attempts: int = Field(
        3,
        ge=1,
        description="How often a job is begun, if the service is lost each time, before it fails.",
    )
    batch_concurrency: int = Field(
        4, ge=1, le=256, description="Images of one batch in work at once, if it does not say."
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class JobRunner:
    """Does claimed jobs; never raises for a job's sake."""

    backend: JobBackend
    blobs: BlobFolder
    images: ImageEditor
    batches: BatchEditor
    freezer: Freezer
    thumbnailer: Thumbnailer
    config: WorkersConfig
    budgets: BudgetsConfig
    clients: Clients = field(default_factory=Clients)

    async def process(self, job_id: str) -> None:
        """Claim the job, do it, and freeze how it ended."""
        try:
            with around(KillPoint.CLAIMED):
                claim = await self.backend.start(job_id)
        except DiskRefuses:
            await asyncio.sleep(DISK_RETRY)
            return  # it is still queued
        if claim is None:
            return
        job = claim.job
        with bound_contextvars(job_id=job.id, request_id=job.request_id, client=job.client):
            started = monotonic()
            log.info("job_started", kind=job.spec.kind, attempt=job.attempt)
            account = JobAccount(
                ledger=self.backend.ledger,
                job=job,
                budgets=self.budgets,
                client_day_usd=self.clients.of(job.client).day_usd,
            )
            try:
                ending = await self._work(claim, account)
            except JobStopping:
                await persist(lambda: self.backend.put_back(job.id, job.attempt))
                log.info("job_interrupted", attempt=job.attempt)
                return
            ending, frozen = await self._freeze(account, ending)
            with self.blobs.reserved(frozen.body), around(KillPoint.FINISH_COMMITTED):
                won = await persist(
                    lambda: self.backend.finish(job.id, job.attempt, ending.outcome, frozen)
                )
            if not won:
                log.warning("job_superseded", attempt=job.attempt)
                await self.blobs.delete([frozen.body])
                return
            # Logged before the next await: by then the callback may be on its way.
            log.info(
                "job_finished",
                kind=job.spec.kind,
                state=ending.outcome.state,
                seconds=round(monotonic() - started, 3),
                callback_bytes=frozen.body.size,
            )
            if not job.spec.keeps_blobs(ending.outcome.state):
                await self.blobs.delete(job.spec.blobs)

    async def _freeze(self, account: JobAccount, ending: Ending) -> tuple[Ending, Frozen]:
        """Write the callback's body; return it and how the job ended.

        A full disk gets time, because the result may be paid for. A result that finds no
        room is given up for a body that is small.
        """
        with suppress(DiskRefuses):
            freeze = partial(self.freezer.freeze, ending)
            return ending, await persist(freeze, attempts=DISK_ATTEMPTS)
        lost = self._unfinished(
            account, DiskRefuses("The result was lost: the server's disk took no more. Try again.")
        )
        return lost, await persist(lambda: self.freezer.freeze(lost))

    async def _work(self, claim: Claim, account: JobAccount) -> Ending:
        """Do a claimed job. Raises JobStopping if it is to go on at the next start."""
        job = claim.job
        # A batch gives up its images first: one more attempt is for that.
        most = self.config.max_attempts + isinstance(job.spec, BatchSpec)
        beyond = job.attempt - job.interruptions - most
        if beyond > 0:
            log.error("job_poisoned", attempt=job.attempt)
        # A batch says what there is of it, unless that was what took the service along.
        if beyond > isinstance(job.spec, BatchSpec):
            return self._unfinished(account, JobPoisoned())
        story = Story(
            backend=self.backend,
            job_id=job.id,
            account=account,
            thumbnailer=self.thumbnailer,
        )
        try:
            if isinstance(job.spec, BatchSpec):
                return await self.batches.run(
                    job,
                    job.spec,
                    story,
                    cancelled=claim.cancelled,
                    stopping=claim.stopping,
                    given_up=JobPoisoned() if beyond > 0 else None,
                )
            async with deadline(self.config.job_timeout) as until:
                work = self.images.run(job, job.spec, story, until=until)
                return await unless_cancelled(claim.cancelled, work)
        except JobStopping:
            raise
        except (JobCancelled, JobLost) as exc:
            return self._unfinished(account, exc)
        except ImgsvcError as exc:
            log.warning("job_failed", code=exc.code, error=describe(exc))
            return self._unfinished(account, exc)
        except Exception as exc:
            log.exception("job_crashed")
            return self._unfinished(account, exc)

    def _unfinished(self, account: JobAccount, exc: Exception) -> Ending:
        provider = account.job.spec.asked_for(self.images.router.catalogue)
        return unfinished(account.job, exc, provider=provider, spent=account.spent)
