"""How many bytes of request bodies may be on their way in at once, over all callers."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from imgsvc.errors import ServerBusy


@dataclass(kw_only=True, slots=True)
class BodyBudget:
    """Counts bytes that came in, not those announced: an announcement costs nothing."""

    limit: int  # bytes
    used: int = 0

    @contextmanager
    def share(self, announced: int) -> Iterator["Share"]:
        """Yield what one body takes up of it, and give that back at the end.

        Raises ServerBusy if a body of so many bytes has no room now.
        """
        if self.used + announced > self.limit:
            raise ServerBusy
        share = Share(self)
        try:
            yield share
        finally:
            self.used -= share.taken


@dataclass(slots=True)
class Share:
    """What one body has taken so far."""

    budget: BodyBudget
    taken: int = 0

    def take(self, count: int) -> None:
        """Count further bytes; raise ServerBusy if there is no room for them."""
        if self.budget.used + count > self.budget.limit:
            raise ServerBusy
        self.budget.used += count
        self.taken += count
