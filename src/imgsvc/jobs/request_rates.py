"""How many requests a minute a client may make: the generic cell rate algorithm.

It keeps one number a client: when all of its requests will have worn off. Each one adds its
share of a minute to that. A burst may have as many requests as a minute; whoever has spent all
of them gets them back one by one, not all together at the turn of a minute.
"""

from dataclasses import dataclass
from typing import Protocol

WINDOW = 60 * 10**9
"""Nanoseconds in which the limit is given back."""

MAX_LIMIT = 100_000
"""Requests a minute: up to here the share of one is exact enough for a whole burst."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Admission:
    """Whether a request is let in, and how many more would be. Times are in nanoseconds."""

    is_admitted: bool
    full_at: int  # when all earlier requests have worn off, since 1970
    remaining: int  # requests that may follow at once
    reset: int  # until all may be made again
    wait: int  # until this one would be let in; 0 if it is


def judge(full_at: int, *, now: int, limit: int) -> Admission:
    """Judge a request that comes `now`; `limit` is of a minute, and may differ each time.

    `full_at` is that of the last one that was let in, 0 of a client that has made none. One that
    is more than a window ahead is of a clock that was put back since, and counts for nothing:
    else its client would be refused until that time comes again.
    """
    share = WINDOW // limit
    begin = now if full_at > now + WINDOW else max(full_at, now)
    end = begin + share
    wait = max(0, end - WINDOW - now)
    full_at = begin if wait else end
    return Admission(
        is_admitted=not wait,
        full_at=full_at,
        remaining=(now + WINDOW - full_at) // share,
        reset=full_at - now,
        wait=wait,
    )


class RequestRates(Protocol):
    """Counts the requests of clients durably. Raises DiskRefuses while the disk takes nothing."""

    async def take(self, client: str, *, now: int, limit: int) -> Admission:
        """Judge a request, and count it if it is let in; one that is not costs no writing."""
        ...

    async def forget(self, *, before: int) -> None:
        """Remove what has worn off by then: it says nothing any more."""
        ...
