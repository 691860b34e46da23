"""Progress callbacks: now and then how far a batch is, to whoever wants to know."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import orjson
import structlog

from imgsvc.callbacks import Post, PostOutcome, ProgressSender
from imgsvc.jobs.items import Progress
from imgsvc.jobs.models import Job, JobState
from imgsvc.jobs.progress import ProgressTeller

log = structlog.get_logger(__name__)

MAX_IN_FLIGHT = 32
"""Posts of all batches on their way at once; they take no place of a callback."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProgressPosts:
    """Sends the newest numbers of batches, one post of a batch at a time."""

    sender: ProgressSender
    interval: float  # seconds between the beginnings of two posts of one batch, at least
    places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_IN_FLIGHT))

    @asynccontextmanager
    async def of(self, job: Job, teller: ProgressTeller) -> AsyncIterator[None]:
        """Post while the context lasts, if anybody wants it; none is under way after it."""
        if job.progress_url is None:
            yield
            return
        posts = self._post(job, job.progress_url, teller)
        task = asyncio.create_task(posts, name=f"batch-{job.id}-progress")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def _post(self, job: Job, url: str, teller: ProgressTeller) -> None:
        """Post whenever an image has ended since the last time, until nobody wants it."""
        loop = asyncio.get_running_loop()
        last = PostOutcome.DELIVERED
        began = loop.time()  # not at once: a lost worker may have posted just now
        while True:
            await asyncio.sleep(began + self.interval - loop.time())
            await teller.news.wait()
            async with self.places:
                began = loop.time()
                teller.news.clear()
                body = _body(job, teller.newest)
                post = await self.sender.post(url, job.request_id, body)
            if post.outcome is not last:
                _log_change(post)
            if post.outcome is PostOutcome.REFUSED:
                return
            last = post.outcome


def _log_change(post: Post) -> None:
    """Say that posts fail now, or work again: not each time, for there may be very many."""
    if post.outcome is PostOutcome.DELIVERED:
        log.info("progress_post_works", host=post.host)
    else:
        log.warning(
            "progress_post_failed",
            host=post.host,
            outcome=post.outcome,
            status=post.status,
            error=post.error,
        )


def _body(job: Job, progress: Progress) -> bytes:
    about = {"event": "progress", "job_id": job.id, "status": JobState.RUNNING}
    return orjson.dumps({**about, **progress.shown})
