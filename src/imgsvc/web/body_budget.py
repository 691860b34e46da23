"""How many bytes of request bodies may be on their way in at once, of one caller and of all."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from imgsvc.errors import ClientLimitReached, ServerBusy


@dataclass(kw_only=True, slots=True)
class BodyBudget:
    """Counts bytes that came in, not those announced: an announcement costs nothing."""

    limit: int  # bytes
    of_client: int | None = None  # bytes of one; None: all of them
    used: int = 0
    _clients: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def share(self, client: str, announced: int) -> Iterator["Share"]:
        """Yield what one body takes up of it, and give that back at the end.

        Raises ServerBusy, or ClientLimitReached, if a body of so many bytes has no room now.
        """
        self._check(client, announced)
        share = Share(self, client)
        try:
            yield share
        finally:
            self._add(client, -share.taken)

    def take(self, client: str, count: int) -> None:
        """Count further bytes; raise as `share` does if there is no room for them."""
        self._check(client, count)
        self._add(client, count)

    def _check(self, client: str, count: int) -> None:
        if self.of_client is not None and self._clients.get(client, 0) + count > self.of_client:
            raise ClientLimitReached("max_bodies_bytes", self.of_client)
        if self.used + count > self.limit:
            raise ServerBusy

    def _add(self, client: str, count: int) -> None:
        self.used += count
        self._clients[client] += count
        if not self._clients[client]:
            del self._clients[client]


@dataclass(slots=True)
class Share:
    """What one body has taken so far."""

    budget: BodyBudget
    client: str
    taken: int = 0

    def take(self, count: int) -> None:
        """Count further bytes; raise as `BodyBudget.share` does if there is no room for them."""
        self.budget.take(self.client, count)
        self.taken += count
