"""Handing out what is to be done: jobs to workers, due callbacks to their delivery."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial

import structlog

from imgsvc.errors import DiskRefuses
from imgsvc.jobs.backend import Deliver, Process, RunLimits, any_number
from imgsvc.jobs.fairness import FairLane, FairOrder
from imgsvc.jobs.models import BatchSpec, Job
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
    another client, can still come first. Batches have a feed and workers of their own:
    nothing else waits for a worker that is busy with one for hours.
    """

    def __init__(
        self,
        database: Database,
        settled: Callable[[], None],
        may_begin: Callable[[str], bool],
        look_again: Callable[[], None],
        *,
        of_batches: bool,
    ) -> None:
        self._database = database
        self._settled = settled  # called when something has ended that a drain waits for
        self._may_begin = may_begin  # whether a client may have another job in work
        self._look_again = look_again  # called when a job that was on its way is not begun
        self._of_batches = of_batches
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

    def look_again(self) -> None:
        """Choose anew: a client may have another job in work by now."""
        self._changed.set()

    async def run(self, group: asyncio.TaskGroup, process: Process, workers: int) -> None:
        """Start the workers in the group, and feed them until cancelled."""
        waiting: asyncio.Queue[str] = asyncio.Queue(maxsize=workers)
        idle = asyncio.Semaphore(0)
        for number in range(workers):
            name = f"batch-worker-{number}" if self._of_batches else f"worker-{number}"
            group.create_task(self._work(waiting, idle, process), name=name)
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
                self._look_again()
            self._settled()

    async def _next(self) -> str:
        """Return the id of the job whose turn it is; wait until there is one."""
        while True:
            self._changed.clear()
            lane = self.order.pick(self._may_begin) if self._open else None
            if lane is None:
                await self._changed.wait()
                continue
            try:
                job_id = await self._database.call(
                    partial(
                        queries.next_in_lane,
                        lane=lane,
                        of_batches=self._of_batches,
                        besides=self._lanes,
                    )
                )
            except DiskRefuses:
                job_id = None
            if job_id is not None:
                self._lanes[job_id] = lane
                return job_id
            # Cancelled in the meantime, or the disk refuses.
            self.order.give_back(lane)
            self._look_again()
            await asyncio.sleep(RETRY)


class JobFeeds:
    """The two feeds, as one: a client's jobs in work are counted over both."""

    def __init__(self, database: Database, settled: Callable[[], None]) -> None:
        self._by_kind = {
            of_batches: JobFeed(
                database, settled, self._may_begin, self.look_again, of_batches=of_batches
            )
            for of_batches in (False, True)
        }
        self._running: Counter[str] = Counter()  # jobs by client
        self._limit: Callable[[str], int | None] = any_number

    @property
    def under_way(self) -> int:
        """How many jobs are with workers that have not claimed them yet."""
        return sum(feed.under_way for feed in self._by_kind.values())

    def close(self) -> None:
        """Hand out no more jobs."""
        for feed in self._by_kind.values():
            feed.close()

    def waiting(self, waiting: Mapping[bool, Mapping[FairLane, int]]) -> None:
        """Take note of what is queued at the start."""
        for of_batches, lanes in waiting.items():
            for lane, count in lanes.items():
                self._by_kind[of_batches].order.join(lane, count)

    def running(self, clients: Mapping[str, int]) -> None:
        """Take note of how many jobs of each client an earlier process has left in work."""
        self._running.update(clients)

    def begun(self, job: Job) -> None:
        """Take note of a job that is in work now."""
        self.of(job).left(job)
        self._running[job.client] += 1

    def stopped(self, job: Job) -> None:
        """Take note of a job that is in work no longer."""
        self._running[job.client] -= 1
        if not self._running[job.client]:
            del self._running[job.client]
        self.look_again()

    def look_again(self) -> None:
        """Choose anew in both: one may have waited for a job in the other."""
        for feed in self._by_kind.values():
            feed.look_again()

    def _may_begin(self, client: str) -> bool:
        limit = self._limit(client)
        if limit is None:
            return True
        on_their_way = sum(feed.order.handed(client) for feed in self._by_kind.values())
        return self._running[client] + on_their_way < limit

    def of(self, job: Job) -> JobFeed:
        """Return the feed that a job belongs to."""
        return self._by_kind[isinstance(job.spec, BatchSpec)]

    async def run(self, group: asyncio.TaskGroup, process: Process, limits: RunLimits) -> None:
        """Start the workers in the group, and feed them until cancelled."""
        self._limit = limits.of_client
        batches = self._by_kind[True].run(group, process, limits.batches)
        group.create_task(batches, name="batch-feed")
        await self._by_kind[False].run(group, process, limits.workers)


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
