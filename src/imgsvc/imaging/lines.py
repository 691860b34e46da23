"""The order of those who wait for a turn: in two lines, one of which gives way to the other."""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field

IN_A_ROW = 3
"""So many go past one that gives way before it goes itself: it too has a deadline."""

gives_way: ContextVar[bool] = ContextVar("gives_way", default=False)
"""Whether the current task does one of many pictures of a batch, and so gives way to others."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Waiting:
    """One who waits for a turn."""

    gives_way: bool
    look: asyncio.Event = field(default_factory=asyncio.Event)  # set to have it look again


class Lines:
    """Those who wait: who gives way does so for IN_A_ROW others, and then it is its turn.

    Within each line whoever has come first goes first.
    """

    def __init__(self) -> None:
        self._first: deque[Waiting] = deque()
        self._second: deque[Waiting] = deque()  # those who give way
        self._passed = 0  # how many have gone past the second line's first, IN_A_ROW at most

    def __len__(self) -> int:
        return len(self._first) + len(self._second)

    def __iter__(self) -> Iterator[Waiting]:
        yield from self._first
        yield from self._second

    @property
    def next(self) -> Waiting | None:
        """Whose turn it is next."""
        if self._second and (not self._first or self._passed == IN_A_ROW):
            return self._second[0]
        return self._first[0] if self._first else None

    def ahead(self, one: Waiting) -> int:
        """Return how many go before this one, if nobody else comes or leaves."""
        place = self._line(one).index(one)
        if one.gives_way:
            return place + min(len(self._first), IN_A_ROW * (place + 1) - self._passed)
        return place + min(len(self._second), (self._passed + place) // IN_A_ROW)

    def join(self, one: Waiting) -> None:
        """Have it wait from now on."""
        self._line(one).append(one)
        if not one.gives_way:
            for passed in self._second:
                passed.look.set()  # their turn may come too late now

    def leave(self, one: Waiting) -> None:
        """Have it wait no longer."""
        self._line(one).remove(one)

    def go(self, one: Waiting) -> None:
        """Count the turn of one that has waited until now and is `next`."""
        goes_past = not one.gives_way and len(self._second) > 0
        self._passed = self._passed + 1 if goes_past else 0

    def _line(self, one: Waiting) -> deque[Waiting]:
        return self._second if one.gives_way else self._first
