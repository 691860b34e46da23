"""What slows down whoever tries keys.

Failures are counted over a sliding window, per address and per id of a key. Nothing is
counted against what is known to be good, so that nobody is locked out by the failures of
others: neither by those at the same address, nor by somebody who knows the id of a key.
What is not known yet takes its turn, so that each failure counts before the next try.
"""

import asyncio
import hashlib
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from time import monotonic
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

from imgsvc.errors import CredentialsInvalid, TooManyFailures

K = TypeVar("K", bound=Hashable)

CAPACITY = 10_000
"""Addresses, ids and good keys that are remembered; what was seen longest ago is forgotten."""

_IPV6_NETWORK = 64
"""Bits of an IPv6 address that count: the rest is whatever its holder chooses."""


class Failures(Generic[K]):
    """The times of failures within a window, by some key, in bounded memory."""

    def __init__(
        self, *, limit: int, window: float, capacity: int, clock: Callable[[], float]
    ) -> None:
        self._limit = limit
        self._window = window  # seconds
        self._capacity = capacity
        self._clock = clock
        self._times: OrderedDict[K, deque[float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._times)

    def add(self, key: K) -> None:
        """Count a failure."""
        self._times.setdefault(key, deque(maxlen=self._limit)).append(self._clock())
        self._times.move_to_end(key)
        if len(self._times) > self._capacity:
            self._times.popitem(last=False)

    def any(self, key: K) -> bool:
        """Tell whether there was a failure within the window."""
        times = self._times.get(key)
        return times is not None and self._clock() - times[-1] < self._window

    def wait(self, key: K) -> float:
        """Return how many seconds it takes until there is room for another failure."""
        times = self._times.get(key)
        if times is None or len(times) < self._limit:
            return 0.0
        return max(0.0, times[0] + self._window - self._clock())


@dataclass(slots=True)
class Throttle:
    """Decides whether a credential is looked at.

    One that was good a short while ago always is. Any other is not while its address has too
    many failures; nor while the id of its key has, from all addresses together, unless this
    address has none: the holder of a key comes in from a new address at the first try.
    """

    limit: int
    window: float
    clock: Callable[[], float] = monotonic
    capacity: int = CAPACITY
    _addresses: Failures[str] = field(init=False)
    _key_ids: Failures[str] = field(init=False)
    _good: "OrderedDict[bytes, None]" = field(init=False, default_factory=OrderedDict)
    # Of addresses and ids; each is there while somebody has it or waits for it.
    _turns: "WeakValueDictionary[str, asyncio.Lock]" = field(
        init=False, default_factory=WeakValueDictionary
    )

    def __post_init__(self) -> None:
        self._addresses, self._key_ids = (
            Failures[str](
                limit=self.limit, window=self.window, capacity=self.capacity, clock=self.clock
            )
            for _ in range(2)
        )

    @asynccontextmanager
    async def trying(
        self, address: str, credential: str, key_id: str | None
    ) -> AsyncIterator[None]:
        """Let the block look at a credential, which is good unless CredentialsInvalid is raised.

        Of those that are not known to be good, one of an address and one of an id is looked at
        at a time: a burst has no more tries than a row. Raises TooManyFailures, as `check` does.
        """
        async with AsyncExitStack() as stack:
            if _digest(credential) not in self._good:
                # Always in this order, so that no two wait for one another.
                for name in filter(None, (network_of(address), key_id)):
                    turn = self._turns.setdefault(name, asyncio.Lock())
                    await stack.enter_async_context(turn)
            self.check(address, credential, key_id)
            try:
                yield
            except CredentialsInvalid:
                self.failed(address, credential, key_id)
                raise
            self.succeeded(credential)

    def check(self, address: str, credential: str, key_id: str | None) -> None:
        """Raise TooManyFailures, which says how long to wait, if it may not be tried now."""
        if _digest(credential) in self._good:
            return
        network = network_of(address)
        wait = self._addresses.wait(network)
        if key_id is not None and self._addresses.any(network):
            wait = max(wait, self._key_ids.wait(key_id))
        if wait > 0:
            raise TooManyFailures(wait)

    def succeeded(self, credential: str) -> None:
        """Take note that a credential is good."""
        digest = _digest(credential)
        self._good[digest] = None
        self._good.move_to_end(digest)
        if len(self._good) > self.capacity:
            self._good.popitem(last=False)

    def failed(self, address: str, credential: str, key_id: str | None) -> None:
        """Count a failure."""
        self._good.pop(_digest(credential), None)
        self._addresses.add(network_of(address))
        if key_id is not None:
            self._key_ids.add(key_id)


def network_of(address: str) -> str:
    """Return what is counted as one address: an IPv4 address, or a network of IPv6 ones."""
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if ip.version == 4:
        return str(ip)
    if ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return str(ip_network((ip, _IPV6_NETWORK), strict=False))


def _digest(credential: str) -> bytes:
    return hashlib.sha256(credential.encode(errors="surrogateescape")).digest()
