"""The record of jobs in a SQLite file, for one process."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from datetime import datetime
from functools import partial
from typing import Any

import structlog

from imgsvc.errors import DiskRefuses, QueueFull
from imgsvc.jobs.audit import Actor
from imgsvc.jobs.backend import (
    Accepted,
    BackendStats,
    Claim,
    Deliver,
    Frozen,
    Process,
    RunLimits,
)
from imgsvc.jobs.models import (
    CallbackAttempt,
    CallbackState,
    EventType,
    Job,
    JobEvent,
    JobFilter,
    JobState,
    NewJob,
    Outcome,
    QueueLimits,
)
from imgsvc.jobs.sqlite import changes, queries
from imgsvc.jobs.sqlite.api_keys import SqliteApiKeys
from imgsvc.jobs.sqlite.audit import SqliteAudit
from imgsvc.jobs.sqlite.client_queues import check_room
from imgsvc.jobs.sqlite.events import add_event
from imgsvc.jobs.sqlite.hand_out import RETRY
from imgsvc.jobs.sqlite.items import SqliteItems, forget_portion
from imgsvc.jobs.sqlite.ledger import SqliteLedger, lose_track
from imgsvc.jobs.sqlite.memory import Memory
from imgsvc.jobs.sqlite.request_rates import SqliteRequestRates
from imgsvc.jobs.sqlite.writer import Database, Transaction

log = structlog.get_logger(__name__)


class SqliteBackend:
    """The protocol `JobBackend` over one :class:`Database`.

    What is not in :class:`Memory` is read from the file when it is needed.
    """

    def __init__(self, database: Database, *, max_queued: int) -> None:
        self.ledger = SqliteLedger(database)
        self.items = SqliteItems(database)
        self.api_keys = SqliteApiKeys(database)
        self.request_rates = SqliteRequestRates(database)
        self.audit = SqliteAudit(database)
        self._database = database
        self._max_queued = max_queued
        self._arriving = 0  # jobs on their way to the disk
        self._recovered = False  # whether what an earlier process was doing is queued again
        self._memory = Memory(database)

    async def recover(self) -> None:
        """Take stock, and queue what an earlier process was doing.

        A full disk leaves the second for the run to do.
        """
        self._memory.begin_with(await self._database.call(queries.standing))
        with suppress(DiskRefuses):
            await self._requeue_crashed()

    async def _requeue_crashed(self) -> None:
        back = await self._database.call(partial(self._put_back, orderly=False))
        self._recovered = True
        if back:
            log.warning("jobs_requeued", jobs=back, reason="service_crashed")

    # -- callers --------------------------------------------------------------------------

    async def accept(self, new: NewJob, *, by: Actor | None = None) -> Accepted:
        """Record a new job, or find the one that its key stands for."""
        full = self._memory.stats.queued + self._arriving >= self._max_queued
        if full and new.idempotency_key is None:
            raise QueueFull

        def run(tx: Transaction) -> Accepted:
            accepted = changes.accept(tx, new, by)
            if accepted.is_new:
                if full:
                    raise QueueFull
                tx.on_commit(lambda: self._memory.queued(accepted.job))
            return accepted

        self._arriving += 1
        future = self._database.submit(run)
        future.add_done_callback(self._arrived)
        return await asyncio.shield(future)

    def _arrived(self, _future: object) -> None:
        self._arriving -= 1

    async def check_room(self, client: str, limits: QueueLimits) -> None:
        """Raise ClientLimitReached if no job of a client would be accepted now."""
        if limits != QueueLimits():
            await self._database.call(lambda tx: check_room(tx, client, 0, limits))

    async def get(self, job_id: str) -> Job:
        """Return the job, or raise JobNotFound."""
        return await self._database.call(lambda tx: changes.get(tx, job_id))

    async def list(self, wanted: JobFilter, *, before: int | None, limit: int) -> Sequence[Job]:
        """Return a page of jobs, the newest first."""
        return await self._database.call(lambda tx: queries.list_jobs(tx, wanted, before, limit))

    async def cancel(
        self, job_id: str, outcome: Outcome, callback: Frozen | None, *, by: Actor | None = None
    ) -> Job:
        """End a queued job, or tell the worker of a running one to stop."""

        def run(tx: Transaction) -> Job:
            job, ended = changes.cancel(tx, job_id, outcome, callback, by)
            tx.on_commit(lambda: self._memory.cancelled(job, ended=ended))
            return job

        return await self._database.call(run)

    async def redeliver(self, job_id: str, *, by: Actor | None = None) -> Job:
        """Make a settled callback due now."""

        def run(tx: Transaction) -> Job:
            job, former = changes.redeliver(tx, job_id, by)
            tx.on_commit(lambda: self._memory.callback_moved(job, former))
            return job

        return await self._database.call(run)

    async def attempts(self, job_id: str) -> Sequence[CallbackAttempt]:
        """Return the newest attempts to deliver the job's callback."""
        return await self._database.call(lambda tx: queries.attempts(tx, job_id))

    async def events(self, job_id: str, *, after: int, limit: int) -> Sequence[JobEvent]:
        """Return the job's events behind `after`."""
        return await self._database.call(lambda tx: queries.events(tx, job_id, after, limit))

    def watch(self, job_id: str) -> AbstractContextManager[asyncio.Event]:
        """Return a context with an event that is set whenever something happens to the job."""
        return self._memory.watch(job_id)

    async def check(self) -> None:
        """Raise DiskRefuses if the file could not be written lately and still cannot."""
        await self._database.check()

    def size(self) -> int:
        """Return the bytes of disk that the record uses."""
        return self._database.size

    def stats(self) -> BackendStats:
        """Return how much there is to do right now."""
        return self._memory.stats

    # -- workers --------------------------------------------------------------------------

    async def start(self, job_id: str) -> Claim | None:
        """Claim a queued job, or return None."""

        def run(tx: Transaction) -> Claim | None:
            job = changes.start(tx, job_id)
            if job is None:
                return None
            claim = Claim(job=job, cancelled=asyncio.Event(), stopping=asyncio.Event())
            tx.on_commit(lambda: self._memory.claimed(claim))
            return claim

        return await self._database.call(run)

    async def finish(self, job_id: str, token: int, outcome: Outcome, callback: Frozen) -> bool:
        """Fix the outcome and the callback's body together."""

        def run(tx: Transaction) -> bool | None:
            if changes.close_portion(tx, job_id, token, outcome.error):
                return None  # others may go first
            job = changes.finish(tx, job_id, token, outcome, callback)
            if job is not None:
                tx.on_commit(lambda: self._memory.ended(job, JobState.RUNNING))
            return job is not None

        while (won := await self._database.call(run)) is None:
            pass
        return won

    async def put_back(self, job_id: str, token: int) -> None:
        """Queue a job again that has stopped in an orderly way."""

        def run(tx: Transaction) -> None:
            for job in changes.put_back(tx, orderly=True, held=(job_id, token)):
                tx.on_commit(partial(self._memory.requeued, job))

        await self._database.call(run)

    async def record_delivery(
        self,
        job_id: str,
        attempt: CallbackAttempt,
        state: CallbackState,
        next_at: datetime | None,
    ) -> bool:
        """Keep how an attempt went, and when the next one is due."""

        def run(tx: Transaction) -> bool:
            job = changes.record_delivery(tx, job_id, attempt, state, next_at)
            if job is not None:
                tx.on_commit(lambda: self._memory.callback_moved(job, CallbackState.PENDING))
            return job is not None

        return await self._database.call(run)

    def record_event(self, job_id: str, kind: EventType, data: Mapping[str, Any]) -> None:
        """Add to the job's story without waiting for the disk."""

        def run(tx: Transaction) -> None:
            add_event(tx, changes.get(tx, job_id).seq, kind, data)
            tx.on_commit(lambda: self._memory.tell(job_id))

        self._database.submit(run).add_done_callback(_log_loss)

    async def run(self, process: Process, deliver: Deliver, limits: RunLimits) -> None:
        """Run the workers and the deliveries until cancelled."""
        try:
            while not self._recovered:
                with suppress(DiskRefuses):
                    await self._requeue_crashed()
                await asyncio.sleep(0 if self._recovered else RETRY)
            async with asyncio.TaskGroup() as group:
                deliveries = self._memory.deliveries.run(group, deliver, limits)
                group.create_task(deliveries, name="deliveries")
                await self._memory.feeds.run(group, process, limits)
        finally:
            with suppress(DiskRefuses):  # the next start does it
                await self._database.call(partial(self._put_back, orderly=True))

    async def drain(self) -> None:
        """Hand out no more jobs, and wait until those in work, and what is due, are done."""
        self._memory.drain()
        while not self._memory.is_drained:
            self._memory.moved.clear()
            await self._memory.moved.wait()

    # -- upkeep ---------------------------------------------------------------------------

    async def forget(self, *, before: datetime, limit: int) -> Sequence[str]:
        """Remove settled jobs that ended earlier, and return the keys of their blobs."""
        # A large batch has very many items.
        while await self._database.call(lambda tx: forget_portion(tx, before, limit)):
            pass

        def run(tx: Transaction) -> Sequence[str]:
            keys, callbacks = changes.forget(tx, before, limit)
            tx.on_commit(lambda: self._memory.forgotten(callbacks))
            return keys

        return await self._database.call(run)

    async def unknown_blobs(self, keys: Sequence[str]) -> frozenset[str]:
        """Return those of the keys that belong to no job."""
        return await self._database.call(lambda tx: queries.unknown_blobs(tx, keys))

    def _put_back(self, tx: Transaction, *, orderly: bool) -> int:
        """Queue what workers were cut off from, and return how many jobs that are."""
        if not orderly:
            lose_track(tx)
        back = changes.put_back(tx, orderly=orderly)
        for job in back:
            tx.on_commit(partial(self._memory.requeued, job))
        return len(back)


def _log_loss(future: "asyncio.Future[None]") -> None:
    if not future.cancelled() and (error := future.exception()) is not None:
        log.warning("event_not_recorded", error=type(error).__name__)
