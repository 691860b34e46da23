"""Handing out what is to be done: jobs to workers, due callbacks to their delivery."""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

import structlog

from imgsvc.errors import DiskRefuses
from imgsvc.jobs.backend import Deliver, Process, RunLimits
from imgsvc.jobs.fairness import FairLane, FairOrder
from imgsvc.jobs.models import Job
from imgsvc.jobs.sqlite import queries
from imgsvc.jobs.sqlite.writer import Database

log = structlog.get_logger(__name__)

LOOK = 32
"""Due callbacks that are read at once; after those that could be started comes another look."""

RETRY = 1.0
"""Seconds before the record is asked again, if the disk refused."""


class JobFeed:
    """Feeds a bounded queue from the record, one job for each worker that has nothing to do.

    A job is chosen only when a worker is free: until then a more urgent one, or one of
    another client, can still come first.
    """

    def __init__(self, database: Database, settled: Callable[[], None]) -> None:
        self._database = database
        self._settled = settled  # called when something has ended that a drain waits for
        self.order = FairOrder()
        self._lanes: dict[str, FairLane] = {}  # of the jobs on their way to a worker
        self._changed = asyncio.Event()
        self._open = True

    @property
    def under_way(self) -> int:
        """How many jobs are with workers that have not claimed them yet."""
        return len(self._lanes)

    def close(self) -> None:
        """Hand out no more jobs."""
        self._open = False

    def joined(self, job: Job) -> None:
        """Take note of a job that is queued now."""
        self.order.join((job.priority, job.client))
        self._changed.set()

    def left(self, job: Job) -> None:
        """Take note of a job that is queued no longer."""
        handed = self._lanes.pop(job.id, None) is not None
        self.order.leave((job.priority, job.client), handed=handed)

    async def run(self, group: asyncio.TaskGroup, process: Process, workers: int) -> None:
        """Start the workers in the group, and feed them until cancelled."""
        waiting: asyncio.Queue[str] = asyncio.Queue(maxsize=workers)
        idle = asyncio.Semaphore(0)
        for number in range(workers):
            group.create_task(self._work(waiting, idle, process), name=f"worker-{number}")
        while True:
            await idle.acquire()
            waiting.put_nowait(await self._next())

    async def _work(
        self, waiting: asyncio.Queue[str], idle: asyncio.Semaphore, process: Process
    ) -> None:
        while True:
            idle.release()
            job_id = await waiting.get()
            await process(job_id)
            if (lane := self._lanes.pop(job_id, None)) is not None:
                self.order.give_back(lane)  # it was not claimed
                self._changed.set()
            self._settled()

    async def _next(self) -> str:
        """Return the id of the job whose turn it is; wait until there is one."""
        while True:
            self._changed.clear()
            lane = self.order.pick() if self._open else None
            if lane is None:
                await self._changed.wait()
                continue
            try:
                job_id = await self._database.call(
                    lambda tx, lane=lane: queries.next_in_lane(tx, lane, self._lanes)  # type: ignore[misc]  # mypy cannot tell a default's type
                )
            except DiskRefuses:
                job_id = None
            if job_id is not None:
                self._lanes[job_id] = lane
                return job_id
            # Cancelled in the meantime, or the disk refuses.
            self.order.give_back(lane)
            await asyncio.sleep(RETRY)


class DeliveryFeed:
    """Starts the delivery of callbacks when they are due, so many at a time."""

    def __init__(self, database: Database, settled: Callable[[], None]) -> None:
        self._database = database
        self._settled = settled  # as with jobs
        self._on_their_way: dict[str, str] = {}  # job id to host
        self._changed = asyncio.Event()
        self._looked = True  # whether nothing has become due since the last look

    @property
    def is_idle(self) -> bool:
        """Whether no callback is on its way, and none is due."""
        return self._looked and not self._on_their_way

    def wake(self) -> None:
        """Look for due callbacks: there may be new ones."""
        self._looked = False
        self._changed.set()

    async def run(self, group: asyncio.TaskGroup, deliver: Deliver, limits: RunLimits) -> None:
        """Start deliveries in the group until cancelled."""
        while True:
            self._changed.clear()
            try:
                due = await self._look(limits)
            except DiskRefuses:
                await asyncio.sleep(RETRY)
                continue
            started = self._start(group, deliver, due, limits)
            if not started:
                self._looked = not self._changed.is_set()
                self._settled()
                await self._sleep_until(due.next_at)

    async def _look(self, limits: RunLimits) -> queries.Due:
        jobs, hosts = list(self._on_their_way), Counter(self._on_their_way.values())
        busy = [host for host, count in hosts.items() if count >= limits.callbacks_per_host]
        return await self._database.call(
            lambda tx: queries.due_callbacks(
                tx,
                besides=jobs,
                busy_hosts=busy,
                # Few at a time: they may all go to one host, which takes only so many.
                limit=min(LOOK, limits.callbacks - len(jobs)),
            )
        )

    def _start(
        self, group: asyncio.TaskGroup, deliver: Deliver, due: queries.Due, limits: RunLimits
    ) -> int:
        hosts = Counter(self._on_their_way.values())
        started = 0
        for job, host in due.jobs:
            if hosts[host] < limits.callbacks_per_host:
                hosts[host] += 1
                self._on_their_way[job.id] = host
                group.create_task(self._deliver(job, deliver), name=f"callback-{job.id}")
                started += 1
        return started

    async def _deliver(self, job: Job, deliver: Deliver) -> None:
        try:
            await deliver(job)
        finally:
            del self._on_their_way[job.id]
            self.wake()

    async def _sleep_until(self, time: datetime | None) -> None:
        seconds = None if time is None else max(0.0, (time - datetime.now(UTC)).total_seconds())
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()
