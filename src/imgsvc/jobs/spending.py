"""Holding the calls of jobs to their budgets, before they are made."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Annotated
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field

from imgsvc.errors import BudgetSpent, PriceUnknown
from imgsvc.jobs.freezing import persist
from imgsvc.jobs.ledger import Bill, Budget, Ledger, Limits, NewCall, Shortage
from imgsvc.jobs.models import BatchSpec, Job
from imgsvc.jobs.spent import Spent
from imgsvc.jobs.upkeep import utc_now
from imgsvc.providers import ProviderCall
from imgsvc.providers.pricing import in_nano, in_usd

Usd = Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)]


class WhenSpent(StrEnum):
    """What becomes of an edit that cannot be paid."""

    FALL_BACK = "fall_back"  # another one steps in that costs less, or nothing
    FAIL = "fail"


class BudgetsConfig(BaseModel):
    """How much may be spent on image APIs, and what happens beyond that."""

    model_config = ConfigDict(extra="forbid")

    job_usd: Usd | None = Field(
        None, description="US dollars that a job may cost whose request has no `max_cost_usd`."
    )
    client_day_usd: Usd | None = Field(
        None, description="US dollars that the jobs of one client may cost on one day (UTC)."
    )
    day_usd: Usd | None = Field(
        None, description="US dollars that all jobs together may cost on one day (UTC)."
    )
    when_spent: WhenSpent = Field(
        WhenSpent.FALL_BACK,
        description="What becomes of an edit that cannot be paid: `fall_back` lets the next image"
        " API or the local engine step in, `fail` lets it fail.",
    )


@dataclass(kw_only=True, slots=True)
class JobAccount:
    """Pays for the calls of one job, as far as its budgets go."""

    ledger: Ledger
    job: Job
    budgets: BudgetsConfig
    client_day_usd: float | None = None  # of the job's client; None: as for all
    now: Callable[[], datetime] = utc_now
    spent: Spent = field(init=False)  # by this attempt, and by those before it
    _limits: Limits = field(init=False)

    def __post_init__(self) -> None:
        self.spent = self.job.spent
        asked, budgets = self.job.spec.max_cost, self.budgets
        self._limits = Limits(
            job=_limit(budgets.job_usd) if asked is None else asked,
            client_day=_limit(self.client_day_usd or budgets.client_day_usd),
            day=_limit(budgets.day_usd),
        )

    async def reserve(
        self, provider: str, model: str, estimate: int | None, *, item: int | None = None
    ) -> "_Reservation":
        """Set money aside for one call; `item` of a batch needs it. Raises BudgetSpent.

        While the disk refuses it waits: a call that is not recorded is not made.
        """
        if estimate is None and not self._limits.are_none:
            raise self._without_price(model)
        call = NewCall(
            id=uuid4().hex,
            job_id=self.job.id,
            item=item,
            provider=provider,
            model=model,
            estimate=estimate or 0,
            at=self.now(),
        )
        settlement = self.ledger.next_settlement()  # before the look, so that none is missed
        shortage = await self._record(call)
        if shortage is None:
            return _Reservation(account=self, call_id=call.id)
        raise self._without_room(shortage, call, settlement)

    def settle(self, call_id: str, call: ProviderCall | None) -> None:
        """Note what a call has cost; None: that it was not made."""
        bill = None
        if call is not None:
            images = 1 if call.error is None else 0
            bill = Bill(cost=call.cost, images=images, usage=call.usage)
            self.spent = self.spent.plus(call.cost)
        self.ledger.settle(call_id, bill)

    async def _record(self, call: NewCall) -> Shortage | None:
        try:
            return await persist(lambda: self.ledger.reserve(call, self._limits))
        except asyncio.CancelledError:
            # It is recorded all the same, but will not be made.
            self.ledger.settle(call.id, None)
            raise

    def _without_price(self, model: str) -> BudgetSpent:
        return PriceUnknown(
            f"There is a budget, and what {model} costs is not known: it is not called. The"
            " operator sets `price` or `usd_per_image` of the model.",
            is_final=self.budgets.when_spent is WhenSpent.FAIL,
        )

    def _without_room(
        self, shortage: Shortage, call: NewCall, settlement: asyncio.Event
    ) -> BudgetSpent:
        of_job = shortage.budget is Budget.JOB
        of_batch = of_job and isinstance(self.job.spec, BatchSpec)
        fits = call.estimate <= shortage.limit
        who, key = _WORDS[shortage.budget]
        if shortage.budget is Budget.CLIENT_DAY and self.client_day_usd is not None:
            key = "its day_usd"
        when = "" if of_job else f" on {call.at:%Y-%m-%d} (UTC)"
        mend = "Send a higher max_cost_usd" if of_job else "Wait for the next day"
        return BudgetSpent(
            f"{who} has spent or set aside {_usd(shortage.spent)} of the {_usd(shortage.limit)} USD"
            f" it may{when}, and the next call may cost {_usd(call.estimate)} USD"
            f"{'' if fits else ', more than all of it'}."
            f" {f'{mend}, or have' if of_job or fits else 'Have'} the operator raise {key}.",
            of_job=of_job,
            is_final=of_batch or self.budgets.when_spent is WhenSpent.FAIL,
            freed=settlement if shortage.may_pass(call.estimate) else None,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ItemAccount:
    """Pays for the calls of one item of a batch, out of the batch's account."""

    account: JobAccount
    item: int

    async def reserve(self, provider: str, model: str, estimate: int | None) -> "_Reservation":
        """Set money aside for one call. Raises BudgetSpent."""
        return await self.account.reserve(provider, model, estimate, item=self.item)


_WORDS = {
    Budget.JOB: ("This job", "budgets.job_usd"),
    Budget.CLIENT_DAY: ("This client", "budgets.client_day_usd"),
    Budget.DAY: ("The service", "budgets.day_usd"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Reservation:
    """Money of an account, set aside for one call."""

    account: JobAccount
    call_id: str

    def settle(self, call: ProviderCall) -> None:
        """Note what the call has cost."""
        self.account.settle(self.call_id, call)

    def cancel(self) -> None:
        """Give the money back."""
        self.account.settle(self.call_id, None)


def _usd(nano: int) -> str:
    return f"{in_usd(nano):.6f}".rstrip("0").rstrip(".")


def _limit(usd: float | None) -> int | None:
    return None if usd is None else in_nano(usd)
