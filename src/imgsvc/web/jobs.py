"""What callers and operators see of jobs, and what they can do with one."""

import asyncio
import re
from contextlib import suppress
from dataclasses import replace
from typing import Any

from aiohttp import web

from imgsvc.errors import JobFinished, JobNotFound
from imgsvc.jobs import JobBackend
from imgsvc.jobs.items import ItemFilter
from imgsvc.jobs.models import BatchSpec, Job, JobState
from imgsvc.web.answers import AcceptedResponse, json_response
from imgsvc.web.auditing import actor_of
from imgsvc.web.auth.principal import PRINCIPAL
from imgsvc.web.item_view import items_view
from imgsvc.web.job_query import ItemQuery, JobQuery, parse_query
from imgsvc.web.job_view import job_view, page_view
from imgsvc.web.keys import CONTEXT, REQUEST_ID, Context
from imgsvc.web.results import result_response

CANCEL_WAIT = 5.0
"""Seconds that a cancelled job gets to stop, before the answer says that it still runs."""

_JOB_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


async def list_jobs(request: web.Request) -> web.Response:
    """List jobs, the newest first, a page at a time."""
    context = request.app[CONTEXT]
    query = parse_query(JobQuery, request.query)
    wanted = replace(query.wanted, client=request[PRINCIPAL].sees_only)
    before = None if query.cursor is None else context.cursors.decode(query.cursor, wanted)
    # One more than is shown: it tells whether there is a next page.
    jobs = await context.backend.list(wanted, before=before, limit=query.limit + 1)
    page = jobs[: query.limit]
    more = len(jobs) > len(page)
    next_cursor = context.cursors.encode(page[-1].seq, wanted) if more else None
    return json_response(page_view(page, context.base_url, next_cursor))


async def get_job(request: web.Request) -> web.Response:
    """Show a job with the attempts to deliver its callback."""
    context = request.app[CONTEXT]
    return json_response(await _view(context, await visible_job(request)))


async def list_items(request: web.Request) -> web.Response:
    """List the items of a batch, a page at a time."""
    context = request.app[CONTEXT]
    query = parse_query(ItemQuery, request.query)
    job = await visible_job(request)
    wanted = ItemFilter(job_id=job.id, state=query.state)
    after = 0 if query.cursor is None else context.cursors.decode(query.cursor, wanted)
    items = await context.backend.items.page(wanted, after=after, limit=query.limit + 1)
    page = items[: query.limit]
    more = len(items) > len(page)
    next_cursor = context.cursors.encode(page[-1].number, wanted) if more else None
    return json_response(items_view(page, next_cursor))


async def get_result(request: web.Request) -> web.StreamResponse:
    """Send the image, or a new link to what is stored."""
    context = request.app[CONTEXT]
    return await result_response(
        request,
        await visible_job(request),
        blobs=context.intake.blobs,
        storage=context.storage,
        buckets=context.buckets,
    )


async def cancel_job(request: web.Request) -> web.Response:
    """Stop a job; 200 once it has ended, 202 if it takes its time."""
    context = request.app[CONTEXT]
    wanted = (await visible_job(request)).id
    with context.backend.watch(wanted) as happened:
        job = await context.control.cancel(wanted, by=actor_of(request))
        with suppress(TimeoutError):
            async with asyncio.timeout(CANCEL_WAIT):
                job = await _wait_for_end(context.backend, job, happened)
    if job.finished_at is not None and job.state is not JobState.CANCELLED:
        raise JobFinished(job.state)  # its work was done before it could be stopped
    return json_response(await _view(context, job), status=202 if job.finished_at is None else 200)


async def retry_job(request: web.Request) -> web.Response:
    """Do a job again, as a new one."""
    context = request.app[CONTEXT]
    context.readiness.check()
    context.spool.check()
    old = (await visible_job(request)).id
    job = await context.control.retry(old, request_id=request[REQUEST_ID], by=actor_of(request))
    return AcceptedResponse(
        {"accepted": True, "job_id": job.id, "retry_of": old},
        headers={"Location": f"/jobs/{job.id}"},
    )


async def redeliver_callback(request: web.Request) -> web.Response:
    """Send a settled callback again."""
    context = request.app[CONTEXT]
    wanted = (await visible_job(request)).id
    job = await context.backend.redeliver(wanted, by=actor_of(request))
    return json_response(await _view(context, job), status=202)


async def visible_job(request: web.Request) -> Job:
    """Return the job in the path, if the caller may see it.

    Raises JobNotFound else: whether somebody else has such a job is not told.
    """
    job = await request.app[CONTEXT].backend.get(_job_id(request))
    if not request[PRINCIPAL].sees(job.client):
        raise JobNotFound
    return job


def _job_id(request: web.Request) -> str:
    """Return the id in the path; raise JobNotFound for one that no job can have."""
    given = request.match_info["job_id"].lower()
    if not _JOB_ID.fullmatch(given):
        raise JobNotFound
    return given


async def _view(context: Context, job: Job) -> dict[str, Any]:
    attempts = await context.backend.attempts(job.id)
    progress = None
    if isinstance(job.spec, BatchSpec):
        progress = await context.backend.items.progress(job.id)
    return job_view(job, context.base_url, attempts, progress)


async def _wait_for_end(backend: JobBackend, job: Job, happened: asyncio.Event) -> Job:
    while job.finished_at is None:
        await happened.wait()
        happened.clear()  # before the look: what happens after it must set it again
        job = await backend.get(job.id)
    return job
