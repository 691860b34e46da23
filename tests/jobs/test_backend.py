"""What every record of jobs promises; each implementation runs all of it."""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace

import pytest

from imgsvc.callbacks import Verdict
from imgsvc.errors import QueueFull
from imgsvc.jobs import BackendStats, JobBackend
from imgsvc.jobs.memory import MemoryConfig
from imgsvc.jobs.models import BlobRef, Job, JobState
from jobs.parts import CALLBACK_URL, image_spec

Open = Callable[..., AbstractAsyncContextManager[JobBackend]]

BODY = BlobRef(key="body", size=2, sha256="0" * 64, content_type="application/json")
OTHER_BODY = replace(BODY, key="other")
IDLE = BackendStats(queued=0, running=0, callbacks_pending=0)


def _open_memory(*, max_queued: int, max_callbacks: int) -> AbstractAsyncContextManager[JobBackend]:
    return MemoryConfig(max_queued=max_queued, max_callbacks=max_callbacks).open()


@pytest.fixture(params=[pytest.param(_open_memory, id="memory")])
def open_backend(request: pytest.FixtureRequest) -> Open:
    opening: Open = request.param
    return opening


@pytest.fixture
async def backend(open_backend: Open) -> AsyncIterator[JobBackend]:
    async with open_backend(max_queued=100, max_callbacks=100) as backend:
        yield backend


async def accept(backend: JobBackend, request_id: str = "req-1") -> Job:
    return await backend.accept(
        image_spec(filename="a.png"), callback_url=CALLBACK_URL, request_id=request_id
    )


async def finish(backend: JobBackend, job: Job) -> bool:
    return await backend.finish(job.id, job.attempt, JobState.COMPLETED, BODY)


async def nothing(_: object) -> None:
    """Do nothing with a job."""


@asynccontextmanager
async def running(
    backend: JobBackend,
    *,
    process: Callable[[str], Awaitable[None]] | None = None,
    deliver: Callable[[Job], Awaitable[None]] | None = None,
    workers: int = 2,
) -> AsyncIterator[None]:
    """Run the backend while the context lasts; by default every job is completed and delivered.

    If the run fails, so does the context, as it is in the service.
    """

    async def complete(job_id: str) -> None:
        if (job := await backend.start(job_id)) is not None:
            await finish(backend, job)

    async def settle(job: Job) -> None:
        await backend.record_delivery(job.id, Verdict.DELIVERED)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(
            backend.run(process or complete, deliver or settle, workers=workers), name="run"
        )
        try:
            yield
        finally:
            task.cancel()


async def test_an_accepted_job_is_queued_as_it_was_asked_for(backend: JobBackend) -> None:
    job = await accept(backend, "req-7")

    assert job.spec == image_spec(filename="a.png")
    assert (job.callback_url, job.request_id) == (CALLBACK_URL, "req-7")
    assert (job.state, job.attempt, job.callback_body) == (JobState.QUEUED, 0, None)
    assert job.accepted_at.tzinfo is not None


async def test_no_two_jobs_share_an_id_or_a_webhook_id(backend: JobBackend) -> None:
    jobs = [await accept(backend) for _ in range(50)]

    assert len({job.id for job in jobs}) == 50
    assert len({job.webhook_id for job in jobs}) == 50


async def test_a_claimed_job_is_running_with_a_new_token(backend: JobBackend) -> None:
    job = await accept(backend)

    assert await backend.start(job.id) == replace(job, state=JobState.RUNNING, attempt=1)


async def test_a_job_is_claimed_once(backend: JobBackend) -> None:
    job = await accept(backend)
    claims = await asyncio.gather(*(backend.start(job.id) for _ in range(10)))

    assert [claim is not None for claim in claims].count(True) == 1
    assert await backend.start(job.id) is None


async def test_a_job_that_nobody_knows_cannot_be_claimed(backend: JobBackend) -> None:
    assert await backend.start("unknown") is None


async def test_a_finished_job_cannot_be_claimed_again(backend: JobBackend) -> None:
    job = await accept(backend)
    claim = await backend.start(job.id)
    assert claim is not None
    assert await finish(backend, claim)

    assert await backend.start(job.id) is None


@pytest.mark.parametrize("token", [0, 2, -1])
async def test_a_wrong_token_finishes_nothing(backend: JobBackend, token: int) -> None:
    job = await accept(backend)
    claim = await backend.start(job.id)
    assert claim is not None

    assert not await backend.finish(job.id, token, JobState.FAILED, OTHER_BODY)
    assert backend.stats() == BackendStats(queued=0, running=1, callbacks_pending=0)
    assert await finish(backend, claim)


async def test_a_job_that_no_worker_has_claimed_cannot_be_finished(backend: JobBackend) -> None:
    job = await accept(backend)

    assert not await finish(backend, job)
    assert backend.stats() == BackendStats(queued=1, running=0, callbacks_pending=0)


async def test_a_job_that_nobody_knows_cannot_be_finished(backend: JobBackend) -> None:
    assert not await backend.finish("unknown", 1, JobState.COMPLETED, BODY)
    assert backend.stats() == IDLE


async def test_the_first_end_of_a_job_stays(backend: JobBackend) -> None:
    delivered: asyncio.Queue[Job] = asyncio.Queue()
    job = await accept(backend)
    claim = await backend.start(job.id)
    assert claim is not None

    assert await finish(backend, claim)
    assert not await backend.finish(job.id, claim.attempt, JobState.FAILED, OTHER_BODY)

    async with running(backend, process=nothing, deliver=delivered.put):
        frozen = await delivered.get()
    assert frozen == replace(claim, state=JobState.COMPLETED, callback_body=BODY)
    assert delivered.empty()


@pytest.mark.parametrize("verdict", [Verdict.DELIVERED, Verdict.DEAD])
async def test_a_settled_job_is_released(backend: JobBackend, verdict: Verdict) -> None:
    async def settle(job: Job) -> None:
        await backend.record_delivery(job.id, verdict)

    async with running(backend, deliver=settle):
        for _ in range(80):
            await accept(backend)
        await backend.drain()

        assert backend.stats() == IDLE
        gc.collect()
        alive = sum(type(thing) is Job for thing in gc.get_objects())
        assert alive < 10  # a loop may still hold the last one it had


async def test_a_full_queue_refuses_and_has_room_again_later(open_backend: Open) -> None:
    async with open_backend(max_queued=2, max_callbacks=100) as backend:
        await accept(backend)
        await accept(backend)
        with pytest.raises(QueueFull):
            await accept(backend)
        assert backend.stats().queued == 2

        async with running(backend):
            await backend.drain()
        await accept(backend)
        assert backend.stats().queued == 1


async def test_callbacks_that_pile_up_refuse_new_jobs_until_one_is_settled(
    open_backend: Open,
) -> None:
    async with open_backend(max_queued=100, max_callbacks=2) as backend:
        jobs = [await accept(backend) for _ in range(2)]
        for job in jobs:
            claim = await backend.start(job.id)
            assert claim is not None
            await finish(backend, claim)
        with pytest.raises(QueueFull):
            await accept(backend)

        await backend.record_delivery(jobs[0].id, Verdict.DEAD)
        await accept(backend)


async def test_the_counts_are_exact(backend: JobBackend) -> None:
    jobs = [await accept(backend) for _ in range(5)]
    claims = [await backend.start(job.id) for job in jobs[:3]]
    assert claims[0] is not None
    await finish(backend, claims[0])

    assert backend.stats() == BackendStats(queued=2, running=2, callbacks_pending=1)
    await backend.record_delivery(jobs[0].id, Verdict.DELIVERED)
    assert backend.stats() == BackendStats(queued=2, running=2, callbacks_pending=0)


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
