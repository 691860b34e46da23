import gzip

import aiohttp
import pytest
from aiohttp import web

from imgsvc.callbacks import EgressPolicy, open_session
from imgsvc.errors import ForbiddenUrl, ImageFetchFailed, ImageFileTooLarge, ImgsvcError, InvalidUrl
from imgsvc.jobs import ImageFetcher
from jobs.fetching import make_fetcher, redirect
from standins.receiver import Answer, Receiver, drip_body, drip_headers, drop, hang, not_http, reply

pytestmark = pytest.mark.asyncio(loop_scope="session")


def streamed(*chunks: bytes) -> Answer:
    """Answer with a body whose length is not told."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
        await response.write_eof()
        return response

    return answer


async def promises_more_than_it_sends(request: web.Request) -> web.StreamResponse:
    """Break off in the middle of the body."""
    assert request.transport
    request.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    request.transport.close()
    return web.Response()


# -- what comes back ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (reply(body=b"picture"), b"picture"),
        (reply(body=b""), b""),
        (reply(headers={"Content-Encoding": "identity"}, body=b"picture"), b"picture"),
        (reply(headers={"Content-Type": "text/html"}, body=b"picture"), b"picture"),
        (streamed(b"pic", b"ture"), b"picture"),
        (reply(body=b"x" * 1000), b"x" * 1000),
        (streamed(b"x" * 999, b"x"), b"x" * 1000),
    ],
)
async def test_the_body_is_returned_as_it_was_sent(
    fetcher: ImageFetcher, receiver: Receiver, answer: Answer, expected: bytes
) -> None:
    receiver.answer_with(answer)
    assert await fetcher.fetch(receiver.url) == expected


async def test_the_request_says_who_asks_and_what_for(
    fetcher: ImageFetcher, receiver: Receiver
) -> None:
    await fetcher.fetch(f"{receiver.url}/a%20b.png?signature=%2F%3d#top")

    request = await receiver.next()
    assert (request.method, request.target) == ("GET", "/callback/a%20b.png?signature=%2F%3d")
    assert request.headers["Accept"] == "image/*"
    assert request.headers["User-Agent"].startswith("imgsvc/")
    assert "Cookie" not in request.headers
    assert "Authorization" not in request.headers


# -- size ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        reply(body=b"x" * 1001),
        streamed(b"x" * 1000, b"x"),
        # Told too large: refused, although the body never comes.
        reply(headers={"Content-Length": "999999999999"}),
    ],
)
async def test_more_bytes_than_allowed_are_refused(
    fetcher: ImageFetcher, receiver: Receiver, answer: Answer
) -> None:
    receiver.answer_with(answer)
    with pytest.raises(ImageFileTooLarge, match="more than 1000 bytes"):
        await fetcher.fetch(receiver.url)


async def test_an_endless_body_is_cut_at_the_limit(
    fetcher: ImageFetcher, receiver: Receiver
) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 500)

    receiver.answer_with(endless)
    with pytest.raises(ImageFileTooLarge):
        await fetcher.fetch(receiver.url)


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "br", "gzip, identity", "unheard-of"])
async def test_a_compressed_body_is_refused_and_never_unpacked(
    fetcher: ImageFetcher, receiver: Receiver, encoding: str
) -> None:
    receiver.answer_with(reply(headers={"Content-Encoding": encoding}, body=gzip.compress(b"x")))
    with pytest.raises(ImageFetchFailed, match="compressed"):
        await fetcher.fetch(receiver.url)


# -- answers that are none ----------------------------------------------------------------


@pytest.mark.parametrize("status", [201, 204, 206, 304, 400, 401, 403, 404, 410, 429, 500, 503])
async def test_any_status_but_200_fails_and_is_named(
    fetcher: ImageFetcher, receiver: Receiver, status: int
) -> None:
    receiver.answer_with(reply(status))
    with pytest.raises(ImageFetchFailed, match=f"status {status}"):
        await fetcher.fetch(receiver.url)


@pytest.mark.parametrize("answer", [drop, not_http, promises_more_than_it_sends])
async def test_a_broken_connection_is_a_failed_fetch(
    fetcher: ImageFetcher, receiver: Receiver, answer: Answer
) -> None:
    # Twice: aiohttp asks again on a fresh connection if a kept one turns out to be dead.
    receiver.answer_with(answer, answer)
    with pytest.raises(ImageFetchFailed, match="connection failed or broke"):
        await fetcher.fetch(receiver.url)


async def test_nobody_listening_is_a_failed_fetch(
    fetcher: ImageFetcher, unused_tcp_port: int
) -> None:
    with pytest.raises(ImageFetchFailed, match="connection failed"):
        await fetcher.fetch(f"http://127.0.0.1:{unused_tcp_port}/a.png")


@pytest.mark.parametrize("answer", [hang, drip_headers, drip_body])
async def test_whoever_is_too_slow_is_cut_off_however_it_is_slow(
    session: aiohttp.ClientSession, receiver: Receiver, answer: Answer
) -> None:
    receiver.answer_with(answer)
    with pytest.raises(ImageFetchFailed, match=r"within 0\.2 s"):
        await make_fetcher(session, timeout=0.2).fetch(receiver.url)


async def test_the_time_limit_includes_redirects(
    session: aiohttp.ClientSession, receiver: Receiver
) -> None:
    receiver.answer_with(redirect("/on"), redirect("/on"), hang)
    with pytest.raises(ImageFetchFailed, match=r"within 0\.5 s"):
        await make_fetcher(session, timeout=0.5).fetch(receiver.url)
    assert len(receiver.received) == 3


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("", InvalidUrl),
        ("a.png", InvalidUrl),
        ("ftp://127.0.0.1/a.png", InvalidUrl),
        ("file:///etc/passwd", InvalidUrl),
        ("http://", InvalidUrl),
        ("http://127.0.0.1:0/", InvalidUrl),
        ("http://10.0.0.1/a.png", ForbiddenUrl),
        ("http://[::ffff:10.0.0.1]/a.png", ForbiddenUrl),
    ],
)
async def test_a_url_that_cannot_or_may_not_be_called_is_refused(
    fetcher: ImageFetcher, url: str, error: type[ImgsvcError]
) -> None:
    with pytest.raises(error):
        await fetcher.fetch(url)


async def test_loopback_is_refused_unless_it_is_allowed(receiver: Receiver) -> None:
    policy = EgressPolicy()
    async with open_session(policy) as session:
        for host in ("127.0.0.1", "localhost", "pictures.localhost"):
            with pytest.raises(ForbiddenUrl):
                await make_fetcher(session, policy=policy).fetch(f"http://{host}:{receiver.port}/")
    assert receiver.received == []
