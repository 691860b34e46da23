"""What every record of jobs promises of its run; each implementation runs all of it."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from imgsvc.callbacks import Verdict
from imgsvc.jobs import JobBackend
from imgsvc.jobs.models import Job, JobState
from jobs.backends import BODY, IMPLEMENTATIONS, accept, finish, running


@pytest.fixture(params=IMPLEMENTATIONS)
async def backend(request: pytest.FixtureRequest) -> AsyncIterator[JobBackend]:
    async with request.param(max_queued=100, max_callbacks=100) as backend:
        yield backend


async def test_as_many_workers_work_at_once_as_were_asked_for(backend: JobBackend) -> None:
    # The barrier opens only when four jobs are in work together.
    all_at_work, in_work, most = asyncio.Barrier(4), 0, 0

    async def process(job_id: str) -> None:
        nonlocal in_work, most
        job = await backend.start(job_id)
        assert job is not None
        in_work += 1
        most = max(most, in_work)
        await all_at_work.wait()
        in_work -= 1
        await finish(backend, job)

    async with running(backend, process=process, workers=4):
        for _ in range(20):
            await accept(backend)
        await backend.drain()
    assert most == 4


async def test_every_job_is_handed_out_once_in_the_order_of_arrival(backend: JobBackend) -> None:
    seen: list[str] = []

    async def process(job_id: str) -> None:
        seen.append(job_id)
        job = await backend.start(job_id)
        assert job is not None
        await finish(backend, job)

    jobs = [await accept(backend) for _ in range(50)]
    async with running(backend, process=process, workers=1):
        await backend.drain()
    assert seen == [job.id for job in jobs]


async def test_every_finished_job_is_delivered_once_with_what_was_frozen(
    backend: JobBackend,
) -> None:
    delivered: list[Job] = []

    async def deliver(job: Job) -> None:
        delivered.append(job)
        await backend.record_delivery(job.id, Verdict.DELIVERED)

    jobs = [await accept(backend) for _ in range(30)]
    async with running(backend, deliver=deliver, workers=3):
        await backend.drain()

    assert sorted(job.id for job in delivered) == sorted(job.id for job in jobs)
    assert {(job.state, job.callback_body) for job in delivered} == {(JobState.COMPLETED, BODY)}


async def test_a_slow_callback_holds_up_neither_jobs_nor_other_callbacks(
    backend: JobBackend,
) -> None:
    settled: asyncio.Queue[str] = asyncio.Queue()
    release = asyncio.Event()

    async def deliver(job: Job) -> None:
        if job.request_id == "slow":
            await release.wait()
        await backend.record_delivery(job.id, Verdict.DELIVERED)
        await settled.put(job.request_id)

    async with running(backend, deliver=deliver, workers=1):
        for request_id in ("slow", "quick-1", "quick-2"):
            await accept(backend, request_id)
        assert [await settled.get() for _ in range(2)] == ["quick-1", "quick-2"]
        release.set()
        assert await settled.get() == "slow"


@pytest.mark.parametrize("part", ["process", "deliver"])
async def test_what_escapes_from_a_worker_or_a_delivery_stops_the_run(
    backend: JobBackend, part: str
) -> None:
    async def broken(_: object) -> None:
        raise LookupError("a bug")

    await accept(backend)
    with pytest.raises(ExceptionGroup) as caught:
        async with running(
            backend,
            process=broken if part == "process" else None,
            deliver=broken if part == "deliver" else None,
        ):
            await asyncio.Event().wait()
    assert caught.group_contains(LookupError, match="a bug")


async def test_draining_a_record_without_jobs_ends_at_once(backend: JobBackend) -> None:
    await backend.drain()


async def test_draining_waits_for_queued_and_running_and_undelivered_jobs(
    backend: JobBackend,
) -> None:
    jobs = [await accept(backend) for _ in range(3)]
    claims = [await backend.start(job.id) for job in jobs[:2]]
    assert all(claims)
    assert claims[0] is not None
    await finish(backend, claims[0])

    drain = asyncio.create_task(backend.drain())
    for job in jobs:
        await asyncio.sleep(0)
        assert not drain.done()
        claim = await backend.start(job.id) or next(c for c in claims if c and c.id == job.id)
        await finish(backend, claim)
        await backend.record_delivery(job.id, Verdict.DELIVERED)
    await drain


async def test_cancelling_the_run_ends_all_its_tasks(backend: JobBackend) -> None:
    delivering, working = asyncio.Event(), asyncio.Event()

    async def process(job_id: str) -> None:
        job = await backend.start(job_id)
        assert job is not None
        if job.request_id == "hangs":
            working.set()
            await asyncio.Event().wait()
        await finish(backend, job)

    async def deliver(_job: Job) -> None:
        delivering.set()
        await asyncio.Event().wait()

    before = asyncio.all_tasks()
    await accept(backend, "quick")
    await accept(backend, "hangs")
    async with running(backend, process=process, deliver=deliver, workers=3):
        await delivering.wait()
        await working.wait()
        assert len(asyncio.all_tasks() - before) == 1 + 3 + 1  # the run, its workers, a delivery
    assert asyncio.all_tasks() == before
