"""How fast, and how many at once, a provider is asked: whoever comes too early waits.

At most so many calls begin in any 60 seconds, counted exactly. A leaky bucket, that of
aiolimiter say, is no such limit: it lets a whole bucket through at once, and within the
same minute whatever has leaked since, twice what the account allows.

Nobody is handed a turn: who is next takes its own when it runs, so that one who is
cancelled has nothing that could be lost. All this happens in one event loop,
between two awaits, and needs no lock.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from math import inf
from time import monotonic

from imgsvc.errors import ProviderBusy
from imgsvc.imaging.lines import Lines, Waiting

WINDOW = 60.0
"""Seconds in which `Limits.requests_per_minute` calls may begin."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What the account with a provider allows; None allows any number."""

    requests_per_minute: int | None = None
    max_in_flight: int | None = None


@dataclass(kw_only=True, slots=True)
class Turn:
    """A turn that has come."""

    waited: float  # seconds
    used: bool = False  # to be set with the call: without one the turn does not count


class Limiter:
    """Lets calls of one provider begin, in the order of `Lines`."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._starts: deque[float] = deque(maxlen=limits.requests_per_minute or 0)
        self._lines = Lines()
        self._in_flight = 0
        self._held_until = -inf

    @property
    def waiting(self) -> int:
        """How many calls wait for their turn."""
        return len(self._lines)

    @property
    def in_flight(self) -> int:
        """How many calls have begun and not ended."""
        return self._in_flight

    @asynccontextmanager
    async def turn(
        self, *, until: float, check: Callable[[], None], gives_way: bool = False
    ) -> AsyncIterator[Turn]:
        """Wait for a turn, and have it while the context lasts.

        Who `gives_way` does so, up to a point, for those who do not and wait as well.
        `check` is asked before the wait, at the end of it, and whenever `look_again` says
        so; what it raises ends the wait. Nothing else runs between its last answer and the
        block. Raises ProviderBusy if the turn cannot come before the clock shows `until`:
        at once if that is clear at once.
        """
        came = self._clock()
        await self._wait(Waiting(gives_way=gives_way), until, check)
        start = self._clock()
        self._starts.append(start)
        self._in_flight += 1
        turn = Turn(waited=start - came)
        try:
            yield turn
        finally:
            self._in_flight -= 1
            if not turn.used and start in self._starts:
                self._starts.remove(start)
            self._wake_next()

    def hold_back(self, until: float) -> None:
        """Let no call begin until the clock shows `until`."""
        self._held_until = max(self._held_until, until)
        self.look_again()  # some may hear at once that their turn comes too late

    def look_again(self) -> None:
        """Have everyone who waits find out whether to go on waiting."""
        for one in self._lines:
            one.look.set()

    async def _wait(self, one: Waiting, until: float, check: Callable[[], None]) -> None:
        self._lines.join(one)
        try:
            while True:
                check()
                now = self._clock()
                moment = self._next_moment(one, now)
                if moment <= now:
                    self._lines.go(one)
                    return
                if now >= until or self._earliest(self._lines.ahead(one), now) >= until:
                    raise ProviderBusy
                one.look.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(moment, until) - now):
                        await one.look.wait()
        finally:
            self._lines.leave(one)
            self._wake_next()

    def _next_moment(self, one: Waiting, now: float) -> float:
        """Return when it is this one's turn, unless it is told before to look again."""
        full = self._in_flight == self._limits.max_in_flight
        return inf if full or one is not self._lines.next else self._earliest(0, now)

    def _earliest(self, ahead: int, now: float) -> float:
        """Return when a call can begin at the earliest that has so many others before it."""
        moment = max(now, self._held_until)
        allowed = self._limits.requests_per_minute
        if allowed is None:
            return moment
        minutes, place = divmod(ahead, allowed)
        # The start that has to be a minute ago, once all before it have begun as well.
        index = len(self._starts) - allowed + place
        if index >= 0:
            moment = max(moment, self._starts[index] + WINDOW)
        return moment + minutes * WINDOW

    def _wake_next(self) -> None:
        if (one := self._lines.next) is not None:
            one.look.set()
