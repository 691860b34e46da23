"""The three tools: from a request to an accepted job, and to its result if the caller waits."""

import asyncio
from contextlib import suppress

import structlog
from aiohttp import web

from imgsvc.errors import DiskRefuses, MissingCallbackUrl, ShuttingDown
from imgsvc.jobs.models import Job, JobKind, NewJob
from imgsvc.killpoints import KillPoint, around
from imgsvc.web.answers import AcceptedResponse
from imgsvc.web.auditing import actor_of
from imgsvc.web.auth.principal import PRINCIPAL
from imgsvc.web.idempotency import idempotency_key
from imgsvc.web.intake import Order
from imgsvc.web.keys import CONTEXT, REQUEST_ID
from imgsvc.web.prefer import parse_prefer
from imgsvc.web.results import callback_body_response

log = structlog.get_logger(__name__)

CALLER_CHECK = 1.0
"""Seconds between two looks whether the caller still waits: aiohttp does not tell."""


async def process_image_to_base64(request: web.Request) -> web.StreamResponse:
    """Take one image; the callback carries the result."""
    return await _Submission(request).image(JobKind.IMAGE_TO_BASE64)


async def process_image_to_storage(request: web.Request) -> web.StreamResponse:
    """Take one image; the callback carries a link to the result."""
    return await _Submission(request).image(JobKind.IMAGE_TO_STORAGE)


async def batch_process_images(request: web.Request) -> web.StreamResponse:
    """Take a prompt for many images of a bucket."""
    return await _Submission(request).batch()


class _Submission:
    """A request for a job; its headers are checked before its body is read."""

    def __init__(self, request: web.Request) -> None:
        self.request = request
        self.context = request.app[CONTEXT]
        self.context.readiness.check()
        self.context.spool.check()
        self.preferences = parse_prefer(request.headers.getall("Prefer", []))
        self.key = idempotency_key(request.headers)
        self.limits = self.context.clients.of(request[PRINCIPAL].client)
        self.callback_url = self.context.intake.callback_url(request.headers, self.limits)
        self.progress_url: str | None = None  # only of a batch

    async def image(self, kind: JobKind) -> web.StreamResponse:
        """Accept an edit of one image, and answer."""
        if self._misses_callback:
            raise MissingCallbackUrl
        if self.key is None:  # else it may repeat a job that there is
            await self.context.backend.check_room(self.request[PRINCIPAL].client, self.limits.queue)
        async with self.context.intake.image_order(self.request, kind, self.limits) as order:
            job, is_new = await self._accept(order)
        return await self._answer(job, is_new=is_new)

    async def batch(self) -> web.StreamResponse:
        """Accept a batch, and answer; or tell what it would do, which needs no callback."""
        intake = self.context.intake
        self.progress_url = intake.progress_url(
            self.request.headers, self.limits, callback_url=self.callback_url
        )
        body = await intake.batch_request(self.request, dry_only=self._misses_callback)
        spec = await intake.batch_spec(body, self.limits)
        if body.dry_run:
            return await self.context.dry_runs.answer(self.request, spec, body.keys)
        async with intake.batch_order(spec, body, self.limits) as order:
            job, is_new = await self._accept(order)
        return await self._answer(job, is_new=is_new)

    @property
    def _misses_callback(self) -> bool:
        return self.callback_url is None and not self.preferences.without_callback

    async def _accept(self, order: Order) -> tuple[Job, bool]:
        """Record a new job, or find the one that this request repeats."""
        # Again: the body may have been long in coming.
        self.context.readiness.check()
        await self.context.guard.check_again(self.request)
        new = NewJob(
            spec=order.spec,
            request_id=self.request[REQUEST_ID],
            client=self.request[PRINCIPAL].client,
            callback_url=self.callback_url,
            progress_url=self.progress_url,
            priority=order.priority,
            idempotency_key=self.key,
            digest=order.digest,
            limits=self.limits.queue,
        )
        with around(KillPoint.ACCEPT_COMMITTED):
            accepted = await self.context.backend.accept(new, by=actor_of(self.request))
        job = accepted.job
        if accepted.is_new:
            log.info("job_accepted", job_id=job.id, kind=job.spec.kind)
        else:
            log.info("job_repeated", job_id=job.id, kind=job.spec.kind)
            await self.context.intake.blobs.delete(order.spec.blobs)
        return job, accepted.is_new

    async def _answer(self, job: Job, *, is_new: bool) -> web.StreamResponse:
        """Return 202, or the callback's body if the caller waits and the job has ended."""
        headers = self.preferences.headers
        if not is_new:
            headers["Idempotent-Replayed"] = "true"
        headers["Location"] = f"/jobs/{job.id}"
        if self.preferences.wait is not None:
            job = await _ended(self.request, job, self.preferences.wait)
            if job.callback_body is not None:
                return await callback_body_response(
                    self.request, self.context.intake.blobs, job.callback_body, headers=headers
                )
        return AcceptedResponse({"accepted": True, "job_id": job.id}, headers=headers)


async def _ended(request: web.Request, job: Job, seconds: float) -> Job:
    """Return the job once it has ended, or as it is when there is no more waiting.

    That is after so many seconds, when the caller has gone, when the server drains, and
    when the disk refuses: the job is accepted all the same.
    """
    if job.finished_at is not None:
        return job
    readiness = request.app[CONTEXT].readiness
    try:
        async with asyncio.timeout(seconds):
            return await readiness.unless_draining(_watched(request, job.id))
    except (TimeoutError, ShuttingDown, DiskRefuses):
        return job


async def _watched(request: web.Request, job_id: str) -> Job:
    """Return the job as it is when it has ended or the caller has gone."""
    backend = request.app[CONTEXT].backend
    with backend.watch(job_id) as happened:
        while True:
            happened.clear()
            job = await backend.get(job_id)
            if job.finished_at is not None or request.transport is None:
                return job
            with suppress(TimeoutError):
                async with asyncio.timeout(CALLER_CHECK):
                    await happened.wait()
