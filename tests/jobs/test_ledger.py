"""What every record promises of the money that jobs cost; each implementation runs all of it."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from imgsvc.errors import JobNotFound
from imgsvc.jobs import JobBackend
from imgsvc.jobs.ledger import (
    Bill,
    Budget,
    Grouping,
    Limits,
    Shortage,
    UsageFilter,
    UsageReport,
    UsageRow,
)
from imgsvc.jobs.models import Job, JobState
from imgsvc.jobs.spent import Spent
from imgsvc.providers import Usage
from jobs.backends import IMPLEMENTATIONS, Open, accept, claim, finish, finished, settle
from jobs.calls import DAY, NOON, new_call

USAGE = Usage(text_tokens=17, image_tokens=306, output_tokens=1056)


@pytest.fixture(params=IMPLEMENTATIONS)
def open_backend(request: pytest.FixtureRequest) -> Open:
    opening: Open = request.param
    return opening


@pytest.fixture
async def backend(open_backend: Open, tmp_path: Path) -> AsyncIterator[JobBackend]:
    async with open_backend(tmp_path) as backend:
        yield backend


async def spent(backend: JobBackend, job: Job) -> Spent:
    return (await backend.get(job.id)).spent


async def report(
    backend: JobBackend, group_by: Grouping = Grouping.DAY, *, first: date = DAY, last: date = DAY
) -> UsageReport:
    return await backend.ledger.usage(UsageFilter(first=first, last=last, group_by=group_by))


async def total(backend: JobBackend) -> UsageRow:
    return (await report(backend)).total


async def test_a_call_holds_its_estimate_until_it_is_settled(backend: JobBackend) -> None:
    job = await accept(backend)
    call = new_call(job, estimate=100)
    assert await backend.ledger.reserve(call, Limits()) is None
    assert await total(backend) == UsageRow(held=100)
    assert await spent(backend, job) == Spent()

    backend.ledger.settle(call.id, Bill(cost=30, images=1, usage=USAGE))
    assert await total(backend) == UsageRow(
        calls=1, images=1, text_tokens=17, image_tokens=306, output_tokens=1056, cost=30
    )
    assert await spent(backend, job) == Spent(calls=1, cost=30)


async def test_a_report_of_one_client_counts_no_other(backend: JobBackend) -> None:
    for client, cost in (("ann", 30), ("bob", 7)):
        call = new_call(await accept(backend, client=client), estimate=100)
        await backend.ledger.reserve(call, Limits())
        backend.ledger.settle(call.id, Bill(cost=cost))
    wanted = UsageFilter(first=DAY, last=DAY, group_by=Grouping.CLIENT, client="bob")
    found = await backend.ledger.usage(wanted)
    assert [row.client for row in found.rows] == ["bob"]
    assert (found.total.calls, found.total.cost) == (1, 7)


async def test_a_call_of_unknown_cost_goes_on_holding_its_estimate(backend: JobBackend) -> None:
    job = await accept(backend)
    call = new_call(job, estimate=100)
    await backend.ledger.reserve(call, Limits())
    backend.ledger.settle(call.id, Bill(cost=None))

    assert await total(backend) == UsageRow(calls=1, unknown_calls=1, held=100)
    assert await spent(backend, job) == Spent(calls=1, unknown_calls=1)
    refused = await backend.ledger.reserve(new_call(job, estimate=1), Limits(job=100))
    assert refused == Shortage(budget=Budget.JOB, limit=100, spent=100)


async def test_a_picture_of_a_model_without_a_price_counts_as_one_of_unknown_cost(
    backend: JobBackend,
) -> None:
    job = await accept(backend)
    call = new_call(job, estimate=0)
    await backend.ledger.reserve(call, Limits())
    backend.ledger.settle(call.id, Bill(cost=None, images=1, usage=USAGE))

    found = await total(backend)
    assert (found.images, found.output_tokens, found.unknown_calls) == (1, 1056, 1)


async def test_a_call_is_settled_once(backend: JobBackend) -> None:
    job = await accept(backend)
    call = new_call(job, estimate=100)
    await backend.ledger.reserve(call, Limits())
    for bill in (Bill(cost=30), Bill(cost=40), Bill(cost=None), None):
        backend.ledger.settle(call.id, bill)
    assert await total(backend) == UsageRow(calls=1, cost=30)


async def test_a_call_that_was_not_made_leaves_nothing(backend: JobBackend) -> None:
    job = await accept(backend)
    call = new_call(job, estimate=100)
    await backend.ledger.reserve(call, Limits())
    backend.ledger.settle(call.id, None)
    backend.ledger.settle("never-reserved", None)
    assert await total(backend) == UsageRow()
    assert await spent(backend, job) == Spent()


async def test_a_call_of_no_job_is_refused(backend: JobBackend) -> None:
    job = await accept(backend)
    nobody = new_call(job, job_id="00000000-0000-4000-8000-000000000000")
    with pytest.raises(JobNotFound):
        await backend.ledger.reserve(nobody, Limits())


# -- budgets ------------------------------------------------------------------------------


async def test_a_budget_can_be_spent_to_the_last_and_no_further(backend: JobBackend) -> None:
    job = await accept(backend)
    limits = Limits(job=100)
    assert await backend.ledger.reserve(new_call(job, estimate=60), limits) is None
    assert await backend.ledger.reserve(new_call(job, estimate=41), limits) == Shortage(
        budget=Budget.JOB, limit=100, spent=60, under_way=60
    )
    assert await backend.ledger.reserve(new_call(job, estimate=40), limits) is None


async def test_what_a_call_cost_less_than_estimated_can_be_spent(backend: JobBackend) -> None:
    job = await accept(backend)
    call = new_call(job, estimate=100)
    assert await backend.ledger.reserve(call, Limits(job=100)) is None
    backend.ledger.settle(call.id, Bill(cost=30))
    assert await backend.ledger.reserve(new_call(job, estimate=70), Limits(job=100)) is None


async def test_a_call_that_costs_nothing_is_made_whatever_was_spent(backend: JobBackend) -> None:
    job = await accept(backend)
    call = new_call(job, estimate=10)
    await backend.ledger.reserve(call, Limits())
    backend.ledger.settle(call.id, Bill(cost=1000))
    limits = Limits(job=10, client_day=10, day=10)
    assert await backend.ledger.reserve(new_call(job, estimate=0), limits) is None
    assert await backend.ledger.reserve(new_call(job, estimate=1), limits) is not None


async def test_each_budget_counts_its_own_calls(backend: JobBackend) -> None:
    first, second = await accept(backend, client="ann"), await accept(backend, client="ann")
    other = await accept(backend, client="bob")
    for job in (first, second, other):
        await backend.ledger.reserve(new_call(job, estimate=10), Limits())

    async def shortage(**limits: int) -> int | None:
        found = await backend.ledger.reserve(new_call(first, estimate=100), Limits(**limits))
        return None if found is None else found.spent

    assert await shortage(job=50) == 10
    assert await shortage(client_day=50) == 20
    assert await shortage(day=50) == 30


async def test_a_new_day_begins_at_midnight_utc(backend: JobBackend) -> None:
    job = await accept(backend)
    midnight = datetime(2026, 11, 26, tzinfo=UTC)
    limits = Limits(client_day=10, day=10)
    before, after = midnight - timedelta(microseconds=1), midnight
    late = new_call(job, estimate=10, at=before)
    assert await backend.ledger.reserve(late, limits) is None
    assert await backend.ledger.reserve(new_call(job, estimate=1, at=before), limits) is not None
    assert await backend.ledger.reserve(new_call(job, estimate=10, at=after), limits) is None
    # It is paid by the day on which it was begun.
    backend.ledger.settle(late.id, Bill(cost=7))
    found = await report(backend, last=DAY + timedelta(days=1))
    assert [(row.day, row.cost, row.held) for row in found.rows] == [
        ("2026-11-25", 7, 0),
        ("2026-11-26", 0, 10),
    ]


async def test_many_at_once_never_get_more_than_a_budget_has(backend: JobBackend) -> None:
    jobs = [await accept(backend, client=f"client-{number % 3}") for number in range(20)]
    calls = [new_call(job, estimate=7) for job in jobs for _ in range(10)]
    shortages = await asyncio.gather(
        *(backend.ledger.reserve(call, Limits(day=100)) for call in calls)
    )
    assert shortages.count(None) == 14
    assert (await total(backend)).held == 98


# -- over time ----------------------------------------------------------------------------


async def test_calls_under_way_in_a_crash_are_of_unknown_cost_afterwards(
    open_backend: Open, tmp_path: Path
) -> None:
    async with open_backend(tmp_path) as backend:
        job = (await claim(backend, await accept(backend))).job
        known, lost = new_call(job, estimate=100), new_call(job, estimate=100)
        for call in (known, lost):
            await backend.ledger.reserve(call, Limits())
        backend.ledger.settle(known.id, Bill(cost=30))
    async with open_backend(tmp_path) as backend:
        assert await spent(backend, job) == Spent(calls=2, cost=30, unknown_calls=1)
        assert await total(backend) == UsageRow(calls=2, cost=30, unknown_calls=1, held=100)
        again = await claim(backend, job)
        assert again.job.spent == Spent(calls=2, cost=30, unknown_calls=1)
        backend.ledger.settle(lost.id, Bill(cost=1))
        refused = await backend.ledger.reserve(new_call(job, estimate=71), Limits(job=200))
        assert refused == Shortage(budget=Budget.JOB, limit=200, spent=130)


_PROGRAM = """
import asyncio, json, os, signal, sys
from pathlib import Path
from imgsvc.jobs.ledger import Bill, Limits
from jobs.backends import IMPLEMENTATIONS, accept, claim
from jobs.calls import new_call

async def main():
    [opening] = [each.values[0] for each in IMPLEMENTATIONS if each.id == sys.argv[1]]
    async with opening(Path(sys.argv[2])) as backend:
        job = (await claim(backend, await accept(backend))).job
        calls = [new_call(job, estimate=100) for _ in range(3)]
        for call in calls:
            await backend.ledger.reserve(call, Limits())
        backend.ledger.settle(calls[0].id, Bill(cost=30))
        await backend.get(job.id)  # behind it: so it is on disk
        print(job.id, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


async def test_what_was_reserved_or_settled_survives_a_kill(
    request: pytest.FixtureRequest, open_backend: Open, tmp_path: Path
) -> None:
    name = request.node.callspec.id
    tests = Path(__file__).parents[1]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _PROGRAM, name, str(tmp_path)),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(tests)])},
    )
    output, _ = await process.communicate()
    assert process.returncode == -signal.SIGKILL
    job_id = output.decode().strip()
    async with open_backend(tmp_path) as backend:
        job = await backend.get(job_id)
        assert job.state is JobState.QUEUED
        assert job.spent == Spent(calls=3, cost=30, unknown_calls=2)
        assert await total(backend) == UsageRow(calls=3, cost=30, unknown_calls=2, held=200)


async def test_the_sums_of_a_day_outlive_its_jobs(backend: JobBackend) -> None:
    job = await accept(backend, client="ann")
    call = new_call(job, estimate=100)
    await backend.ledger.reserve(call, Limits())
    backend.ledger.settle(call.id, Bill(cost=30))
    assert await finish(backend, (await claim(backend, job)).job)
    await settle(backend, job)
    assert await backend.forget(before=datetime.now(UTC), limit=10)

    with pytest.raises(JobNotFound):
        await backend.get(job.id)
    assert (await total(backend)).cost == 30
    refused = await backend.ledger.reserve(
        new_call(await accept(backend, client="ann"), estimate=71), Limits(client_day=100)
    )
    assert refused == Shortage(budget=Budget.CLIENT_DAY, limit=100, spent=30)


async def test_the_sums_of_old_days_can_be_forgotten(backend: JobBackend) -> None:
    job = await finished(backend)
    for days in range(3):
        call = new_call(job, estimate=100, at=NOON + timedelta(days=days))
        await backend.ledger.reserve(call, Limits())
        backend.ledger.settle(call.id, Bill(cost=10))
    await backend.ledger.forget_days(DAY + timedelta(days=1))
    found = await report(backend, last=DAY + timedelta(days=2))
    assert [row.day for row in found.rows] == ["2026-11-26", "2026-11-27"]
    assert (await spent(backend, job)).cost == 30


# -- reports ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("group_by", "expected"),
    [
        (Grouping.DAY, [("2026-11-25", 3), ("2026-11-26", 40)]),
        (Grouping.CLIENT, [("bob", 42), ("ann", 1)]),
        (Grouping.MODEL, [("openai/model-2", 40), ("openai/model-1", 3)]),
    ],
)
async def test_a_report_adds_up_by_day_client_or_model(
    backend: JobBackend, group_by: Grouping, expected: list[tuple[str, int]]
) -> None:
    ann, bob = await accept(backend, client="ann"), await accept(backend, client="bob")
    for call, cost in (
        (new_call(ann, model="model-1"), 1),
        (new_call(bob, model="model-1"), 2),
        (new_call(bob, model="model-2", at=NOON + timedelta(days=1)), 40),
        (new_call(bob, model="model-2", at=NOON + timedelta(days=2)), 500),
    ):
        await backend.ledger.reserve(call, Limits())
        backend.ledger.settle(call.id, Bill(cost=cost))

    found = await report(backend, group_by, last=DAY + timedelta(days=1))
    names = [row.day or row.client or f"{row.provider}/{row.model}" for row in found.rows]
    assert [(name, row.cost) for name, row in zip(names, found.rows, strict=True)] == expected
    assert (found.total.cost, found.total.calls) == (43, 3)


async def test_a_report_of_nothing_is_empty(backend: JobBackend) -> None:
    assert await report(backend) == UsageReport(rows=[], total=UsageRow())


@pytest.mark.slow
async def test_a_report_has_no_more_than_a_thousand_rows_and_the_dearest_of_all(
    backend: JobBackend,
) -> None:
    jobs = [await accept(backend, client=f"client-{number}") for number in range(1001)]
    for number, job in enumerate(jobs):
        call = new_call(job)
        await backend.ledger.reserve(call, Limits())
        backend.ledger.settle(call.id, Bill(cost=number))
    found = await report(backend, Grouping.CLIENT)
    assert [row.cost for row in found.rows] == list(range(1000, 0, -1))
    assert found.total.calls == 1001
