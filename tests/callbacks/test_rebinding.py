"""A name that leads elsewhere each time it is asked for gains nothing."""

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_network
from itertools import cycle
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from imgsvc.callbacks import EgressPolicy, open_session
from imgsvc.errors import ForbiddenUrl
from standins.receiver import Receiver, callback_receiver

ATTEMPTS = 1000
OUTSIDE, INSIDE = "127.0.0.2", "127.0.0.1"
OUTSIDE_ONLY = EgressPolicy(allow_networks=(ip_network(f"{OUTSIDE}/32"),))
"""Takes one loopback address for public, because no test leaves this machine."""


class Flipping(AbstractResolver):
    """Gives the next of some answers each time it is asked, and counts."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = cycle(answers)
        self.asked = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        del family
        self.asked += 1
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in next(self._answers)
        ]

    async def close(self) -> None:
        """Close nothing."""


@dataclass(slots=True)
class Canary:
    """Counts who connects to it."""

    connections: int = 0

    def count(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        writer.close()


@pytest.fixture
async def outside() -> AsyncIterator[Receiver]:
    async with callback_receiver(host=OUTSIDE) as running:
        yield running


@pytest.fixture
async def canary(outside: Receiver) -> AsyncIterator[Canary]:
    """Listen inside, on the port of the receiver outside."""
    canary = Canary()
    server = await asyncio.start_server(canary.count, INSIDE, outside.port)
    yield canary
    server.close()
    await server.wait_closed()


async def attempts(
    names: Flipping, port: int, policy: EgressPolicy, **options: Any
) -> Counter[str]:
    """Return how many of the attempts ended in which way."""
    ends: Counter[str] = Counter()
    async with open_session(policy, resolver=names, force_close=True, **options) as session:
        for _ in range(ATTEMPTS):
            try:
                async with session.post(f"http://rebind.example:{port}/") as response:
                    ends[str(response.status)] += 1
            except ForbiddenUrl:
                ends["refused"] += 1
    return ends


async def test_each_attempt_looks_up_once_and_none_reaches_the_canary(
    outside: Receiver, canary: Canary, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_other_look_up(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(socket, "getaddrinfo", no_other_look_up)
    names = Flipping([OUTSIDE], [INSIDE], [OUTSIDE, INSIDE], [INSIDE, OUTSIDE])
    ends = await attempts(names, outside.port, OUTSIDE_ONLY, use_dns_cache=False)
    assert ends == {"200": ATTEMPTS // 4, "refused": 3 * ATTEMPTS // 4}
    assert names.asked == ATTEMPTS
    assert canary.connections == 0
    # What was answered is what was connected to: each success is one request outside.
    assert len(outside.received) == ATTEMPTS // 4


async def test_a_remembered_answer_is_one_that_was_checked(
    outside: Receiver, canary: Canary
) -> None:
    names = Flipping([OUTSIDE], [INSIDE])
    ends = await attempts(names, outside.port, OUTSIDE_ONLY)
    assert ends["200"] == len(outside.received) > 0
    assert names.asked < ATTEMPTS
    assert canary.connections == 0


async def test_a_name_that_turns_to_the_server_itself_does_not_reach_it(
    outside: Receiver, canary: Canary
) -> None:
    policy = EgressPolicy(allow_loopback=True, allow_hosts=frozenset({"rebind.example"}))
    own = replace(policy, own_port=outside.port)
    names = Flipping([INSIDE], [OUTSIDE])
    assert await attempts(names, outside.port, own, use_dns_cache=False) == {"refused": ATTEMPTS}
    assert names.asked == ATTEMPTS
    assert canary.connections == len(outside.received) == 0
