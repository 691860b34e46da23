"""What a limited client has left: the headers RateLimit and RateLimit-Policy.

By draft-ietf-httpapi-ratelimit-headers, which has them as lists of structured fields (RFC 9651).
"""

import math
from dataclasses import dataclass
from time import time_ns

from aiohttp import web

from imgsvc.errors import ClientLimitReached
from imgsvc.jobs import Clients
from imgsvc.jobs.request_rates import WINDOW, RequestRates

_REQUESTS = "requests_per_minute"
_POLICIES = {
    _REQUESTS: ("requests", f";w={WINDOW // 10**9}"),
    "max_queued_jobs": ("queued-jobs", ""),
    "max_queued_bytes": ("queued-bytes", ';qu="content-bytes"'),
    "max_bodies_bytes": ("bodies", ';qu="content-bytes"'),
}
"""Name and further parameters of each rule's policy."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Quota:
    """One limit, and how a client stands to it."""

    rule: str
    limit: int
    remaining: int = 0
    reset: float  # seconds until all of it is there again

    def headers(self) -> dict[str, str]:
        """Return the headers that tell of it."""
        name, more = _POLICIES[self.rule]
        return {
            "RateLimit-Policy": f'"{name}";q={self.limit}{more}',
            "RateLimit": f'"{name}";r={self.remaining};t={math.ceil(self.reset)}',
        }


QUOTA = web.RequestKey("quota", Quota)
"""On each request that was let in of a client whose requests are limited."""


def quota_headers(error: ClientLimitReached) -> dict[str, str]:
    """Return the headers of a refusal."""
    return Quota(rule=error.rule, limit=error.limit, reset=error.reset).headers()


async def show_quota(request: web.Request, response: web.StreamResponse) -> None:
    """Tell a client what it has left, beside the limit that it was refused by, if it was."""
    if (quota := request.get(QUOTA)) is not None:
        for name, value in quota.headers().items():
            told = response.headers.get(name)
            response.headers[name] = value if told is None else f"{value}, {told}"


@dataclass(frozen=True, slots=True)
class RequestLimiter:
    """Holds clients to the requests that they may make; others cost it nothing."""

    rates: RequestRates
    clients: Clients

    async def take(self, client: str) -> Quota | None:
        """Count a request of a client, and return what it has left; None: any number.

        Raises ClientLimitReached, or DiskRefuses.
        """
        limit = self.clients.of(client).requests_per_minute
        if limit is None:
            return None
        admission = await self.rates.take(client, now=time_ns(), limit=limit)
        reset = admission.reset / 10**9
        if not admission.is_admitted:
            wait = admission.wait / 10**9
            raise ClientLimitReached(_REQUESTS, limit, wait=wait, reset=reset)
        return Quota(rule=_REQUESTS, limit=limit, remaining=admission.remaining, reset=reset)
