import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from imgsvc.errors import DiskRefuses, JobNotFound
from imgsvc.jobs import BlobFolder, JobBackend, Spool, Upkeep, open_blobs, upkeep
from imgsvc.jobs.audit import Action, Actor, AuditEntry, AuditFilter
from imgsvc.jobs.backend import Frozen
from imgsvc.jobs.ledger import Grouping, Limits, UsageFilter
from imgsvc.jobs.models import (
    BlobRef,
    CallbackAttempt,
    CallbackState,
    Job,
    JobState,
    NewJob,
    Outcome,
)
from imgsvc.jobs.sqlite import SqliteConfig
from imgsvc.jobs.upkeep import JOBS_AT_ONCE, Horizons
from jobs.calls import new_call
from jobs.parts import CALLBACK_URL, files, image_spec, stored

RETENTION = timedelta(days=7)
AUDIT_RETENTION = timedelta(days=365)
LATER = RETENTION + timedelta(hours=1)


@dataclass(slots=True)
class Clock:
    """A clock that only the test moves on."""

    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __call__(self) -> datetime:
        return self.now

    def move_on(self, time: timedelta) -> None:
        self.now += time


@dataclass(frozen=True, kw_only=True, slots=True)
class House:
    """A record and a blob folder, and what keeps both tidy."""

    backend: JobBackend
    blobs: BlobFolder
    clock: Clock
    upkeep: Upkeep

    async def put(self, content: bytes = b"picture") -> BlobRef:
        return await self.blobs.put([content], content_type="image/png")

    async def accept(self) -> Job:
        """Record a job with an image of its own."""
        spec = image_spec(image=stored(await self.put()))
        new = NewJob(spec=spec, request_id="req-1", callback_url=CALLBACK_URL)
        return (await self.backend.accept(new)).job

    async def finish(self, job: Job, state: JobState = JobState.COMPLETED) -> Job:
        """Claim a job and end it; its callback is pending then, and its input left behind."""
        claim = await self.backend.start(job.id)
        assert claim is not None
        callback = Frozen(body=await self.put(b"{}"), due_at=datetime.now(UTC))
        outcome = Outcome(state=state)
        assert await self.backend.finish(job.id, claim.job.attempt, outcome, callback)
        return await self.backend.get(job.id)

    async def settle(self, job: Job, state: CallbackState = CallbackState.DELIVERED) -> None:
        attempt = CallbackAttempt(
            number=1,
            at=datetime.now(UTC),
            duration=0.1,
            verdict="delivered",
            status=200,
            error=None,
            answer="",
        )
        assert await self.backend.record_delivery(job.id, attempt, state, None)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with (
        open_blobs(tmp_path / "data") as blobs,
        SqliteConfig().open(tmp_path / "data") as backend,
    ):
        clock = Clock()
        keeper = Upkeep(
            backend=backend,
            blobs=blobs,
            spool=Spool(blobs=blobs, record=lambda: 0, limit=1000),
            retention=RETENTION,
            audit_retention=AUDIT_RETENTION,
            now=clock,
        )
        yield House(backend=backend, blobs=blobs, clock=clock, upkeep=keeper)


def test_jobs_go_after_the_retention_and_orphans_after_an_hour() -> None:
    now = datetime(2026, 11, 25, 12, tzinfo=UTC)
    assert Horizons.at(now, retention=timedelta(days=2)) == Horizons(
        jobs=datetime(2026, 11, 23, 12, tzinfo=UTC), orphans=datetime(2026, 11, 25, 11, tzinfo=UTC)
    )


# -- old jobs ------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [CallbackState.DELIVERED, CallbackState.DEAD])
async def test_a_settled_job_goes_after_the_retention_with_all_its_blobs(
    house: House, kept: Path, state: CallbackState
) -> None:
    job = await house.finish(await house.accept(), JobState.FAILED)  # which keeps its input
    await house.settle(job, state)

    house.clock.move_on(RETENTION - timedelta(minutes=1))
    await house.upkeep.tidy()
    assert len(files(kept)) == 2
    assert (await house.backend.get(job.id)).id == job.id

    house.clock.move_on(timedelta(hours=1))
    await house.upkeep.tidy()
    assert files(kept) == []
    with pytest.raises(JobNotFound):
        await house.backend.get(job.id)


async def test_what_is_not_settled_stays_however_old_it_is(house: House, kept: Path) -> None:
    queued, running = await house.accept(), await house.accept()
    assert await house.backend.start(running.id)
    undelivered = await house.finish(await house.accept(), JobState.FAILED)

    house.clock.move_on(10 * RETENTION)
    await house.upkeep.tidy()

    for job in (queued, running, undelivered):
        assert await house.backend.get(job.id)
    assert len(files(kept)) == 4


async def test_more_old_jobs_than_go_at_once_all_go_in_one_round(house: House, kept: Path) -> None:
    jobs = [await house.finish(await house.accept()) for _ in range(2 * JOBS_AT_ONCE + 1)]
    for job in jobs:
        await house.settle(job)

    house.clock.move_on(LATER)
    await house.upkeep.tidy()

    assert files(kept) == []
    for job in jobs:
        with pytest.raises(JobNotFound):
            await house.backend.get(job.id)


# -- orphans -------------------------------------------------------------------------------


async def test_a_blob_without_a_job_goes_once_it_is_an_hour_old(house: House, kept: Path) -> None:
    await house.put()
    house.clock.move_on(timedelta(minutes=59))
    await house.upkeep.tidy()
    assert len(files(kept)) == 1

    house.clock.move_on(timedelta(minutes=2))
    await house.upkeep.tidy()
    assert files(kept) == []
    assert house.blobs.size == 0


async def test_the_input_that_a_crash_left_of_an_ended_job_goes_and_the_callback_stays(
    house: House,
) -> None:
    job = await house.finish(await house.accept())
    assert job.callback_body is not None
    (image,) = job.spec.blobs

    house.clock.move_on(timedelta(hours=2))
    await house.upkeep.tidy()

    assert not house.blobs.path(image).exists()
    assert house.blobs.path(job.callback_body).exists()


async def test_a_body_that_waits_for_the_record_is_no_orphan(house: House) -> None:
    body = await house.put()
    house.clock.move_on(timedelta(hours=2))

    with house.blobs.reserved(body):
        await house.upkeep.tidy()
        assert house.blobs.path(body).exists()

    await house.upkeep.tidy()
    assert not house.blobs.path(body).exists()


async def test_a_blob_is_as_old_as_its_name_and_not_as_its_content(house: House) -> None:
    original = await house.put()
    long_ago = (house.clock.now - timedelta(days=3)).timestamp()
    os.utime(house.blobs.path(original), (long_ago, long_ago))
    copy = await house.blobs.copy(original)

    await house.upkeep.tidy()
    assert house.blobs.path(copy).exists()


async def test_the_folder_is_read_in_portions_and_may_change_meanwhile(house: House) -> None:
    keys = {(await house.put()).key for _ in range(5)}
    seen: list[list[str]] = []
    later = house.clock.now + timedelta(hours=1)

    async with aclosing(house.blobs.unreserved(before=later, portion=2)) as portions:
        async for portion in portions:
            seen.append(portion)
            await house.blobs.delete_keys(keys)

    assert len(seen[0]) == 2
    assert set(seen[0]) < keys
    assert not any(seen[1:])


async def test_every_blob_is_looked_at_once(house: House) -> None:
    keys = {(await house.put()).key for _ in range(5)}
    later = house.clock.now + timedelta(hours=1)
    async with aclosing(house.blobs.unreserved(before=later, portion=2)) as portions:
        seen = [portion async for portion in portions]

    assert [len(portion) for portion in seen] == [2, 2, 1]
    assert {key for portion in seen for key in portion} == keys


# -- round after round ---------------------------------------------------------------------


@pytest.fixture
def run_until(house: House, monkeypatch: pytest.MonkeyPatch) -> Callable[[asyncio.Event], Any]:
    """Return a function that lets one round follow the other until something has happened."""
    monkeypatch.setattr(upkeep, "INTERVAL", 0)

    async def run(happened: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(house.upkeep.run())
            await happened.wait()
            task.cancel()

    return run


@pytest.mark.parametrize(
    ("error", "event"),
    [(DiskRefuses(), "upkeep_interrupted"), (LookupError(), "upkeep_crashed")],
)
async def test_what_fails_is_logged_and_done_in_the_next_round(
    house: House,
    kept: Path,
    run_until: Callable[[asyncio.Event], Any],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    event: str,
) -> None:
    await house.put()
    house.clock.move_on(timedelta(hours=2))
    ask, errors, swept = house.backend.unknown_blobs, [error], asyncio.Event()

    async def fails_once(keys: list[str]) -> frozenset[str]:
        if errors:
            raise errors.pop()
        return await ask(keys)

    delete = house.blobs.delete_keys

    async def delete_and_tell(keys: frozenset[str]) -> None:
        await delete(keys)
        swept.set()

    monkeypatch.setattr(house.backend, "unknown_blobs", fails_once)
    monkeypatch.setattr(house.blobs, "delete_keys", delete_and_tell)
    with capture_logs() as logs:
        await run_until(swept)

    assert logs[0]["event"] == event
    assert files(kept) == []


async def test_a_full_spool_is_told_in_the_log(
    house: House, run_until: Callable[[asyncio.Event], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.put(bytes(1000))
    rounds, two_rounds = 0, asyncio.Event()
    forget = house.backend.forget

    async def counted(**arguments: Any) -> Any:
        nonlocal rounds
        rounds += 1
        if rounds == 2:
            two_rounds.set()
        return await forget(**arguments)

    monkeypatch.setattr(house.backend, "forget", counted)
    with capture_logs() as logs:
        await run_until(two_rounds)

    assert logs[0] == {
        "event": "spool_full",
        "log_level": "warning",
        "bytes": 1000,
        "limit": 1000,
    }


# -- old days ------------------------------------------------------------------------------


async def test_what_a_day_has_cost_is_forgotten_after_400_days(house: House) -> None:
    call = new_call(await house.accept(), at=house.clock.now)
    await house.backend.ledger.reserve(call, Limits())
    day = house.clock.now.date()
    wanted = UsageFilter(first=day, last=day, group_by=Grouping.DAY)

    house.clock.move_on(timedelta(days=400))
    await house.upkeep.tidy()
    assert len((await house.backend.ledger.usage(wanted)).rows) == 1

    house.clock.move_on(timedelta(days=1))
    await house.upkeep.tidy()
    assert not (await house.backend.ledger.usage(wanted)).rows


async def test_rows_of_the_audit_log_go_when_their_own_retention_has_passed(house: House) -> None:
    audit = house.backend.audit
    actor = Actor(name="ann", proof="none")
    await audit.append(AuditEntry(actor=actor, action=Action.JOB_SUBMIT, target=None))
    for after, left in ((AUDIT_RETENTION - timedelta(hours=1), 1), (timedelta(hours=2), 0)):
        house.clock.move_on(after)
        await house.upkeep.tidy()
        assert len(await audit.page(AuditFilter(), before=None, limit=10)) == left
