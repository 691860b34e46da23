"""An account that pays for the calls of one job, on a real record."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from imgsvc.errors import BudgetSpent, DiskRefuses, PriceUnknown
from imgsvc.jobs import BudgetsConfig, JobAccount, JobBackend, freezing
from imgsvc.jobs.ledger import (
    Bill,
    Grouping,
    Ledger,
    Limits,
    NewCall,
    Shortage,
    UsageFilter,
    UsageRow,
)
from imgsvc.jobs.models import Job
from imgsvc.jobs.spent import Spent
from imgsvc.jobs.sqlite import SqliteConfig
from imgsvc.providers import ProviderCall, Reservation
from jobs.backends import accept
from jobs.calls import DAY, NOON
from jobs.parts import batch_spec, image_spec

CENT = 10**7


@pytest.fixture
async def backend(tmp_path: Path) -> AsyncIterator[JobBackend]:
    async with SqliteConfig().open(tmp_path) as backend:
        yield backend


async def make_account(
    backend: JobBackend, *, job: Job | None = None, cents: int | None = None, **budgets: Any
) -> JobAccount:
    """Return the account of a new job, which may cost so much."""
    max_cost = None if cents is None else cents * CENT
    job = job or await accept(backend, spec=image_spec(max_cost=max_cost))
    config = BudgetsConfig.model_validate(budgets)
    return JobAccount(ledger=backend.ledger, job=job, budgets=config, now=lambda: NOON)


async def reserve(account: JobAccount, cents: int | None = 1) -> Reservation:
    return await account.reserve("openai", "model-1", None if cents is None else cents * CENT)


def ended(cents: int | None, *, error: str | None = None) -> ProviderCall:
    cost = None if cents is None else cents * CENT
    return ProviderCall(provider="openai", model="model-1", seconds=1, error=error, cost=cost)


async def usage(backend: JobBackend, day: date = DAY) -> UsageRow:
    wanted = UsageFilter(first=day, last=day, group_by=Grouping.DAY)
    return (await backend.ledger.usage(wanted)).total


async def test_the_dollars_of_a_client_stand_in_place_of_everybodys(backend: JobBackend) -> None:
    account = await make_account(backend, client_day_usd=0.01)
    own = JobAccount(
        ledger=backend.ledger,
        job=account.job,
        budgets=account.budgets,
        client_day_usd=0.03,
        now=lambda: NOON,
    )
    await reserve(own, 3)
    with pytest.raises(BudgetSpent, match="have the operator raise its day_usd"):
        await reserve(own, 1)
    with pytest.raises(BudgetSpent, match=r"raise budgets\.client_day_usd"):
        await reserve(account, 1)


async def test_the_budget_of_the_request_counts_more_than_that_of_the_configuration(
    backend: JobBackend,
) -> None:
    given = await make_account(backend, cents=2, job_usd=0.01)
    await reserve(given, 2)
    not_given = await make_account(backend, job_usd=0.01)
    with pytest.raises(BudgetSpent):
        await reserve(not_given, 2)
    unlimited = await make_account(backend)
    await reserve(unlimited, 1_000_000)


@pytest.mark.parametrize(
    ("budgets", "message"),
    [
        (
            {"job_usd": 0.05},
            (
                "This job has spent or set aside 0.03 of the 0.05 USD it may, and the next call"
                " may cost 0.1 USD, more than all of it. Send a higher max_cost_usd, or have the"
                " operator raise budgets.job_usd."
            ),
        ),
        (
            {"client_day_usd": 0.05},
            (
                "This client has spent or set aside 0.03 of the 0.05 USD it may on 2026-11-25"
                " (UTC), and the next call may cost 0.1 USD, more than all of it. Have the"
                " operator raise budgets.client_day_usd."
            ),
        ),
        (
            {"day_usd": 0.05},
            (
                "The service has spent or set aside 0.03 of the 0.05 USD it may on 2026-11-25"
                " (UTC), and the next call may cost 0.1 USD, more than all of it. Have the"
                " operator raise budgets.day_usd."
            ),
        ),
    ],
)
async def test_a_refusal_says_which_budget_it_is_and_how_to_mend_it(
    backend: JobBackend, budgets: dict[str, Any], message: str
) -> None:
    account = await make_account(backend, **budgets)
    (await reserve(account, 4)).settle(ended(3))
    with pytest.raises(BudgetSpent) as refused:
        await reserve(account, 10)
    assert refused.value.message == message
    assert refused.value.of_job == ("job_usd" in budgets)


@pytest.mark.parametrize(
    ("spec", "when_spent", "budget", "is_final"),
    [
        (image_spec(), "fall_back", "job_usd", False),
        (image_spec(), "fail", "job_usd", True),
        (image_spec(), "fall_back", "day_usd", False),
        (batch_spec(), "fall_back", "job_usd", True),  # the batch stops
        (batch_spec(), "fall_back", "day_usd", False),
        (batch_spec(), "fail", "client_day_usd", True),
    ],
)
async def test_the_policy_says_whether_somebody_may_step_in(
    backend: JobBackend, spec: Any, when_spent: str, budget: str, is_final: bool
) -> None:
    job = await accept(backend, spec=spec)
    budgets: dict[str, Any] = {budget: 0.01, "when_spent": when_spent}
    account = await make_account(backend, job=job, **budgets)
    with pytest.raises(BudgetSpent) as refused:
        await reserve(account, 2)
    assert refused.value.is_final is is_final


@pytest.mark.parametrize("budget", ["job_usd", "client_day_usd", "day_usd"])
async def test_what_has_no_price_is_not_called_while_there_is_a_budget(
    backend: JobBackend, budget: str
) -> None:
    budgets: dict[str, Any] = {budget: 1000}
    account = await make_account(backend, **budgets)
    with pytest.raises(PriceUnknown, match="`price` or `usd_per_image`"):
        await reserve(account, None)
    assert await usage(backend) == UsageRow()

    (await reserve(await make_account(backend), None)).settle(ended(None))
    assert await usage(backend) == UsageRow(calls=1, images=1, unknown_calls=1)


async def test_what_a_job_has_spent_goes_on_from_its_attempts_before(backend: JobBackend) -> None:
    job = await accept(backend, spec=image_spec(max_cost=5 * CENT))
    first = await make_account(backend, job=job)
    (await reserve(first, 4)).settle(ended(3))
    (await reserve(first, 1)).settle(ended(None, error="provider_timeout"))
    assert first.spent == Spent(calls=2, cost=3 * CENT, unknown_calls=1)

    second = await make_account(backend, job=await backend.get(job.id))
    assert second.spent == first.spent
    with pytest.raises(BudgetSpent, match=r"has spent or set aside 0\.04 of the 0\.05 USD"):
        await reserve(second, 2)
    (await reserve(second, 1)).settle(ended(1))
    assert second.spent == Spent(calls=3, cost=4 * CENT, unknown_calls=1)


async def test_a_new_day_has_a_new_budget(backend: JobBackend) -> None:
    now = datetime(2026, 11, 25, 23, 59, 59, 999_999, tzinfo=UTC)
    account = await make_account(backend, day_usd=0.01, client_day_usd=0.01)
    account.now = lambda: now
    await reserve(account)
    with pytest.raises(BudgetSpent, match="on 2026-11-25"):
        await reserve(account)
    now += timedelta(microseconds=1)
    await reserve(account)
    with pytest.raises(BudgetSpent, match="on 2026-11-26"):
        await reserve(account)


async def test_many_jobs_at_once_never_get_more_than_there_is(backend: JobBackend) -> None:
    accounts = [await make_account(backend, day_usd=0.25) for _ in range(20)]

    async def work(account: JobAccount) -> int:
        made = 0
        for cost in (1, 0, None, 1, 1):
            try:
                reservation = await reserve(account, 2)
            except BudgetSpent:
                continue
            made += 1
            await asyncio.sleep(0)
            reservation.settle(ended(cost))
            assert (await usage(backend)).cost <= 25 * CENT
        return made

    made = await asyncio.gather(*(work(account) for account in accounts))
    found = await usage(backend)
    assert found.cost + found.held <= 25 * CENT
    assert found.calls == sum(made)
    assert sum(made) >= 12


# -- waiting ------------------------------------------------------------------------------


@pytest.mark.parametrize("budget", ["job_usd", "client_day_usd", "day_usd"])
async def test_money_that_is_set_aside_may_become_free(backend: JobBackend, budget: str) -> None:
    budgets: dict[str, Any] = {budget: 0.03}
    account = await make_account(backend, **budgets)
    first = await reserve(account, 2)
    with pytest.raises(BudgetSpent, match=r"Wait|Send") as refused:
        await reserve(account, 2)
    assert refused.value.freed is not None
    assert not refused.value.freed.is_set()
    first.settle(ended(1))
    assert refused.value.freed.is_set()
    (await reserve(account, 2)).settle(ended(2))


@pytest.mark.parametrize("budget", ["client_day_usd", "day_usd"])
async def test_money_of_other_jobs_counts_too(backend: JobBackend, budget: str) -> None:
    budgets: dict[str, Any] = {budget: 0.03}
    first, second = [await make_account(backend, **budgets) for _ in range(2)]
    paid = await reserve(first, 2)
    with pytest.raises(BudgetSpent) as refused:
        await reserve(second, 2)
    assert refused.value.freed is not None
    paid.cancel()
    assert refused.value.freed.is_set()
    await reserve(second, 2)


async def test_nothing_becomes_free_when_it_is_spent_or_too_little_in_all(
    backend: JobBackend,
) -> None:
    account = await make_account(backend, cents=3)
    (await reserve(account, 2)).settle(ended(None))
    with pytest.raises(BudgetSpent) as refused:
        await reserve(account, 2)
    assert refused.value.freed is None
    await reserve(account, 1)
    with pytest.raises(BudgetSpent) as refused:
        await reserve(account, 2)  # even if the call under way cost nothing
    assert refused.value.freed is None


# -- cut off ------------------------------------------------------------------------------


async def test_an_edit_that_is_cut_off_while_it_reserves_leaves_nothing(
    backend: JobBackend,
) -> None:
    account = await make_account(backend)
    reserving = asyncio.create_task(reserve(account))
    await asyncio.sleep(0)  # it has begun
    reserving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reserving
    assert await usage(backend) == UsageRow()
    assert account.spent == Spent()


class FullDisk:
    """A ledger on a disk that refuses so many times."""

    def __init__(self, ledger: Ledger, refusals: int) -> None:
        self.ledger = ledger
        self.refusals = refusals

    async def reserve(self, call: NewCall, limits: Limits) -> Shortage | None:
        self.refusals -= 1
        if self.refusals >= 0:
            raise DiskRefuses
        return await self.ledger.reserve(call, limits)

    def settle(self, call_id: str, bill: Bill | None) -> None:
        self.ledger.settle(call_id, bill)

    def next_settlement(self) -> asyncio.Event:
        return self.ledger.next_settlement()

    async def usage(self, _wanted: UsageFilter) -> Any:
        raise AssertionError

    async def forget_days(self, _before: date) -> None:
        raise AssertionError


async def test_while_the_disk_refuses_no_call_is_made(
    backend: JobBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(freezing, "DISK_RETRY", 0)
    account = await make_account(backend)
    account.ledger = FullDisk(backend.ledger, refusals=3)
    (await reserve(account)).settle(ended(1))
    assert (await usage(backend)).cost == CENT


# -- configuration ------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [0, -1, float("nan"), float("inf"), 2_000_000])
@pytest.mark.parametrize("key", ["job_usd", "client_day_usd", "day_usd"])
def test_a_budget_is_a_sum_above_zero(key: str, wrong: float) -> None:
    with pytest.raises(ValidationError):
        BudgetsConfig.model_validate({key: wrong})


def test_without_configuration_nothing_is_limited() -> None:
    config: Sequence[Any] = list(BudgetsConfig().model_dump(exclude={"when_spent"}).values())
    assert config == [None, None, None]
