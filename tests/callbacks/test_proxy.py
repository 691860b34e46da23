"""With `egress.proxy`, everything goes through it and nothing past it."""

import base64
import ssl
from collections.abc import AsyncIterator, Callable
from ipaddress import ip_network

import aiohttp
import pytest
from pydantic import SecretStr

from imgsvc.callbacks import (
    CallbacksConfig,
    CallbackSender,
    Delivery,
    EgressPolicy,
    PostOutcome,
    ProgressSender,
    Verdict,
    open_session,
)
from imgsvc.errors import ForbiddenUrl, ImageFetchFailed
from jobs.fetching import make_fetcher, redirect
from standins.forward_proxy import ForwardProxy, forward_proxy
from standins.receiver import Receiver, callback_receiver, reply

NAME = "hooks.example"  # which nobody but the proxy can resolve


@pytest.fixture
async def proxy(receiver: Receiver) -> AsyncIterator[ForwardProxy]:
    async with forward_proxy({NAME: receiver.port}) as running:
        yield running


def telling(url: str) -> Callable[[], SecretStr]:
    return lambda: SecretStr(url)


def through(proxy: ForwardProxy, *, user: str = "") -> EgressPolicy:
    return EgressPolicy(proxy=telling(f"{proxy.scheme}://{user}{proxy.authority}"))


async def test_an_http_url_goes_through_the_proxy_as_it_is(
    proxy: ForwardProxy, receiver: Receiver, delivery: Callable[..., Delivery]
) -> None:
    async with open_session(through(proxy)) as session:
        sender = CallbackSender(session, CallbacksConfig())
        attempt = await sender.attempt(delivery(f"http://{NAME}/a%2F?b=%20"))
    assert attempt.verdict is Verdict.DELIVERED
    assert proxy.asked == [f"POST http://{NAME}/a%2F?b=%20"]
    assert [request.target for request in receiver.received] == ["/a%2F?b=%20"]


async def test_an_https_url_is_tunnelled_and_its_receiver_proves_who_it_is(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    async with (
        callback_receiver(tls=server_tls) as receiver,
        forward_proxy({"localhost": receiver.port, NAME: receiver.port}) as proxy,
    ):
        policy = EgressPolicy(
            proxy=telling(proxy.url),
            allow_hosts=frozenset({"localhost"}),
            require_https=True,
        )
        async with open_session(policy, ssl=client_tls) as session:
            async with session.post("https://localhost/secret") as response:
                assert response.status == 200
            # The certificate is not this name's, however good the tunnel.
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await session.post(f"https://{NAME}/secret")
        assert proxy.asked == ["CONNECT localhost:443", f"CONNECT {NAME}:443"]
        assert not any(b"secret" in head for head in proxy.heads)
        assert len(receiver.received) == 1


async def test_a_proxy_may_itself_speak_tls(
    receiver: Receiver, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    async with (
        forward_proxy({NAME: receiver.port}, tls=server_tls) as proxy,
        open_session(through(proxy), ssl=client_tls) as session,
        session.get(f"http://{NAME}/") as response,
    ):
        assert response.status == 200
        assert proxy.asked == [f"GET http://{NAME}/"]


async def test_a_tunnel_may_lead_through_a_proxy_that_speaks_tls(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    async with (
        callback_receiver(tls=server_tls) as receiver,
        forward_proxy({"localhost": receiver.port}, tls=server_tls) as proxy,
        open_session(
            EgressPolicy(proxy=telling(proxy.url), allow_hosts=frozenset({"localhost"})),
            ssl=client_tls,
        ) as session,
        session.get("https://localhost/") as response,
    ):
        assert response.status == 200
        assert proxy.asked == ["CONNECT localhost:443"]


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_the_password_is_for_the_proxy_alone(
    scheme: str, proxy: ForwardProxy, receiver: Receiver
) -> None:
    receiver.answer_with(reply())
    async with open_session(through(proxy, user="imgsvc:p%40ss@")) as session:
        try:
            async with session.get(f"{scheme}://{NAME}/"):
                pass
        except aiohttp.ClientError:
            assert scheme == "https"  # the receiver speaks no TLS; the tunnel was asked for
    word = base64.b64encode(b"imgsvc:p@ss")
    assert b"Proxy-Authorization: Basic " + word in proxy.heads[0]
    assert all("Authorization" not in request.headers for request in receiver.received)


async def test_the_password_is_in_no_error(proxy: ForwardProxy) -> None:
    proxy.refuses = 407
    async with open_session(through(proxy, user="imgsvc:canary@")) as session:
        with pytest.raises(aiohttp.ClientHttpProxyError) as caught:
            await session.get(f"https://{NAME}/")
    assert b"Proxy-Authorization: Basic" in proxy.heads[0]
    assert "canary" not in f"{caught.value} {caught.value!r}"


def test_the_password_is_not_shown_with_the_policy() -> None:
    policy = EgressPolicy(proxy=telling("http://imgsvc:canary@proxy:3128"))
    assert "canary" not in repr(policy)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/",
        "http://[::ffff:127.0.0.1]:{port}/",
        "http://localhost:{port}/",
        "http://app.localhost.:{port}/",
        "http://10.0.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[fd00:ec2::254]/",
        "http://[2606:4700::5efe:7f00:1]/",
        f"http://{NAME}:22/",
    ],
)
async def test_what_the_url_alone_tells_is_refused_before_the_proxy_is_asked(
    url: str, proxy: ForwardProxy, receiver: Receiver
) -> None:
    async with open_session(through(proxy)) as session:
        with pytest.raises(ForbiddenUrl):
            await session.get(url.format(port=receiver.port))
    assert not proxy.asked
    assert not receiver.received


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_that_refuses_means_again_later(
    scheme: str, proxy: ForwardProxy, receiver: Receiver, delivery: Callable[..., Delivery]
) -> None:
    async with open_session(through(proxy)) as session:
        sender = CallbackSender(session, CallbacksConfig())
        for status in (403, 407, 502):
            proxy.refuses = status
            attempt = await sender.attempt(delivery(f"{scheme}://{NAME}/"))
            assert attempt.verdict is Verdict.RETRY
            assert attempt.error == (f"status {status}" if scheme == "http" else "proxy refused")
    assert len(proxy.asked) == 3
    assert not receiver.received


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_without_the_proxy_nothing_is_called_directly(
    scheme: str, receiver: Receiver, delivery: Callable[..., Delivery]
) -> None:
    async with forward_proxy({}) as gone:
        pass
    # Nothing but the proxy is in the way: the policy would allow the receiver itself.
    policy = EgressPolicy(
        proxy=telling(gone.url),
        allow_networks=(ip_network("127.0.0.0/8"),),
        allow_loopback=True,
    )
    url = f"{scheme}://{receiver.authority}/"
    async with open_session(policy) as session:
        attempt = await CallbackSender(session, CallbacksConfig()).attempt(delivery(url))
        assert (attempt.verdict, attempt.error) == (Verdict.RETRY, "proxy not reached")
        post = await ProgressSender(session, CallbacksConfig()).post(url, "req-7", b"{}")
        assert (post.outcome, post.error) == (PostOutcome.FAILED, "proxy not reached")
        with pytest.raises(ImageFetchFailed):
            await make_fetcher(session, policy=policy).fetch(url)
    assert not receiver.received


async def test_a_request_that_would_go_past_the_proxy_is_refused(
    proxy: ForwardProxy, receiver: Receiver
) -> None:
    policy = EgressPolicy(proxy=telling(proxy.url), allow_loopback=True)
    async with open_session(policy) as session:
        session._default_proxy = None  # noqa: SLF001 - as if aiohttp lost it
        with pytest.raises(ForbiddenUrl):
            await session.get(receiver.url)
    assert not receiver.received


async def test_each_hop_of_an_image_goes_through_the_proxy(
    proxy: ForwardProxy, receiver: Receiver
) -> None:
    policy = through(proxy)
    receiver.answer_with(redirect(f"http://{NAME}/there"), reply(body=b"picture"))
    receiver.answer_with(redirect("http://169.254.169.254/"))
    async with open_session(policy) as session:
        fetcher = make_fetcher(session, policy=policy)
        assert await fetcher.fetch(f"http://{NAME}/") == b"picture"
        assert set(proxy.asked) == {f"GET http://{NAME}/", f"GET http://{NAME}/there"}
        with pytest.raises(ForbiddenUrl):
            await fetcher.fetch(f"http://{NAME}/")
    assert len(receiver.received) == 3
