import asyncio

import pytest

from imgsvc.errors import CorruptImage, JobTimeout
from imgsvc.jobs.deadline import deadline


async def test_a_block_that_takes_longer_ends_with_the_time_it_was_allowed() -> None:
    with pytest.raises(JobTimeout, match=r"longer than the 0\.01 s allowed") as caught:
        async with deadline(0.01):
            await asyncio.Event().wait()
    assert "workers.job_timeout" in caught.value.message


async def test_a_block_in_time_is_left_alone() -> None:
    async with deadline(60):
        result = await asyncio.sleep(0, "done")
    assert result == "done"


@pytest.mark.parametrize("error", [TimeoutError("of a socket"), CorruptImage()])
async def test_an_error_of_the_block_passes_unchanged(error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        async with deadline(60):
            raise error
    assert caught.value is error


async def test_cancelling_the_task_is_no_timeout() -> None:
    started = asyncio.Event()

    async def work() -> None:
        async with deadline(60):
            started.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
