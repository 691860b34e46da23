"""What every record promises of the items of batches; each implementation runs all of it."""

import dataclasses
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from imgsvc.errors import JobNotFound, JobNotRetryable
from imgsvc.jobs import JobBackend
from imgsvc.jobs.items import Found, Item, ItemEnd, ItemFilter, ItemState, JobLost, Progress
from imgsvc.jobs.ledger import Bill, Limits
from imgsvc.jobs.models import Job, JobState, Outcome, StoredResult
from imgsvc.jobs.spent import Spent
from imgsvc.jobs.sqlite import again
from imgsvc.jobs.sqlite import items as sqlite_items
from imgsvc.jobs.sqlite.items import SqliteItems
from jobs.backends import FAILED, IMPLEMENTATIONS, Open, accept, claim, finish, frozen, settle
from jobs.calls import new_call
from jobs.parts import batch_spec

DONE = ItemEnd(
    state=ItemState.FALLBACK_LOCAL,
    output_key="output/x.png",
    provider="local",
    model=None,
    fallback_reason="provider_timeout",
    operations=("rotate 90",),
    ignored=(),
    bytes=7,
    seconds=1.5,
    spent=Spent(calls=2, cost=3, unknown_calls=1),
)
BROKEN = ItemEnd(state=ItemState.FAILED, error="CorruptImage: broken", seconds=0.5)
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.fixture(params=IMPLEMENTATIONS)
def open_it(request: pytest.FixtureRequest) -> Open:
    opens: Open = request.param
    return opens


@pytest.fixture
async def backend(open_it: Open, tmp_path: Path) -> AsyncIterator[JobBackend]:
    async with open_it(tmp_path) as backend:
        yield backend


def found(*keys: str) -> list[Found]:
    return [
        Found(key=f"input/{key}", size=7, modified=NOON, may_be_image=not key.endswith(".txt"))
        for key in keys
    ]


async def begin(backend: JobBackend, **fields: Any) -> Job:
    """Accept a batch, claim it and open it."""
    job = (await claim(backend, await accept(backend, spec=batch_spec(), **fields))).job
    await backend.items.open(job)
    return job


async def items(backend: JobBackend, job: Job) -> list[Item]:
    return list(await backend.items.page(ItemFilter(job_id=job.id), after=0, limit=10_000))


async def states(backend: JobBackend, job: Job) -> list[str]:
    return [item.end.state.value for item in await items(backend, job)]


async def test_items_are_taken_in_the_order_of_the_listing_until_none_is_pending(
    backend: JobBackend,
) -> None:
    job = await begin(backend)
    await backend.items.add(job, found("a.png", "b.txt"), is_last=False)
    await backend.items.add(job, found("c.png"), is_last=True)

    first = await backend.items.take(job)
    second = await backend.items.take(job)
    assert first is not None
    assert second is not None
    assert (first.number, first.key, first.size, first.attempts) == (1, "input/a.png", 7, 0)
    assert (second.number, second.key) == (3, "input/c.png")
    assert await backend.items.take(job) is None
    assert await states(backend, job) == ["running", "skipped", "running"]


async def test_an_end_is_kept_whole_and_only_once(backend: JobBackend) -> None:
    job = await begin(backend)
    await backend.items.add(job, found("a.png"), is_last=True)
    await backend.items.take(job)
    await backend.items.end(job, 1, DONE)
    await backend.items.end(job, 1, BROKEN)

    [item] = await items(backend, job)
    assert item.end == DONE
    assert (item.attempts, item.output) == (1, f"output/{job.id}/a_modified")


async def test_what_was_spent_before_a_crash_is_added_to_what_the_last_attempt_costs(
    open_it: Open, tmp_path: Path
) -> None:
    async with open_it(tmp_path) as backend:
        job = await begin(backend)
        await backend.items.add(job, found("a.png", "b.png", "c.png"), is_last=True)
        for number in (1, 2):
            await backend.items.take(job)
            calls = [new_call(job, item=number) for _ in range(2)]
            for call in calls:
                await backend.ledger.reserve(call, Limits())
            backend.ledger.settle(calls[0].id, Bill(cost=5))
    async with open_it(tmp_path) as backend:
        job = (await claim(backend, job)).job
        before = Spent(calls=2, cost=5, unknown_calls=1)
        taken = [await backend.items.take(job) for _ in range(3)]
        assert [item.end.spent for item in taken if item] == [before, before, Spent()]
        await backend.items.end(job, 1, DONE)
        call = new_call(job, item=2)
        await backend.ledger.reserve(call, Limits())
        backend.ledger.settle(call.id, Bill(cost=7))
        assert await finish(backend, job, FAILED)  # without having ended the second one
        assert [item.end.spent for item in await items(backend, job)] == [
            Spent(calls=4, cost=8, unknown_calls=2),
            Spent(calls=3, cost=12, unknown_calls=1),
            Spent(),
        ]


async def test_outputs_are_named_over_all_portions_of_the_listing(backend: JobBackend) -> None:
    job = await begin(backend)
    for key in ("a.jpg", "a.png", "a_modified.png/x.png", "b_modified.webp/x.png", "b.png", "a.w"):
        await backend.items.add(job, found(key), is_last=False)

    root = f"output/{job.id}"
    assert [item.output for item in await items(backend, job)] == [
        f"{root}/a_modified",
        f"{root}/a_modified_2",
        f"{root}/a_modified.png_2/x_modified",
        f"{root}/b_modified.webp/x_modified",
        f"{root}/b_modified_2",
        f"{root}/a_modified_3",
    ]


async def test_a_key_that_is_not_utf8_comes_back_as_it_was(backend: JobBackend) -> None:
    job = await begin(backend)
    await backend.items.add(job, found("a\udcff.png"), is_last=False)
    [item] = await items(backend, job)
    assert item.key == "input/a\udcff.png"
    assert (await backend.items.open(job)).last_key == "input/a\udcff.png"


async def test_a_worker_that_lost_its_job_changes_nothing(backend: JobBackend) -> None:
    job = await begin(backend)
    await backend.items.add(job, found("a.png", "b.png"), is_last=False)
    await backend.items.take(job)
    before = await items(backend, job)
    for lost in (
        dataclasses.replace(job, attempt=job.attempt - 1),
        dataclasses.replace(job, attempt=job.attempt + 1),
        await begin_and_finish(backend),
    ):
        for attempt in (
            backend.items.open(lost),
            backend.items.add(lost, found("c.png"), is_last=True),
            backend.items.take(lost),
            backend.items.end(lost, 1, DONE),
            backend.items.abandon(lost, "stopped"),
        ):
            with pytest.raises(JobLost):
                await attempt
    assert await items(backend, job) == before


async def begin_and_finish(backend: JobBackend) -> Job:
    job = await begin(backend)
    await finish(backend, job)
    return job


async def test_what_is_abandoned_has_ended_and_says_why(backend: JobBackend) -> None:
    job = await begin(backend)
    await backend.items.add(job, found("a.png", "b.png", "c.png", "d.txt"), is_last=True)
    await backend.items.take(job)
    await backend.items.end(job, 1, DONE)
    await backend.items.take(job)
    await backend.items.abandon(job, "BudgetSpent: spent")

    assert await states(backend, job) == ["fallback_local", *["not_started"] * 2, "skipped"]
    sums = await backend.items.sums(job.id, lines=5)
    assert sums.stopped == "BudgetSpent: spent"
    assert sums.fallback_reasons == {"provider_timeout": 1}


async def test_sums_have_as_many_lines_as_were_asked_for(backend: JobBackend) -> None:
    job = await begin(backend)
    keys = [f"{number}.{kind}" for number in range(4) for kind in ("png", "txt")]
    await backend.items.add(job, found(*keys), is_last=True)
    while (item := await backend.items.take(job)) is not None:
        await backend.items.end(job, item.number, BROKEN)

    sums = await backend.items.sums(job.id, lines=3)
    assert sums.states == {ItemState.FAILED: 4, ItemState.SKIPPED: 4}
    assert [item.key for item in sums.failed] == [f"input/{number}.png" for number in range(3)]
    assert [item.key for item in sums.skipped] == [f"input/{number}.txt" for number in range(3)]
    assert sums.stopped is None


async def test_pages_show_each_item_once_and_can_be_of_one_state(backend: JobBackend) -> None:
    job = await begin(backend)
    await backend.items.add(job, found(*"abcde", "f.txt"), is_last=True)
    await backend.items.take(job)
    pending = ItemFilter(job_id=job.id, state=ItemState.PENDING)

    first = await backend.items.page(pending, after=0, limit=3)
    second = await backend.items.page(pending, after=first[-1].number, limit=3)
    assert [item.number for item in (*first, *second)] == [2, 3, 4, 5]
    with pytest.raises(JobNotFound):
        await backend.items.page(ItemFilter(job_id="unknown"), after=0, limit=3)


# -- a service that is lost, or stops --------------------------------------------------------


async def test_after_a_crash_the_listing_goes_on_and_what_was_in_work_is_pending_again(
    open_it: Open, tmp_path: Path
) -> None:
    async with open_it(tmp_path) as first:
        job = await begin(first)
        begun_at = (await first.items.open(job)).begun_at
        assert job.started_at is not None
        assert begun_at >= job.started_at
        await first.items.add(job, found("a.png", "b.png", "c.png"), is_last=False)
        await first.items.take(job)
        await first.items.take(job)
        await first.items.end(job, 1, DONE)
    async with open_it(tmp_path) as second:
        assert await states(second, job) == ["fallback_local", "pending", "pending"]
        reclaimed = (await claim(second, job)).job
        listing = await second.items.open(reclaimed)
        assert (listing.last_key, listing.is_complete) == ("input/c.png", False)
        assert listing.begun_at == begun_at
        taken = await second.items.take(reclaimed)
        assert taken is not None
        assert (taken.number, taken.attempts, taken.interruptions) == (2, 1, 0)
        await second.items.add(reclaimed, found("d.png"), is_last=True)
        assert (await second.items.open(reclaimed)).is_complete
        assert [item.number for item in await items(second, reclaimed)] == [1, 2, 3, 4]


@pytest.mark.parametrize("gets_on", [True, False])
async def test_a_batch_is_to_blame_for_a_crash_only_if_it_has_not_got_on(
    open_it: Open, tmp_path: Path, gets_on: bool
) -> None:
    async with open_it(tmp_path) as first:
        job = await begin(first)
        await first.items.add(job, found("a.png", "b.png"), is_last=True)
    for attempt in range(2, 4):
        async with open_it(tmp_path) as backend:
            reclaimed = (await claim(backend, job)).job
            await backend.items.open(reclaimed)
            assert reclaimed.attempt == attempt
            taken = await backend.items.take(reclaimed)
            if gets_on and taken is not None:
                await backend.items.end(reclaimed, taken.number, DONE)
    async with open_it(tmp_path) as last:
        known = await last.get(job.id)
        assert known.attempt - known.interruptions == (0 if gets_on else 2)


async def test_a_batch_that_was_begun_is_ended_by_its_next_worker_if_it_is_cancelled(
    open_it: Open, tmp_path: Path
) -> None:
    async with open_it(tmp_path) as first:
        job = await begin(first)
        await first.items.add(job, found("a.png", "b.png"), is_last=True)
        await first.items.take(job)
    async with open_it(tmp_path) as second:
        cancelled = Outcome(state=JobState.CANCELLED)
        told = await second.cancel(job.id, cancelled, frozen(job.id))
        assert (told.state, told.cancel_requested) == (JobState.QUEUED, True)
        assert await states(second, job) == ["pending", "pending"]
    async with open_it(tmp_path) as third:
        claimed = await claim(third, job)
        assert claimed.cancelled.is_set()
        taken = await third.items.take(claimed.job, again=True)
        assert taken is not None
        assert (taken.number, taken.attempts) == (1, 1)
        assert await third.items.take(claimed.job, again=True) is None


async def test_progress_is_known_at_any_time_and_its_rate_until_the_worker_is_lost(
    open_it: Open, tmp_path: Path
) -> None:
    async with open_it(tmp_path) as first:
        waiting = await accept(first, spec=batch_spec())
        assert await first.items.progress(waiting.id) is None
        job = await begin(first)
        assert await first.items.progress(job.id) == Progress()
        await first.items.add(job, found("a.png", "b.png", "c.txt"), is_last=True)
        await first.items.take(job)
        ended = await first.items.end(job, 1, BROKEN, rate=1.5)
        assert ended == Progress(done=1, failed=1, total=2, total_is_final=True, rate=1.5)
        assert await first.items.progress(job.id) == ended
    async with open_it(tmp_path) as second:
        again = (await claim(second, job)).job
        without_rate = dataclasses.replace(ended, rate=None)
        assert (await second.items.open(again)).progress == without_rate
        assert await second.items.progress(job.id) == without_rate


# -- the end of the job ----------------------------------------------------------------------


@pytest.mark.parametrize("portion", [1, 2, 3, 100])
async def test_a_job_that_ends_without_its_batch_leaves_no_item_open(
    backend: JobBackend, monkeypatch: pytest.MonkeyPatch, portion: int
) -> None:
    monkeypatch.setattr(sqlite_items, "PORTION", portion)
    job = await begin(backend)
    await backend.items.add(job, found("a.png", "b.png", "c.png"), is_last=False)
    await backend.items.take(job)
    assert await finish(backend, job, FAILED)
    assert await states(backend, job) == ["failed", "not_started", "not_started"]
    assert {item.end.error for item in await items(backend, job)} == {FAILED.error}


async def test_items_go_with_their_job(backend: JobBackend) -> None:
    job, other = await begin(backend), await begin(backend)
    for each in (job, other):
        await backend.items.add(each, found("a.png"), is_last=True)
    await finish(backend, job)
    await settle(backend, job)
    assert await backend.forget(before=datetime.now(UTC), limit=10)
    assert len(await items(backend, other)) == 1
    with pytest.raises(JobNotFound):
        await items(backend, job)


# -- a batch that is done again ----------------------------------------------------------------


async def partly_done(backend: JobBackend, *, is_listed: bool = True) -> Job:
    """Return a batch that has ended with a result, a failure and one that was not started."""
    job = await begin(backend)
    await backend.items.add(job, found("a.png", "b.png", "c.png", "d.txt"), is_last=is_listed)
    for end in (DONE, BROKEN):
        taken = await backend.items.take(job)
        assert taken is not None
        await backend.items.end(job, taken.number, end)
    await backend.items.abandon(job, "BudgetSpent: spent")
    await finish(backend, job, Outcome(state=JobState.COMPLETED_WITH_ERRORS))
    return job


async def test_doing_a_batch_again_leaves_what_is_done_and_keeps_the_output_folder(
    backend: JobBackend,
) -> None:
    job = await partly_done(backend)
    second = await begin(backend, retry_of=job.id)

    listing = await backend.items.open(second)
    assert (listing.folder, listing.is_complete) == (job.id, True)
    before, after = await items(backend, job), await items(backend, second)
    assert [item.end.state.value for item in after] == [
        *("fallback_local", "pending", "pending", "skipped"),
    ]
    assert after[0] == before[0]
    assert after[1].end == ItemEnd(state=ItemState.PENDING)
    assert (after[1].output, after[1].attempts) == (before[1].output, 0)
    assert await states(backend, job) == ["fallback_local", "failed", "not_started", "skipped"]
    assert listing.progress == Progress(done=1, total=3, total_is_final=True)


async def test_a_batch_can_be_done_again_and_again_in_one_folder(backend: JobBackend) -> None:
    job = await partly_done(backend)
    second = await begin(backend, retry_of=job.id)
    await backend.items.take(second)
    await backend.items.end(second, 2, DONE)
    await finish(backend, second, FAILED)
    third = await begin(backend, retry_of=second.id)
    assert (await backend.items.open(third)).folder == job.id
    assert await states(backend, third) == [
        *("fallback_local", "fallback_local", "pending", "skipped"),
    ]


async def test_a_listing_that_broke_off_is_gone_on_with(backend: JobBackend) -> None:
    job = await partly_done(backend, is_listed=False)
    second = await begin(backend, retry_of=job.id)
    listing = await backend.items.open(second)
    assert (listing.last_key, listing.is_complete) == ("input/d.txt", False)


async def wholly_done(backend: JobBackend, outcome: Outcome) -> Job:
    """Return a batch of one image that has ended with a result."""
    job = await begin(backend)
    await backend.items.add(job, found("a.png"), is_last=True)
    await backend.items.take(job)
    await backend.items.end(job, 1, DONE)
    await finish(backend, job, outcome)
    return job


async def test_a_batch_without_anything_left_to_do_is_not_done_again(backend: JobBackend) -> None:
    where = StoredResult(bucket="output", key="output/manifest.json")
    outcome = Outcome(state=JobState.COMPLETED, result=where)
    job = await wholly_done(backend, outcome)
    with pytest.raises(JobNotRetryable, match="nothing left to do"):
        await accept(backend, spec=batch_spec(), retry_of=job.id)


async def test_a_batch_whose_manifest_was_not_stored_can_be_done_again(backend: JobBackend) -> None:
    job = await wholly_done(backend, Outcome(state=JobState.COMPLETED_WITH_ERRORS))
    second = await begin(backend, retry_of=job.id)
    assert await states(backend, second) == ["fallback_local"]
    assert (await backend.items.open(second)).progress.done == 1


async def test_a_batch_is_not_done_twice_at_the_same_time(backend: JobBackend) -> None:
    job = await partly_done(backend)
    second = await accept(backend, spec=batch_spec(), retry_of=job.id)
    with pytest.raises(JobNotRetryable, match=second.id):
        await accept(backend, spec=batch_spec(), retry_of=job.id)
    await backend.cancel(second.id, Outcome(state=JobState.CANCELLED), frozen(second.id))
    await accept(backend, spec=batch_spec(), retry_of=job.id)


async def test_a_batch_that_was_done_again_is_not_done_again_a_second_time(
    backend: JobBackend,
) -> None:
    job = await partly_done(backend)
    second = await begin(backend, retry_of=job.id)
    await finish(backend, second, FAILED)
    with pytest.raises(JobNotRetryable, match=second.id):
        await accept(backend, spec=batch_spec(), retry_of=job.id)


async def test_one_that_was_cancelled_before_its_turn_leaves_all_to_the_next(
    backend: JobBackend,
) -> None:
    job = await partly_done(backend)
    second = await accept(backend, spec=batch_spec(), retry_of=job.id)
    await backend.cancel(second.id, Outcome(state=JobState.CANCELLED), frozen(second.id))
    third = await begin(backend, retry_of=second.id)
    assert (await backend.items.open(third)).folder == job.id
    assert await states(backend, third) == ["fallback_local", "pending", "pending", "skipped"]
    for former in (job, second):
        with pytest.raises(JobNotRetryable, match=third.id):
            await accept(backend, spec=batch_spec(), retry_of=former.id)


async def test_a_crash_while_items_are_copied_loses_none_and_doubles_none(
    open_it: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(again, "PORTION", 2)
    async with open_it(tmp_path) as first:
        job = await partly_done(first)
        second = (await claim(first, await accept(first, spec=batch_spec(), retry_of=job.id))).job
        assert isinstance(first.items, SqliteItems)
        assert await first.items.database.call(lambda tx: again.copy_portion(tx, second))
        assert await states(first, second) == ["fallback_local", "pending"]
    async with open_it(tmp_path) as backend:
        await backend.items.open((await claim(backend, second)).job)
        assert await states(backend, second) == ["fallback_local", "pending", "pending", "skipped"]


async def test_a_batch_stays_until_the_one_that_does_it_again_is_done(
    backend: JobBackend,
) -> None:
    job = await partly_done(backend)
    await settle(backend, job)
    waiting = await accept(backend, spec=batch_spec(), retry_of=job.id)
    assert not await backend.forget(before=datetime.now(UTC), limit=10)
    assert len(await items(backend, job)) == 4
    await backend.cancel(waiting.id, Outcome(state=JobState.CANCELLED), frozen(waiting.id))
    assert await backend.forget(before=datetime.now(UTC), limit=10)
    with pytest.raises(JobNotRetryable, match="not kept"):
        await accept(backend, spec=batch_spec(), retry_of=waiting.id)
