"""What callers and operators do to a job that exists: cancel it, or do it again."""

from contextlib import aclosing
from dataclasses import dataclass, replace

import structlog

from imgsvc.errors import JobCancelled, JobFinished, JobNotRetryable, PayloadLost
from imgsvc.jobs.audit import Actor
from imgsvc.jobs.backend import JobBackend
from imgsvc.jobs.blobs import BlobFolder
from imgsvc.jobs.bodies import Ending, unfinished
from imgsvc.jobs.client_rules import (
    check_callback,
    check_places,
    checked_options,
)
from imgsvc.jobs.clients import ClientConfig, Clients
from imgsvc.jobs.freezing import Freezer
from imgsvc.jobs.models import (
    BatchSpec,
    BlobRef,
    ImageSpec,
    Job,
    JobSpec,
    JobState,
    NewJob,
    StoredImage,
)
from imgsvc.jobs.selection import key_lines
from imgsvc.providers import Catalogue
from imgsvc.storage import StorageConfig

log = structlog.get_logger(__name__)

_RETRYABLE = frozenset({JobState.FAILED, JobState.CANCELLED, JobState.COMPLETED_WITH_ERRORS})


def is_retryable(job: Job) -> bool:
    """Tell whether the job can be done again: it went wrong, and what it needs is there."""
    return job.state in _RETRYABLE and (job.spec.keeps_blobs(job.state) or not job.spec.blobs)


def _was_begun(job: Job) -> bool:
    """Tell whether a worker has to say what there is of a batch, although it may be queued."""
    return isinstance(job.spec, BatchSpec) and job.attempt > 0


@dataclass(frozen=True, kw_only=True, slots=True)
class JobControl:
    """Cancels jobs and does them again."""

    backend: JobBackend
    blobs: BlobFolder
    freezer: Freezer
    catalogue: Catalogue
    storage: StorageConfig
    clients: Clients

    async def cancel(self, job_id: str, *, by: Actor | None = None) -> Job:
        """End a queued job, or tell the worker of a running one to stop; return it as it is then.

        A batch that goes on after a restart is ended by its next worker.

        Cancelling a cancelled job changes nothing. Raises JobNotFound, or JobFinished if
        it has ended in another way.
        """
        job = await self.backend.get(job_id)
        provider = job.spec.asked_for(self.catalogue)
        ending = unfinished(job, JobCancelled(), provider=provider, spent=job.spent)
        # Neither needs room on the disk, which may be full.
        if job.state is JobState.RUNNING or _was_begun(job):
            job = await self.backend.cancel(job_id, ending.outcome, None, by=by)
        if job.state is JobState.QUEUED and not _was_begun(job):
            job = await self._end_queued(job, ending, by)
        if job.finished_at is not None and job.state is not JobState.CANCELLED:
            raise JobFinished(job.state)
        log.info("job_cancel", job_id=job.id, state=job.state)
        return job

    async def _end_queued(self, job: Job, ending: Ending, by: Actor | None) -> Job:
        frozen = await self.freezer.freeze(ending)
        try:
            job = await self.backend.cancel(job.id, ending.outcome, frozen, by=by)
        except Exception:
            # Not when it is cut off: the job may have ended so already.
            await self.blobs.delete([frozen.body])
            raise
        # Else it runs by now, or has ended otherwise.
        if job.callback_body != frozen.body:
            await self.blobs.delete([frozen.body])
        elif not job.spec.keeps_blobs(job.state):
            await self.blobs.delete(job.spec.blobs)
        return job

    async def retry(self, job_id: str, *, request_id: str, by: Actor | None = None) -> Job:
        """Do a job again as a new one of the same client, which refers to the old one.

        It is held to what its client may do now. Return the new one. Raises JobNotFound,
        JobNotRetryable, PayloadLost if what came with the request is gone, NotAllowedForClient,
        BucketNotAllowed, ClientLimitReached, QueueFull or DiskRefuses.
        """
        job = await self.backend.get(job_id)
        if job.state not in _RETRYABLE:
            raise JobNotRetryable(
                f"The job is {job.state}. Only one that failed, was cancelled or ended with"
                " errors can be done again."
            )
        limits = self.clients.of(job.client)
        spec = await self._with_own_inputs(await self._allowed(job, limits))
        new = NewJob(
            spec=spec,
            request_id=request_id,
            client=job.client,
            callback_url=job.callback_url,
            progress_url=job.progress_url,
            priority=limits.held_to_priority(job.priority),
            retry_of=job.id,
            limits=limits.queue,
        )
        try:
            accepted = await self.backend.accept(new, by=by)
        except Exception:
            await self.blobs.delete(spec.blobs)
            raise
        log.info("job_accepted", job_id=accepted.job.id, kind=spec.kind)
        return accepted.job

    async def _allowed(self, job: Job, limits: ClientConfig) -> JobSpec:
        """Return the specification with the models that may edit now; raise if it may not be done.

        The rules may have changed since the job was accepted.
        """
        for url in filter(None, (job.callback_url, job.progress_url)):
            check_callback(limits, url)
        spec, storage = job.spec, self.storage
        if isinstance(spec, BatchSpec):
            if spec.keys is None or limits.buckets is None:
                check_places(limits, spec, storage, [spec.input_prefix])
            else:
                async with aclosing(key_lines(self.blobs.path(spec.keys))) as keys:
                    async for key in keys:
                        check_places(limits, spec, storage, [key])
        has_mask = isinstance(spec, ImageSpec) and spec.mask is not None
        options = checked_options(limits, spec.options, self.catalogue, has_mask=has_mask)
        return replace(spec, options=options)

    async def _with_own_inputs(self, spec: JobSpec) -> JobSpec:
        """Return the specification with copies of its blobs: each job owns and drops its own."""
        copied: list[BlobRef] = []
        try:
            for blob in spec.blobs:
                copied += [await self.blobs.copy(blob)]
        except FileNotFoundError as exc:
            await self.blobs.delete(copied)
            raise PayloadLost(
                "What came with the request was dropped when the job ended. Send it again as a"
                " new request."
            ) from exc
        if isinstance(spec, BatchSpec):
            return replace(spec, keys=copied.pop(0)) if spec.keys is not None else spec
        if isinstance(spec.image, StoredImage):
            spec = replace(spec, image=replace(spec.image, blob=copied.pop(0)))
        return replace(spec, mask=copied.pop(0)) if spec.mask is not None else spec
