"""What the record knows without its file, and how that follows what is on disk."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from imgsvc.jobs.backend import BackendStats, Claim
from imgsvc.jobs.models import CallbackState, Job, JobState
from imgsvc.jobs.sqlite.hand_out import DeliveryFeed, JobFeeds
from imgsvc.jobs.sqlite.queries import Standing
from imgsvc.jobs.sqlite.writer import Database


class Memory:
    """Counts, the jobs that are with workers, the callbacks on their way, and who watches.

    Methods named after a change are called on the event loop, once that change is on disk.
    """

    def __init__(self, database: Database) -> None:
        self.moved = asyncio.Event()  # set by whatever may end a drain
        self.feeds = JobFeeds(database, self.moved.set)
        self.deliveries = DeliveryFeed(database, self.moved.set)
        self._states: Counter[JobState] = Counter()
        self._callbacks: Counter[CallbackState] = Counter()
        self._claims: dict[str, Claim] = {}
        self._draining = False
        self._watchers: dict[str, set[asyncio.Event]] = {}

    @property
    def stats(self) -> BackendStats:
        """How much there is to do right now."""
        return BackendStats(
            queued=self._states[JobState.QUEUED],
            running=self._states[JobState.RUNNING],
            callbacks_pending=self._callbacks[CallbackState.PENDING],
            callbacks_dead=self._callbacks[CallbackState.DEAD],
        )

    @property
    def is_drained(self) -> bool:
        """Whether no job is in work, and no callback on its way or due."""
        busy = self._states[JobState.RUNNING] or self.feeds.under_way
        return not busy and self.deliveries.is_idle

    @contextmanager
    def watch(self, job_id: str) -> Iterator[asyncio.Event]:
        """Yield an event that is set whenever something happens to the job."""
        happened = asyncio.Event()
        watchers = self._watchers.setdefault(job_id, set())
        watchers.add(happened)
        try:
            yield happened
        finally:
            watchers.discard(happened)
            if not watchers:
                self._watchers.pop(job_id, None)

    def tell(self, job_id: str) -> None:
        """Wake up who watches the job."""
        self.moved.set()
        for happened in self._watchers.get(job_id, ()):
            happened.set()

    def drain(self) -> None:
        """Hand out no more jobs, and let those in work begin nothing more."""
        self._draining = True
        self.feeds.close()
        for claim in self._claims.values():
            claim.stopping.set()

    def begin_with(self, standing: Standing) -> None:
        """Take stock of what the file holds at the start."""
        self._states, self._callbacks = standing.states, standing.callbacks
        self.feeds.waiting(standing.waiting)
        self.feeds.running(standing.running)
        if self._callbacks[CallbackState.PENDING]:
            self.deliveries.wake()

    def queued(self, job: Job) -> None:
        """Count a new job."""
        self._states[JobState.QUEUED] += 1
        self._callbacks[CallbackState.NONE] += 1
        self.feeds.of(job).joined(job)
        self.tell(job.id)

    def claimed(self, claim: Claim) -> None:
        """Count a job that is in work, and remember how it is stopped."""
        job = claim.job
        self._states[JobState.QUEUED] -= 1
        self._states[JobState.RUNNING] += 1
        self.feeds.begun(job)
        self._claims[job.id] = claim
        if job.cancel_requested:  # of the worker before a crash
            claim.cancelled.set()
        if job.cancel_requested or self._draining:
            claim.stopping.set()
        self.tell(job.id)

    def cancelled(self, job: Job, *, ended: bool) -> None:
        """Count a job whose cancellation ended it, or tell its worker to stop."""
        if ended:
            self.feeds.of(job).left(job)
            self.feeds.look_again()  # it may have been on its way to a worker
            self.ended(job, JobState.QUEUED)
        elif job.state is JobState.RUNNING and job.id in self._claims:
            self._claims[job.id].cancelled.set()
            self._claims[job.id].stopping.set()
            self.tell(job.id)

    def ended(self, job: Job, former: JobState) -> None:
        """Count a job that has ended."""
        self._states[former] -= 1
        self._states[job.state] += 1
        if former is JobState.RUNNING:
            self.feeds.stopped(job)
        self._claims.pop(job.id, None)
        self.callback_moved(job, CallbackState.NONE)

    def callback_moved(self, job: Job, former: CallbackState) -> None:
        """Count a callback whose state is another one now."""
        self._callbacks[former] -= 1
        self._callbacks[job.callback_state] += 1
        if job.callback_state is CallbackState.PENDING:
            self.deliveries.wake()
        self.tell(job.id)

    def requeued(self, job: Job) -> None:
        """Count a job that its worker was cut off from."""
        self._states[JobState.RUNNING] -= 1
        self._states[JobState.QUEUED] += 1
        self._claims.pop(job.id, None)
        self.feeds.stopped(job)
        self.feeds.of(job).joined(job)
        self.tell(job.id)

    def forgotten(self, callbacks: list[CallbackState]) -> None:
        """Count no longer the callbacks of jobs that are gone."""
        self._callbacks.subtract(callbacks)
