"""What the calls of jobs cost: the part of the record that holds them to their budgets.

Money is in nano-dollars, as in `providers.pricing`.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Protocol

from imgsvc.providers import Usage

MAX_ROWS = 1000
"""Rows of a report; the total counts what is left out."""


class Budget(StrEnum):
    """What is held to a limit."""

    JOB = "job"  # all calls of one job, whenever they were made
    CLIENT_DAY = "client_day"  # one client's on one day, by UTC
    DAY = "day"  # everybody's on one day, by UTC


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """How much may be spent; None: as much as it takes."""

    job: int | None = None
    client_day: int | None = None
    day: int | None = None

    @property
    def are_none(self) -> bool:
        """Whether nothing is limited."""
        return self == Limits()


@dataclass(frozen=True, kw_only=True, slots=True)
class NewCall:
    """A call of an image API that is about to be made."""

    id: str  # made up for this one call
    job_id: str
    provider: str
    model: str
    estimate: int  # the most it will cost; 0 also if nobody can tell
    at: datetime  # in UTC: its day is the one that pays
    item: int | None = None  # of a batch: the number of the one that it is for


@dataclass(frozen=True, kw_only=True, slots=True)
class Bill:
    """What became of a call."""

    cost: int | None  # None: unknown, and the estimate stays set aside
    images: int = 0
    usage: Usage | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Shortage:
    """A budget that has no room for a call."""

    budget: Budget
    limit: int
    spent: int  # what is set aside for other calls included
    under_way: int = 0  # what of that is set aside for calls that have not ended

    def may_pass(self, estimate: int) -> bool:
        """Tell whether there could be room for such a call once those under way have ended."""
        return self.spent - self.under_way + estimate <= self.limit


class Grouping(StrEnum):
    """What a row of a report stands for."""

    CLIENT = "client"
    MODEL = "model"  # of one provider
    DAY = "day"  # by UTC


@dataclass(frozen=True, kw_only=True, slots=True)
class UsageFilter:
    """Which calls a report adds up, and how."""

    first: date
    last: date  # this day too
    group_by: Grouping
    client: str | None = None  # whose; None: everybody's


@dataclass(frozen=True, kw_only=True, slots=True)
class UsageRow:
    """Calls that have ended, added up."""

    client: str | None = None  # the next four as far as it is grouped by them
    provider: str | None = None
    model: str | None = None
    day: str | None = None  # YYYY-MM-DD
    calls: int = 0
    images: int = 0
    text_tokens: int = 0
    image_tokens: int = 0
    output_tokens: int = 0
    cost: int = 0  # as far as it is known
    unknown_calls: int = 0  # of unknown cost
    held: int = 0  # set aside for those, and for calls under way


@dataclass(frozen=True, kw_only=True, slots=True)
class UsageReport:
    """Rows, by day or the most expensive first, and what all calls add up to."""

    rows: Sequence[UsageRow]  # MAX_ROWS at most
    total: UsageRow


class Ledger(Protocol):
    """Keeps what calls cost, by job and by day, durably.

    Each method is one transaction: of two calls for which a budget has room only once,
    one is refused.
    """

    async def reserve(self, call: NewCall, limits: Limits) -> Shortage | None:
        """Record a call and set its estimate aside, unless that goes past a limit.

        Then return which, and record nothing. A call that costs nothing goes past none.
        Raises JobNotFound or DiskRefuses.
        """
        ...

    def settle(self, call_id: str, bill: Bill | None) -> None:
        """Put what a call has cost in the place of its estimate, once, without waiting.

        It is carried out behind all that was asked of the record before, and tried again
        while the disk refuses. Without a bill the call was not made, and is struck out. One
        that is not recorded, or settled, is left alone.
        """
        ...

    def next_settlement(self) -> asyncio.Event:
        """Return an event that is set when the next call has been settled."""
        ...

    async def usage(self, wanted: UsageFilter) -> UsageReport:
        """Add up calls. Raises DiskRefuses."""
        ...

    async def forget_days(self, before: date) -> None:
        """Remove the sums of earlier days. Raises DiskRefuses."""
        ...
