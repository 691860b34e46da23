"""Work against an event that makes its result worthless."""

import asyncio

import pytest

from imgsvc.errors import JobCancelled, ShuttingDown, StorageError
from imgsvc.jobs.stopping import unless


class Work:
    """Something that goes on until it is released, and tidies up when it is stopped."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.release = asyncio.Event()
        self.tidy = False

    async def do(self) -> str:
        try:
            self.begun.set()
            await self.release.wait()
        finally:
            await asyncio.sleep(0)
            self.tidy = True
        return "done"


async def test_work_that_ends_gives_its_result() -> None:
    work = Work()
    work.release.set()
    assert await unless(asyncio.Event(), work.do(), JobCancelled) == "done"


async def test_work_that_fails_raises_its_own_error() -> None:
    async def fail() -> None:
        raise StorageError("no room")

    with pytest.raises(StorageError, match="no room"):
        await unless(asyncio.Event(), fail(), JobCancelled)


@pytest.mark.parametrize("error", [JobCancelled, ShuttingDown])
async def test_the_event_stops_the_work_and_raises_the_error_when_that_has_tidied_up(
    error: type[JobCancelled | ShuttingDown],
) -> None:
    work, event = Work(), asyncio.Event()
    racing = asyncio.create_task(unless(event, work.do(), error))
    await work.begun.wait()
    event.set()
    with pytest.raises(error):
        await racing
    assert work.tidy


async def test_work_that_has_ended_counts_even_if_the_event_is_set_by_then() -> None:
    work, event = Work(), asyncio.Event()
    racing = asyncio.create_task(unless(event, work.do(), JobCancelled))
    await work.begun.wait()
    work.release.set()
    event.set()
    assert await racing == "done"


async def test_who_stops_waiting_stops_the_work() -> None:
    work = Work()
    racing = asyncio.create_task(unless(asyncio.Event(), work.do(), JobCancelled))
    await work.begun.wait()
    racing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await racing
    assert work.tidy
