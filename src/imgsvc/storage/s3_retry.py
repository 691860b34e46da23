"""Trying calls again while the storage is overloaded, restarts or cannot be reached."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import structlog

from imgsvc.secrets import NO_RENEWALS, Renewals
from imgsvc.storage.s3_errors import S3_ERRORS, is_denied, is_passing, short_name

log = structlog.get_logger(__name__)

T = TypeVar("T")

_FIRST_WAIT = 0.5  # seconds; doubled with each attempt
_LONGEST_WAIT = 8.0  # seconds


@dataclass(frozen=True, kw_only=True, slots=True)
class Retry:
    """Repeats a call for `seconds` after its first failure, if that may pass.

    One that is denied is repeated, once, if there are newer keys.
    The time counts from the failure, not from the call: an upload of minutes that breaks
    off is tried again too. Cancelling works at any time, in a wait as well.
    """

    seconds: float
    renewals: Renewals = NO_RENEWALS
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    random: Callable[[], float] = random.random  # from 0 to 1

    async def __call__(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Return what `attempt` does, or raise the error of its last run."""
        return await self.renewals.retry(lambda: self._while_it_may_pass(attempt), is_denied)

    async def _while_it_may_pass(self, attempt: Callable[[], Awaitable[T]]) -> T:
        give_up: float | None = None
        longest = _FIRST_WAIT
        while True:
            try:
                return await attempt()
            except S3_ERRORS as exc:
                now = self.clock()
                if give_up is None:
                    give_up = now + self.seconds
                if now >= give_up or not is_passing(exc):
                    raise
                # Half of it at random, so that calls that failed together come one by one.
                wait = min(longest * (1 + self.random()) / 2, give_up - now)
                log.info("storage_retry", error=short_name(exc), wait=round(wait, 3))
            await self.sleep(wait)
            longest = min(longest * 2, _LONGEST_WAIT)
