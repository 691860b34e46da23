"""What every record of jobs promises of its run; each implementation runs all of it."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from imgsvc.jobs import JobBackend
from imgsvc.jobs.models import CallbackState, Job, JobKind, JobState
from jobs.backends import (
    COMPLETED,
    IMPLEMENTATIONS,
    accept,
    attempt,
    claim,
    finish,
    finished,
    frozen,
    nothing,
    running,
    settle,
    until_settled,
)
from jobs.parts import batch_spec


@pytest.fixture(params=IMPLEMENTATIONS)
async def backend(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[JobBackend]:
    async with request.param(tmp_path) as backend:
        yield backend


async def test_as_many_workers_work_at_once_as_were_asked_for(backend: JobBackend) -> None:
    # The barrier opens only when four jobs are in work together.
    all_at_work, in_work, most = asyncio.Barrier(4), 0, 0

    async def process(job_id: str) -> None:
        nonlocal in_work, most
        claimed = await backend.start(job_id)
        assert claimed is not None
        in_work += 1
        most = max(most, in_work)
        await all_at_work.wait()
        in_work -= 1
        await finish(backend, claimed.job)

    async with running(backend, process=process, workers=4):
        jobs = [await accept(backend) for _ in range(20)]
        await until_settled(backend, *jobs)
    assert most == 4


async def test_jobs_of_one_client_are_handed_out_once_in_the_order_of_arrival(
    backend: JobBackend,
) -> None:
    seen: list[str] = []

    async def process(job_id: str) -> None:
        seen.append(job_id)
        await finish(backend, (await claim(backend, await backend.get(job_id))).job)

    jobs = [await accept(backend) for _ in range(50)]
    async with running(backend, process=process, workers=1):
        await until_settled(backend, *jobs)
    assert seen == [job.id for job in jobs]


async def test_a_client_with_a_thousand_jobs_does_not_delay_the_first_of_another(
    backend: JobBackend,
) -> None:
    begun: asyncio.Queue[str] = asyncio.Queue()
    release = asyncio.Semaphore(0)

    async def process(job_id: str) -> None:
        claimed = await backend.start(job_id)
        assert claimed is not None
        begun.put_nowait(claimed.job.client)
        await release.acquire()
        await finish(backend, claimed.job)

    await asyncio.gather(*(accept(backend, client="many") for _ in range(1000)))
    async with running(backend, process=process, workers=2):
        assert [await begun.get() for _ in range(2)] == ["many", "many"]
        await accept(backend, client="one")
        for _ in range(2):  # each worker ends the job that it has
            release.release()
        assert {await begun.get() for _ in range(2)} == {"many", "one"}


async def test_the_most_urgent_job_goes_first(backend: JobBackend) -> None:
    begun: list[int] = []

    async def process(job_id: str) -> None:
        claimed = await backend.start(job_id)
        assert claimed is not None
        begun.append(claimed.job.priority)
        await finish(backend, claimed.job)

    jobs = [await accept(backend, priority=priority) for priority in (0, 5, 9, 5, 9)]
    async with running(backend, process=process, workers=1):
        await until_settled(backend, *jobs)
    assert begun == [9, 9, 5, 5, 0]


async def test_a_batch_holds_up_no_single_image_and_only_so_many_are_in_work(
    backend: JobBackend,
) -> None:
    begun: asyncio.Queue[str] = asyncio.Queue()
    release = asyncio.Event()

    async def process(job_id: str) -> None:
        claimed = await backend.start(job_id)
        assert claimed is not None
        if claimed.job.spec.kind is JobKind.BATCH:
            begun.put_nowait(job_id)
            await release.wait()
        await finish(backend, claimed.job)

    batches = [await accept(backend, spec=batch_spec(), priority=9) for _ in range(3)]
    images = [await accept(backend, priority=0) for _ in range(3)]
    async with running(backend, process=process, workers=1, batches=2):
        await until_settled(backend, *images)
        assert [await begun.get() for _ in range(2)] == [job.id for job in batches[:2]]
        assert (await backend.get(batches[2].id)).state is JobState.QUEUED
        release.set()
        await until_settled(backend, *batches)


async def test_every_finished_job_is_delivered_once_with_what_was_frozen(
    backend: JobBackend,
) -> None:
    delivered: list[Job] = []

    async def deliver(job: Job) -> None:
        delivered.append(job)
        await settle(backend, job)

    jobs = [await accept(backend) for _ in range(30)]
    async with running(backend, deliver=deliver, workers=3):
        await until_settled(backend, *jobs)

    assert sorted(job.id for job in delivered) == sorted(job.id for job in jobs)
    for job in delivered:
        assert (job.state, job.callback_body) == (JobState.COMPLETED, frozen(job.id).body)


async def test_a_slow_callback_holds_up_neither_jobs_nor_other_callbacks(
    backend: JobBackend,
) -> None:
    settled: asyncio.Queue[str] = asyncio.Queue()
    release = asyncio.Event()

    async def deliver(job: Job) -> None:
        if job.request_id == "slow":
            await release.wait()
        await settle(backend, job)
        await settled.put(job.request_id)

    async with running(backend, deliver=deliver, workers=1):
        for request_id in ("slow", "quick-1", "quick-2"):
            await accept(backend, request_id)
        assert {await settled.get() for _ in range(2)} == {"quick-1", "quick-2"}
        release.set()
        assert await settled.get() == "slow"


async def test_one_host_gets_so_many_callbacks_at_once_and_the_others_do_not_wait_for_it(
    backend: JobBackend,
) -> None:
    on_their_way: Counter[str] = Counter()
    most: Counter[str] = Counter()
    release, healthy = asyncio.Event(), asyncio.Event()

    async def deliver(job: Job) -> None:
        host = str(job.callback_url).split("/")[2]
        on_their_way[host] += 1
        most[host] = max(most[host], on_their_way[host])
        if host == "dead.example":
            await release.wait()
        else:
            healthy.set()
        on_their_way[host] -= 1
        await settle(backend, job)

    dead = [await finished(backend, callback_url="http://dead.example/x") for _ in range(20)]
    async with running(backend, deliver=deliver, callbacks_per_host=3):
        other = await accept(backend, callback_url="http://healthy.example/x")
        await healthy.wait()
        await until_settled(backend, other)
        assert on_their_way["dead.example"] == 3
        release.set()
        await until_settled(backend, *dead)
    assert most == {"dead.example": 3, "healthy.example": 1}


async def test_no_more_callbacks_are_on_their_way_than_allowed(backend: JobBackend) -> None:
    in_work, most = 0, 0
    full = asyncio.Barrier(4)

    async def deliver(job: Job) -> None:
        nonlocal in_work, most
        in_work += 1
        most = max(most, in_work)
        await full.wait()
        in_work -= 1
        await settle(backend, job)

    jobs = [
        await finished(backend, callback_url=f"http://{number}.example/") for number in range(12)
    ]
    async with running(backend, deliver=deliver, callbacks=4):
        await until_settled(backend, *jobs)
    assert most == 4


async def test_a_callback_is_delivered_when_it_is_due_and_not_before(backend: JobBackend) -> None:
    due = datetime.now(UTC) + timedelta(seconds=0.2)
    delivered_at: list[datetime] = []

    async def deliver(job: Job) -> None:
        delivered_at.append(datetime.now(UTC))
        await settle(backend, job)

    job = await accept(backend)
    token = (await claim(backend, job)).job.attempt
    async with running(backend, deliver=deliver):
        await backend.finish(job.id, token, COMPLETED, frozen(job.id, due_at=due))
        await until_settled(backend, job)
    assert delivered_at[0] >= due


async def test_a_callback_that_failed_is_delivered_again(backend: JobBackend) -> None:
    attempts = 0

    async def deliver(job: Job) -> None:
        nonlocal attempts
        attempts += 1
        state = CallbackState.DELIVERED if attempts == 3 else CallbackState.PENDING
        next_at = None if attempts == 3 else datetime.now(UTC)
        await backend.record_delivery(job.id, attempt(), state, next_at)

    job = await finished(backend)
    async with running(backend, deliver=deliver):
        [ended] = await until_settled(backend, job)
    assert (attempts, ended.callback_attempts) == (3, 3)


async def test_callbacks_that_were_due_at_a_restart_are_delivered(
    request: pytest.FixtureRequest, tmp_path: Path, backend: JobBackend
) -> None:
    del request, backend
    for parameters in IMPLEMENTATIONS:
        [open_it] = parameters.values
        folder = tmp_path / "restarted"
        folder.mkdir()
        async with open_it(folder) as first:  # type: ignore[operator]  # an Open
            job = await finished(first)
        async with open_it(folder) as second, running(second):  # type: ignore[operator]  # an Open
            [ended] = await until_settled(second, job)
        assert ended.callback_state is CallbackState.DELIVERED


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


# -- draining -----------------------------------------------------------------------------


async def test_draining_a_record_without_jobs_ends_at_once(backend: JobBackend) -> None:
    async with running(backend):
        await backend.drain()


async def test_draining_finishes_what_runs_and_delivers_what_is_due_but_begins_nothing(
    backend: JobBackend,
) -> None:
    at_work, release = asyncio.Event(), asyncio.Event()
    seen: list[str] = []

    async def process(job_id: str) -> None:
        seen.append(job_id)
        claimed = await backend.start(job_id)
        assert claimed is not None
        at_work.set()
        await release.wait()
        await finish(backend, claimed.job)

    first, second = await accept(backend), await accept(backend)
    async with running(backend, process=process, workers=1):
        await at_work.wait()
        drain = asyncio.create_task(backend.drain())
        await asyncio.sleep(0)
        assert not drain.done()
        release.set()
        await drain
        assert (await backend.get(first.id)).callback_state is CallbackState.DELIVERED
        assert (await backend.get(second.id)).state is JobState.QUEUED
    assert seen == [first.id]


async def test_draining_does_not_wait_for_a_callback_that_is_due_later(
    backend: JobBackend,
) -> None:
    async def later(job: Job) -> None:
        next_at = datetime.now(UTC) + timedelta(hours=1)
        await backend.record_delivery(job.id, attempt(), CallbackState.PENDING, next_at)

    job = await finished(backend)
    async with running(backend, deliver=later):
        await backend.drain()
    assert (await backend.get(job.id)).callback_attempts == 1


async def test_stopping_the_run_queues_what_was_in_work_and_ends_all_its_tasks(
    backend: JobBackend,
) -> None:
    working = asyncio.Event()

    async def process(job_id: str) -> None:
        assert await backend.start(job_id) is not None
        working.set()
        await asyncio.Event().wait()

    before = asyncio.all_tasks()
    job = await accept(backend)
    async with running(backend, process=process, deliver=nothing, workers=3):
        await working.wait()
    assert asyncio.all_tasks() == before
    again = await backend.get(job.id)
    assert (again.state, again.attempt, again.interruptions) == (JobState.QUEUED, 1, 1)
    assert backend.stats().queued == 1

    async with running(backend):
        [ended] = await until_settled(backend, job)
    assert (ended.state, ended.attempt) == (JobState.COMPLETED, 2)
