"""What becomes of a call that was refused because its secret has been replaced meanwhile."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from enum import StrEnum
from time import monotonic
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 10.0
"""Seconds from a look for new secrets that found none to the next one that refusals ask for."""


class ReadOutcome(StrEnum):
    """How reading secrets from where they are kept went."""

    READ = "read"  # they are known, changed or not
    FAILED = "failed"  # the source is away: the last values stay
    REFUSED = "refused"  # what was read cannot be used: the last values stay


class Renewals:
    """Counts how often secrets were renewed, and has new ones looked for on a refusal."""

    def __init__(self, look: Callable[[], Awaitable[None]] | None = None) -> None:
        self.count = 0
        """How often at least one secret was replaced."""
        self.reads: Counter[tuple[str, ReadOutcome]] = Counter()
        """How often each source, by its name, was read in which way."""
        self._look = look
        self._waiting: list[Callable[[], None]] = []
        self._lock = asyncio.Lock()
        self._looked: float | None = None  # in vain; as monotonic() counts

    def tell(self, call: Callable[[], None]) -> None:
        """Have something called after each renewal."""
        self._waiting.append(call)

    def note(self) -> None:
        """Count a renewal: at least one secret was replaced."""
        self.count += 1
        for call in self._waiting:
            call()

    async def since(self, count: int) -> bool:
        """Return whether secrets were renewed since there had been so many renewals.

        If not, look for new ones first, unless that was done in vain a moment ago.
        """
        if self._look is not None:
            async with self._lock:
                now = monotonic()
                if self.count == count and (self._looked is None or now - self._looked >= PATIENCE):
                    await self._look()
                    self._looked = monotonic() if self.count == count else None
        return self.count != count

    async def retry(
        self, attempt: Callable[[], Awaitable[T]], is_refusal: Callable[[Exception], bool]
    ) -> T:
        """Return what `attempt` does; made again, once, if a newer secret may be taken."""
        before = self.count
        try:
            return await attempt()
        except Exception as exc:
            if not is_refusal(exc) or not await self.since(before):
                raise
        return await attempt()


NO_RENEWALS = Renewals()
"""For those whose secrets never change."""
