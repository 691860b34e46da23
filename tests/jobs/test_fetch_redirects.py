import ssl
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import aiohttp
import pytest
import trustme
from aiohttp.abc import AbstractResolver, ResolveResult
from pydantic import ValidationError
from yarl import URL

from imgsvc.callbacks import EgressPolicy, open_session
from imgsvc.errors import ForbiddenUrl, ImageFetchFailed, ImgsvcError, InvalidUrl
from imgsvc.jobs import ImageFetcher
from imgsvc.jobs.fetch import FetchConfig
from jobs.fetching import LOOPBACK, make_fetcher, redirect
from standins.receiver import Receiver, callback_receiver, reply

pytestmark = pytest.mark.asyncio(loop_scope="session")


class _EveryNameIs(AbstractResolver):
    """Resolves every name to one address."""

    def __init__(self, address: str) -> None:
        self._address = address

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host, host=self._address, port=port, family=family, proto=0, flags=0
            )
        ]

    async def close(self) -> None:
        """Close nothing."""


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_followed(
    fetcher: ImageFetcher, receiver: Receiver, status: int
) -> None:
    receiver.answer_with(redirect(f"{receiver.url}/there", status), reply(body=b"picture"))

    assert await fetcher.fetch(receiver.url) == b"picture"
    assert [request.target for request in receiver.received] == ["/callback", "/callback/there"]
    assert {request.method for request in receiver.received} == {"GET"}


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/there", "/there"),
        ("there?a=%2F", "/there?a=%2F"),
        ("?page=2", "/callback?page=2"),
        ("./x/../there", "/there"),
        ("/\u00e9\u20ac", "/%C3%A9%E2%82%AC"),
    ],
)
async def test_a_location_may_be_relative(
    fetcher: ImageFetcher, receiver: Receiver, location: str, target: str
) -> None:
    receiver.answer_with(redirect(location), reply(body=b"picture"))

    assert await fetcher.fetch(receiver.url) == b"picture"
    assert receiver.received[-1].target == target


async def test_three_redirects_are_followed_and_a_fourth_is_not(
    fetcher: ImageFetcher, receiver: Receiver
) -> None:
    receiver.answer_with(*[redirect("/on")] * 3, reply(body=b"picture"))
    assert await fetcher.fetch(receiver.url) == b"picture"
    assert len(receiver.received) == 4

    receiver.answer_with(*[redirect("/on")] * 4)
    with pytest.raises(ImageFetchFailed, match="more than 3 times"):
        await fetcher.fetch(receiver.url)
    assert len(receiver.received) == 8


async def test_no_redirect_is_followed_if_none_is_allowed(
    session: aiohttp.ClientSession, receiver: Receiver
) -> None:
    receiver.answer_with(redirect("/on"))
    with pytest.raises(ImageFetchFailed):
        await make_fetcher(session, max_redirects=0).fetch(receiver.url)
    assert len(receiver.received) == 1


async def test_more_redirects_than_three_cannot_be_configured() -> None:
    with pytest.raises(ValidationError):
        FetchConfig(max_redirects=4)


@pytest.mark.parametrize(
    ("location", "error"),
    [
        (None, ImageFetchFailed),
        ("", ImageFetchFailed),
        ("http://[::1", ImageFetchFailed),
        ("http://:99999/", ImageFetchFailed),
        ("ftp://127.0.0.1/a.png", InvalidUrl),
        ("file:///etc/passwd", InvalidUrl),
        ("data:image/png;base64,QUJD", InvalidUrl),
        ("http://user:word@127.0.0.1/", InvalidUrl),
        ("http://2130706433/", InvalidUrl),
        ("/with a space", InvalidUrl),
        ("/back\\slash", InvalidUrl),
        ("http://169.254.169.254/latest/meta-data/", ForbiddenUrl),
        ("//10.0.0.1/a.png", ForbiddenUrl),
        ("http://[fd00:ec2::254]/", ForbiddenUrl),
        ("http://0.0.0.0/", ForbiddenUrl),
    ],
)
async def test_a_redirect_into_the_void_or_the_forbidden_is_not_followed(
    fetcher: ImageFetcher, receiver: Receiver, location: str | None, error: type[ImgsvcError]
) -> None:
    receiver.answer_with(redirect(location), reply(body=b"picture"))
    with pytest.raises(error):
        await fetcher.fetch(receiver.url)
    assert len(receiver.received) == 1


async def test_every_hop_is_checked_against_the_policy(receiver: Receiver) -> None:
    policy = EgressPolicy(allow_networks=(ip_network("127.0.0.1/32"),))
    receiver.answer_with(redirect(f"http://127.0.0.2:{receiver.port}/there"))

    async with open_session(policy) as session:
        with pytest.raises(ForbiddenUrl):
            await make_fetcher(session, policy=policy).fetch(receiver.url)
    assert len(receiver.received) == 1


async def test_a_redirect_from_https_to_http_is_refused_where_https_is_required(
    receiver: Receiver,
) -> None:
    tls = trustme.CA()
    ours, theirs = ssl.create_default_context(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.configure_trust(ours)
    tls.issue_cert("127.0.0.1").configure_cert(theirs)
    async with callback_receiver(tls=theirs) as first:
        for required in (False, True):
            first.answer_with(redirect("/on"), redirect(receiver.url))
            receiver.answer_with(reply(body=b"picture"))
            policy = replace(LOOPBACK, require_https=required)
            async with open_session(policy, ssl=ours) as session:
                fetched = make_fetcher(session, policy=policy).fetch(first.url)
                if required:
                    with pytest.raises(ForbiddenUrl, match="https"):
                        await fetched
                else:
                    assert await fetched == b"picture"
        assert len(first.received) == 4
        assert len(receiver.received) == 1


@pytest.mark.parametrize(
    ("rule", "location"),
    [
        ({"own_port": 8000}, "http://localhost:8000/files/a.png"),
        ({"public_url": URL("https://images.example.com/x")}, "https://images.example.com/files/a"),
        ({}, "http://127.0.0.1:22/"),
    ],
)
async def test_a_redirect_to_the_server_itself_or_an_odd_port_is_not_followed(
    receiver: Receiver, rule: dict[str, Any], location: str
) -> None:
    policy = replace(LOOPBACK, **rule)
    receiver.answer_with(redirect(location))
    async with open_session(policy) as session:
        with pytest.raises(ForbiddenUrl):
            await make_fetcher(session, policy=policy).fetch(receiver.url)
    assert len(receiver.received) == 1


@pytest.mark.parametrize("first", ["pictures.example", "127.0.0.1"])
async def test_a_name_that_resolves_to_a_forbidden_address_is_refused(
    receiver: Receiver, first: str
) -> None:
    policy = EgressPolicy(allow_networks=(ip_network("127.0.0.1/32"),))
    receiver.answer_with(redirect(f"http://pictures.example:{receiver.port}/"))

    async with open_session(policy, resolver=_EveryNameIs("127.0.0.2")) as session:
        with pytest.raises(ForbiddenUrl):
            await make_fetcher(session, policy=policy).fetch(f"http://{first}:{receiver.port}/")


async def test_cookies_are_not_kept(fetcher: ImageFetcher, receiver: Receiver) -> None:
    receiver.answer_with(
        redirect("/there", cookie="visitor=42; Path=/"),
        reply(headers={"Set-Cookie": "visitor=43; Path=/"}, body=b"picture"),
    )
    await fetcher.fetch(receiver.url)
    await fetcher.fetch(receiver.url)

    assert len(receiver.received) == 3
    assert not any("Cookie" in request.headers for request in receiver.received)
