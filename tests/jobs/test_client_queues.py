"""What one client may have waiting and in work, whoever counts at the same time."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from imgsvc.errors import ClientLimitReached, IdempotencyKeyReused, NotAllowedForClient
from imgsvc.jobs import JobBackend
from imgsvc.jobs.fairness import FairOrder
from imgsvc.jobs.models import BlobRef, Job, JobKind, JobState, QueueLimits
from imgsvc.jobs.sqlite import SqliteConfig
from imgsvc.jobs.sqlite.schema import VERSION
from jobs.backends import (
    CANCELLED,
    FAILED,
    accept,
    claim,
    finish,
    finished,
    frozen,
    running,
    until_settled,
)
from jobs.parts import batch_spec, image_spec, new_job

VERSION_1 = Path(__file__).parent / "version_1.sql"


@pytest.fixture
async def backend(tmp_path: Path) -> AsyncIterator[JobBackend]:
    async with SqliteConfig().open(tmp_path) as backend:
        yield backend


def masked(size: int, key: str) -> dict[str, Any]:
    """Return what makes a job of so many bytes."""
    blob = BlobRef(key=key, size=size, sha256="0" * 64, content_type="image/png")
    return {"spec": image_spec(mask=blob)}


async def tries(backend: JobBackend, count: int, limits: QueueLimits) -> list[BaseException | None]:
    """Submit so many jobs at once, and return how each was refused."""
    asked = (backend.accept(new_job(client="ann", limits=limits)) for _ in range(count))
    done = await asyncio.gather(*asked, return_exceptions=True)
    return [each if isinstance(each, BaseException) else None for each in done]


# -- waiting ------------------------------------------------------------------------------


async def test_of_two_hundred_jobs_at_once_as_many_are_accepted_as_may_wait(
    backend: JobBackend,
) -> None:
    refused = [each for each in await tries(backend, 200, QueueLimits(jobs=10)) if each]
    assert len(refused) == 190
    assert all(isinstance(each, ClientLimitReached) for each in refused)
    assert backend.stats().queued == 10


async def test_the_queue_of_one_client_leaves_that_of_another_alone(backend: JobBackend) -> None:
    limits = QueueLimits(jobs=1)
    await accept(backend, client="ann", limits=limits)
    await accept(backend, client="bob", limits=limits)
    with pytest.raises(ClientLimitReached) as caught:
        await accept(backend, client="ann", limits=limits)
    assert (caught.value.rule, caught.value.limit) == ("max_queued_jobs", 1)


async def test_a_job_that_is_begun_cancelled_or_put_back_is_counted_as_what_it_is(
    backend: JobBackend,
) -> None:
    limits = QueueLimits(jobs=1)
    job = await accept(backend, client="ann", limits=limits)
    held = (await claim(backend, job)).job
    second = await accept(backend, client="ann", limits=limits)
    await backend.cancel(second.id, CANCELLED, frozen(second.id))
    await backend.put_back(held.id, held.attempt)
    with pytest.raises(ClientLimitReached):
        await accept(backend, client="ann", limits=limits)
    await finish(backend, (await claim(backend, job)).job)
    await accept(backend, client="ann", limits=limits)


async def test_what_waits_counts_with_its_bytes(backend: JobBackend) -> None:
    limits = QueueLimits(bytes=100)
    await accept(backend, client="ann", limits=limits, **masked(60, "a"))
    with pytest.raises(ClientLimitReached) as caught:
        await accept(backend, client="ann", limits=limits, **masked(41, "b"))
    assert caught.value.rule == "max_queued_bytes"
    job = await accept(backend, client="ann", limits=limits, **masked(40, "c"))
    await claim(backend, job)
    await accept(backend, client="ann", limits=limits, **masked(40, "d"))


async def test_what_can_never_wait_is_not_told_to_come_again(backend: JobBackend) -> None:
    with pytest.raises(NotAllowedForClient) as caught:
        await accept(backend, limits=QueueLimits(bytes=100), **masked(101, "a"))
    assert (caught.value.rule, caught.value.allowed) == ("max_queued_bytes", (100,))


async def test_a_request_that_is_repeated_is_never_refused(backend: JobBackend) -> None:
    first = new_job(client="ann", limits=QueueLimits(jobs=1), idempotency_key="k", digest="d")
    job = (await backend.accept(first)).job
    repeats = await asyncio.gather(*(backend.accept(first) for _ in range(20)))
    assert {(each.job.id, each.is_new) for each in repeats} == {(job.id, False)}
    with pytest.raises(IdempotencyKeyReused):
        await accept(backend, client="ann", idempotency_key="k", digest="other")


async def test_a_job_that_is_done_again_waits_like_a_new_one(backend: JobBackend) -> None:
    failed = await finished(backend, FAILED, client="ann")
    await accept(backend, client="ann")
    with pytest.raises(ClientLimitReached):
        await accept(backend, client="ann", retry_of=failed.id, limits=QueueLimits(jobs=1))


async def test_a_restart_keeps_the_counts_and_counts_what_was_cut_off(tmp_path: Path) -> None:
    limits = QueueLimits(jobs=2, bytes=100)
    async with SqliteConfig().open(tmp_path) as backend:
        job = await accept(backend, client="ann", limits=limits, **masked(60, "a"))
        await claim(backend, job)
        await accept(backend, client="ann", limits=limits, **masked(30, "b"))
    async with SqliteConfig().open(tmp_path) as backend:
        refused = await tries(backend, 1, limits)
        assert [type(each) for each in refused] == [ClientLimitReached]
        with pytest.raises(ClientLimitReached):
            await accept(backend, client="ann", limits=QueueLimits(bytes=100), **masked(11, "c"))
        await accept(backend, client="ann", limits=QueueLimits(bytes=100), **masked(10, "d"))


async def test_what_waits_of_an_earlier_version_is_counted(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "jobs.db")
    connection.executescript(VERSION_1.read_text())
    sizes = connection.execute(
        "SELECT client, count(*), sum(coalesce(spec ->> '$.image.blob.size', 0))"
        " FROM jobs WHERE state IN ('queued', 'running') GROUP BY client"
    ).fetchall()
    connection.close()
    async with SqliteConfig().open(tmp_path):
        pass
    connection = sqlite3.connect(tmp_path / "jobs.db")
    assert connection.execute("PRAGMA user_version").fetchone() == (VERSION,)
    counted = connection.execute("SELECT client, jobs, bytes FROM client_queues ORDER BY client")
    assert counted.fetchall() == sizes
    connection.close()


async def test_a_look_at_the_queue_reads_no_jobs(tmp_path: Path) -> None:
    async with SqliteConfig().open(tmp_path):
        pass
    connection = sqlite3.connect(tmp_path / "jobs.db")
    plan = connection.execute(
        "EXPLAIN QUERY PLAN SELECT jobs, bytes FROM client_queues WHERE client = ?", ("ann",)
    ).fetchall()
    connection.close()
    assert [row[3] for row in plan] == ["SEARCH client_queues USING PRIMARY KEY (client=?)"]


# -- in work ------------------------------------------------------------------------------


async def test_a_client_with_all_it_may_have_in_work_waits_while_others_go_on(
    backend: JobBackend,
) -> None:
    begun: asyncio.Queue[Job] = asyncio.Queue()
    release = asyncio.Event()
    at_once = most = 0

    async def process(job_id: str) -> None:
        nonlocal at_once, most
        claimed = await backend.start(job_id)
        assert claimed is not None
        if claimed.job.client == "ann":
            at_once += 1
            most = max(most, at_once)
            begun.put_nowait(claimed.job)
            await release.wait()
            at_once -= 1
        await finish(backend, claimed.job)

    anns = [await accept(backend, client="ann", priority=9) for _ in range(5)]
    anns += [await accept(backend, client="ann", priority=9, spec=batch_spec()) for _ in range(5)]
    bobs = [await accept(backend, client="bob", priority=0) for _ in range(5)]
    bobs += [await accept(backend, client="bob", priority=0, spec=batch_spec()) for _ in range(5)]
    of_client = {"ann": 2}.get
    async with running(backend, process=process, workers=4, batches=4, of_client=of_client):
        for _ in range(2):
            await begun.get()
        await until_settled(backend, *bobs)
        assert (begun.empty(), backend.stats().running, backend.stats().queued) == (True, 2, 8)
        release.set()
        ended = await until_settled(backend, *anns)
    assert most == 2
    assert {job.spec.kind for job in ended} == {JobKind.IMAGE_TO_BASE64, JobKind.BATCH}


async def test_a_job_that_is_cancelled_on_its_way_to_a_worker_makes_room(
    backend: JobBackend,
) -> None:
    on_its_way: asyncio.Queue[str] = asyncio.Queue()
    go_on = asyncio.Event()

    async def process(job_id: str) -> None:
        on_its_way.put_nowait(job_id)
        await go_on.wait()
        if (claimed := await backend.start(job_id)) is not None:
            await finish(backend, claimed.job)

    first, batch = await accept(backend, client="ann"), None
    async with running(backend, process=process, of_client=lambda _client: 1):
        assert await on_its_way.get() == first.id
        batch = await accept(backend, client="ann", spec=batch_spec())
        await backend.cancel(first.id, CANCELLED, frozen(first.id))
        assert await on_its_way.get() == batch.id
        go_on.set()
        await until_settled(backend, first, batch)


async def test_a_client_whose_jobs_were_cut_off_by_a_crash_can_have_them_done(
    tmp_path: Path,
) -> None:
    async with SqliteConfig().open(tmp_path) as backend:
        jobs = [await accept(backend, client="ann") for _ in range(3)]
        for job in jobs[:2]:
            await claim(backend, job)
    async with (
        SqliteConfig().open(tmp_path) as backend,
        running(backend, of_client=lambda _client: 1),
    ):
        ended = await until_settled(backend, *jobs)
    assert {job.state for job in ended} == {JobState.COMPLETED}


class Turns(RuleBasedStateMachine):
    """Picks with a limit a client, beside a count of what each has in work."""

    clients = st.sampled_from(["ann", "bob", "cy"])
    limit = 2

    def __init__(self) -> None:
        super().__init__()
        self.order = FairOrder()
        self.waiting: list[tuple[int, str]] = []
        self.in_work: list[tuple[int, str]] = []

    def count(self, client: str) -> int:
        return [each for _, each in self.in_work].count(client)

    @rule(priority=st.integers(0, 3), client=clients)
    def join(self, priority: int, client: str) -> None:
        self.order.join((priority, client))
        self.waiting.append((priority, client))

    @rule()
    def begin(self) -> None:
        lane = self.order.pick(lambda client: self.count(client) < self.limit)
        able = [each for each in self.waiting if self.count(each[1]) < self.limit]
        if lane is None:
            assert not able
            return
        assert lane[0] == max(priority for priority, _ in able)
        assert lane in able
        self.order.leave(lane, handed=True)
        self.waiting.remove(lane)
        self.in_work.append(lane)

    @precondition(lambda self: self.in_work)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        self.in_work.remove(data.draw(st.sampled_from(self.in_work)))

    @invariant()
    def nobody_has_more_than_it_may(self) -> None:
        assert all(self.count(client) <= self.limit for client in ("ann", "bob", "cy"))


TestTurns = Turns.TestCase
TestTurns.settings = settings(max_examples=50, stateful_step_count=30)
