"""One run of a batch: objects are found and edited until nothing is left, or it is stopped."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from time import monotonic
from typing import Any, TypeVar

import structlog

from imgsvc.errors import (
    BudgetSpent,
    ImgsvcError,
    JobCancelled,
    PayloadLost,
    StorageError,
    describe,
)
from imgsvc.imaging.lines import gives_way
from imgsvc.jobs.batch_item import ItemEditor
from imgsvc.jobs.bodies import MAX_ERROR_LINES
from imgsvc.jobs.freezing import persist
from imgsvc.jobs.items import Found, Item, ItemEnd, ItemFilter, Items, ItemState, JobLost
from imgsvc.jobs.manifest import shown
from imgsvc.jobs.models import BatchSpec, Job
from imgsvc.jobs.progress import ProgressTeller, RateMeter
from imgsvc.jobs.selection import Selector
from imgsvc.jobs.spent import Spent
from imgsvc.jobs.stopping import JobStopping, unless
from imgsvc.jobs.story import Story
from imgsvc.jobs.summary import Summary

log = structlog.get_logger(__name__)

T = TypeVar("T")

PORTION = 200
"""Objects that go to the record together: other jobs wait behind it, about 30 ms."""

MAX_STORAGE_FAILURES = 20
"""Images in a row that may find the storage away, or be paid and not stored."""


@dataclass(kw_only=True, slots=True)
class BatchRun:
    """One run of a batch: one task lists objects, `concurrency` tasks take them from the record."""

    items: Items
    selector: Selector
    editor: ItemEditor
    slots: asyncio.Semaphore  # of images that all batches together have in work at once
    job: Job
    spec: BatchSpec
    story: Story
    cancelled: asyncio.Event
    stopping: asyncio.Event
    begun_at: datetime  # by the first worker
    is_listed: bool  # whether no more objects will be found
    last_key: str | None  # the listing goes on behind it
    images: int  # that were found up to there
    teller: ProgressTeller
    meter: RateMeter
    was_stopping: bool = False  # before all was done
    listing_error: ImgsvcError | None = None
    stopped: str | None = None  # why no further image is begun
    storage_failures: int = 0  # images in a row that the storage has failed
    _found: list[Found] = field(default_factory=list)  # and not in the record yet
    _recording: asyncio.Lock = field(default_factory=asyncio.Lock)  # they keep their order
    _more: asyncio.Event = field(default_factory=asyncio.Event)  # was found, or is_listed

    async def do(self) -> None:
        """List and edit until nothing is left to do, or nothing more is wanted.

        Raises JobStopping if it goes on at the next start, or JobLost.
        """
        is_lost = False
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(self.spec.concurrency):
                    group.create_task(self._work(), name=f"batch-{self.job.id}-{number}")
                if not self.is_listed and self.stopped is None:
                    group.create_task(self._list(), name=f"batch-{self.job.id}-listing")
        except* JobLost:
            is_lost = True
        if is_lost:
            raise JobLost
        if self.was_stopping and not self.was_cancelled and await self._is_left():
            raise JobStopping
        reason = describe(JobCancelled()) if self.was_cancelled else self.stopped
        if reason is not None:
            await self._abandon(reason)

    @property
    def was_cancelled(self) -> bool:
        """Whether it was cancelled before all was done."""
        return self.was_stopping and self.cancelled.is_set()

    async def _is_left(self) -> bool:
        """Tell whether there is something to be begun yet."""
        if not self.is_listed:
            return True
        pending = ItemFilter(job_id=self.job.id, state=ItemState.PENDING)
        left = await persist(lambda: self.items.page(pending, after=0, limit=1))
        return self.stopped is None and bool(left)

    async def _abandon(self, reason: str) -> None:
        """End all that has not ended."""
        while (item := await persist(lambda: self.items.take(self.job, again=True))) is not None:
            end = await self.editor.give_up(self.job, self.spec, item, reason)
            await persist(partial(self.items.end, self.job, item.number, end))
        await persist(lambda: self.items.abandon(self.job, reason))

    async def summary(self) -> Summary:
        """Add up what has become of the items."""
        sums = await persist(lambda: self.items.sums(self.job.id, lines=MAX_ERROR_LINES))
        notes = []
        source = self.spec.input_prefix if self.spec.keys is None else "keys"
        if self.listing_error is not None:
            notes.append(f"{source}: {describe(self.listing_error)}")
        elif not self.is_listed:
            why = "" if self.stopped is None else f" ({self.stopped})"
            notes.append(f"{source}: not all of it was listed{why}")
        return Summary(
            job=self.job,
            provider=self.spec.asked_for(self.editor.router.catalogue),
            output_prefix=self.spec.output_prefix,
            sums=sums,
            notes=tuple(notes),
            cancelled=self.was_cancelled,
            spent=self.story.account.spent,
            # A clock that was set back must not make it negative.
            seconds=max((datetime.now(UTC) - self.begun_at).total_seconds(), 0),
        )

    # -- listing --------------------------------------------------------------------------

    async def _list(self) -> None:
        try:
            await self._unless_stopping(self._find())
        except JobStopping:
            self.was_stopping = True
            return  # nobody waits for more: all tasks end
        except (StorageError, PayloadLost) as exc:
            log.warning("listing_failed", error=describe(exc))
            self.listing_error = exc
        self.is_listed = True
        self._tell_idle()

    async def _find(self) -> None:
        """Find all there is; a task that has nothing to do brings what is found to the record."""
        try:
            select, spec = self.selector.objects, self.spec
            async with aclosing(select(spec, after=self.last_key, images=self.images)) as objects:
                async for each in objects:
                    self._found.append(each)
                    if len(self._found) == PORTION:
                        await self._record()
                    elif each.is_pending:
                        self._tell_idle()
        except StorageError:
            await self._record()
            raise
        await self._record(is_last=True)

    async def _record(self, *, is_last: bool = False) -> None:
        async with self._recording:
            found, self._found = self._found, []
            if found or is_last:
                await persist(lambda: self.items.add(self.job, found, is_last=is_last))
        self._tell_idle()

    def _tell_idle(self) -> None:
        self._more.set()
        self._more = asyncio.Event()

    # -- editing --------------------------------------------------------------------------

    async def _work(self) -> None:
        gives_way.set(True)
        try:
            while await self._step():
                pass
        except JobStopping:
            self.was_stopping = True

    async def _step(self) -> bool:
        """Do the next item, or wait for one; return False if there will be none.

        Raises JobStopping.
        """
        was_listed, more = self.is_listed, self._more
        # All batches wait in one line for each of their images: so they share by turns.
        async with self._slot():
            if self.stopping.is_set():
                raise JobStopping
            if self.stopped is not None:
                return False
            item = await persist(lambda: self.items.take(self.job))
            if item is not None:
                await self._do(item)
                return True
        if was_listed:
            return False
        if any(each.is_pending for each in self._found):
            await self._record()
        else:
            await self._unless_stopping(more.wait())
        return True

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        """Wait for a turn, and have it while the context lasts. Raises JobStopping."""
        has_turn = False

        async def wait() -> None:
            nonlocal has_turn
            await self.slots.acquire()
            has_turn = True  # also if nobody waits for it any more

        try:
            await self._unless_stopping(wait())
            yield
        finally:
            if has_turn:
                self.slots.release()

    async def _unless_stopping(self, work: Coroutine[Any, Any, T]) -> T:
        return await unless(self.stopping, work, JobStopping)

    async def _do(self, item: Item) -> None:
        # One for each image: which of them a call was for is told by nothing else.
        story = replace(self.story, spent=Spent(), is_of_item=True)
        started = monotonic()
        try:
            end = await self.editor.run(self.job, self.spec, item, story, self.cancelled)
        except BudgetSpent as exc:
            self._stop(exc)
            end = ItemEnd(state=ItemState.NOT_STARTED, error=self.stopped)
        except StorageError as exc:
            end = ItemEnd(state=ItemState.FAILED, error=describe(exc))
            self.storage_failures += 1
            if self.storage_failures == MAX_STORAGE_FAILURES:
                self._stop(exc)
        else:
            self.storage_failures = 0
        is_tried = end.state not in {ItemState.SKIPPED, ItemState.NOT_STARTED}
        end = replace(
            end,
            seconds=round(monotonic() - started, 3) if is_tried else 0.0,
            spent=story.spent if story.spent.calls else end.spent,
        )
        rate = self.meter.count() if is_tried else self.meter.rate
        progress = await persist(lambda: self.items.end(self.job, item.number, end, rate=rate))
        if is_tried:
            key = shown(item.key)
            log.info("item_done", key=key, state=end.state, seconds=end.seconds)
            self.teller.image_ended(key, end.state.value, progress)

    def _stop(self, reason: ImgsvcError) -> None:
        """Begin no further image."""
        if self.stopped is None:
            self.stopped = describe(reason)
            log.warning("batch_stopped", reason=reason.message)
