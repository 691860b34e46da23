import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import ip_network

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from imgsvc.callbacks import EgressPolicy, check_url, open_session
from imgsvc.errors import ForbiddenUrl
from standins.receiver import Receiver, callback_receiver, reply

STRICT = EgressPolicy()
UNSPECIFIED = "0.0.0.0"  # noqa: S104 - asked about, not bound to
NAMES = {
    "hooks.internal": ["127.0.0.1"],
    "hooks.internal.": ["127.0.0.1"],
    "other.internal": ["127.0.0.1"],
}


def results(host: str, port: int, addresses: Sequence[str]) -> list[ResolveResult]:
    return [
        ResolveResult(
            hostname=host,
            host=address,
            port=port,
            family=socket.AF_INET6 if ":" in address else socket.AF_INET,
            proto=socket.IPPROTO_TCP,
            flags=socket.AI_NUMERICHOST,
        )
        for address in addresses
    ]


class Names(AbstractResolver):
    """A name server with a table; each question takes the next of a name's answers."""

    def __init__(self, *answers: dict[str, list[str]]) -> None:
        self._answers = list(answers)
        self.closed = False

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        del family
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return results(host, port, answer[host])

    async def close(self) -> None:
        self.closed = True


@asynccontextmanager
async def any_receiver(host: str) -> AsyncIterator[Receiver]:
    try:
        async with callback_receiver(host=host) as running:
            yield running
    except OSError:
        pytest.skip(f"this machine has no {host}")


async def test_a_name_with_a_private_address_is_refused(receiver: Receiver) -> None:
    async with open_session(STRICT, resolver=Names(NAMES)) as session:
        with pytest.raises(ForbiddenUrl):
            await session.get(f"http://hooks.internal:{receiver.port}/")
    assert not receiver.received


async def test_one_private_address_among_public_ones_is_refused() -> None:
    names = Names({"mixed.example": ["1.1.1.1", "10.0.0.1"]})
    async with open_session(STRICT, resolver=names) as session:
        with pytest.raises(ForbiddenUrl):
            await session.get("http://mixed.example/")


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "[::]", UNSPECIFIED])
async def test_a_forbidden_address_in_the_url_itself_is_refused(
    host: str, receiver: Receiver
) -> None:
    async with open_session(STRICT) as session:
        with pytest.raises(ForbiddenUrl):
            await session.get(f"http://{host}:{receiver.port}/")
    assert not receiver.received


async def test_scheme_port_and_the_server_itself_are_refused_at_the_call_too(
    receiver: Receiver,
) -> None:
    open_to_us = EgressPolicy(allow_loopback=True)
    for policy in (
        replace(open_to_us, require_https=True),
        replace(open_to_us, ports=(range(443, 444),)),
        replace(open_to_us, public_url=URL(receiver.url)),
        replace(open_to_us, own_port=receiver.port),
    ):
        async with open_session(policy) as session:
            with pytest.raises(ForbiddenUrl):
                await session.get(receiver.url)
    assert not receiver.received


@pytest.mark.parametrize(("host", "network"), [("127.0.0.1", "127.0.0.0/8"), ("::1", "::1/128")])
async def test_an_allowed_network_is_reached(host: str, network: str) -> None:
    policy = EgressPolicy(allow_networks=(ip_network(network),))
    async with (
        any_receiver(host) as receiver,
        open_session(policy) as session,
        session.get(receiver.url) as response,
    ):
        assert response.status == 200


async def test_an_allowed_name_opens_its_address_to_that_name_alone(receiver: Receiver) -> None:
    policy = EgressPolicy(allow_hosts=frozenset({"hooks.internal"}))
    async with open_session(policy, resolver=Names(NAMES), force_close=True) as session:
        for name in ("hooks.internal", "hooks.internal."):
            async with session.get(f"http://{name}:{receiver.port}/") as response:
                assert response.status == 200
        for host in ("other.internal", "127.0.0.1"):
            with pytest.raises(ForbiddenUrl):
                await session.get(f"http://{host}:{receiver.port}/")
    assert len(receiver.received) == 2


async def test_a_name_that_resolves_anew_cannot_move_to_a_forbidden_address() -> None:
    policy = EgressPolicy(allow_networks=(ip_network("127.0.0.2/32"),))
    names = Names({"rebind.example": ["127.0.0.2"]}, {"rebind.example": ["127.0.0.1"]})
    async with (
        callback_receiver(host="127.0.0.2") as outside,
        open_session(policy, resolver=names, use_dns_cache=False, force_close=True) as session,
    ):
        async with session.get(f"http://rebind.example:{outside.port}/") as response:
            assert response.status == 200
        with pytest.raises(ForbiddenUrl):
            await session.get(f"http://rebind.example:{outside.port}/")


class Shifty(list[ResolveResult]):
    """Shows public addresses to the first reader and loopback ones to the next."""

    def __init__(self, port: int, *turns: list[str]) -> None:
        super().__init__()
        self._port = port
        self._turns = list(turns)

    def __iter__(self) -> Iterator[ResolveResult]:
        return iter(results("shifty.example", self._port, self._turns.pop(0)))


class ShiftyNames(Names):
    def __init__(self, *turns: list[str]) -> None:
        super().__init__({})
        self._turns = turns

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        del host, family
        return Shifty(port, *self._turns)


@pytest.mark.parametrize("loopback", [["127.0.0.1"], ["127.0.0.1", "::1", "127.0.0.2"]])
async def test_the_address_connected_to_is_checked_whatever_the_resolver_said(
    loopback: list[str], receiver: Receiver
) -> None:
    names = ShiftyNames(["1.1.1.1"], loopback)
    async with open_session(STRICT, resolver=names, use_dns_cache=False) as session:
        with pytest.raises(ForbiddenUrl):
            await session.get(f"http://shifty.example:{receiver.port}/")
    assert not receiver.received


async def test_a_proxy_from_the_environment_is_not_used(
    receiver: Receiver, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with callback_receiver() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        async with session.get(receiver.url):
            pass
        assert len(receiver.received) == 1
        assert not proxy.received


async def test_cookies_are_not_kept(receiver: Receiver, session: aiohttp.ClientSession) -> None:
    receiver.answer_with(reply(headers={"Set-Cookie": "tenant=a"}))
    url = receiver.url.replace("127.0.0.1", "localhost")
    for _ in range(2):
        async with session.get(url):
            pass
    assert "Cookie" not in receiver.received[1].headers


async def test_path_and_query_arrive_byte_for_byte(
    receiver: Receiver, session: aiohttp.ClientSession
) -> None:
    target = "/a/../b//%2e%7E?sig=%2f+%2B;x=[1]&&y"
    async with session.get(check_url(f"http://{receiver.authority}{target}")):
        pass
    assert (await receiver.next()).target == target


async def test_closing_the_session_closes_its_resolver() -> None:
    names = Names(NAMES)
    async with open_session(STRICT, resolver=names):
        assert not names.closed
    assert names.closed
