"""What every record of jobs promises; each implementation runs all of it."""

import asyncio
import gc
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from imgsvc.callbacks import Verdict
from imgsvc.errors import QueueFull
from imgsvc.jobs import BackendStats, JobBackend
from imgsvc.jobs.models import Job, JobState
from jobs.backends import (
    BODY,
    IDLE,
    IMPLEMENTATIONS,
    OTHER_BODY,
    Open,
    accept,
    finish,
    nothing,
    running,
)
from jobs.parts import CALLBACK_URL, image_spec


@pytest.fixture(params=IMPLEMENTATIONS)
def open_backend(request: pytest.FixtureRequest) -> Open:
    opening: Open = request.param
    return opening


@pytest.fixture
async def backend(open_backend: Open) -> AsyncIterator[JobBackend]:
    async with open_backend(max_queued=100, max_callbacks=100) as backend:
        yield backend


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
