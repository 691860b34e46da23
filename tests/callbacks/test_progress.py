"""Posts of progress: one attempt each, unsigned, and only where callbacks may go."""

import errno
import logging
from collections import Counter

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from pydantic import SecretStr
from structlog.testing import capture_logs

from imgsvc.callbacks import (
    CallbacksConfig,
    EgressPolicy,
    PostOutcome,
    ProgressSender,
    open_session,
)
from standins.receiver import Answer, Receiver, callback_receiver, drip_headers, drop, hang, reply

BODY = b'{"event":"progress"}'
SECRET = SecretStr("whsec_" + "a" * 32)


@pytest.fixture
def sender(session: aiohttp.ClientSession) -> ProgressSender:
    return ProgressSender(session, CallbacksConfig(timeout=10, signing_secrets=[SECRET]))


async def test_a_post_is_not_signed_and_has_none_of_the_headers_of_webhooks(
    receiver: Receiver, sender: ProgressSender
) -> None:
    post = await sender.post(f"{receiver.url}?token=%2fx", "req-7", BODY)
    got = await receiver.next()
    assert (post.outcome, post.status, post.error) == (PostOutcome.DELIVERED, 200, None)
    assert (got.method, got.target, got.body) == ("POST", "/callback?token=%2fx", BODY)
    assert got.headers["Content-Type"] == "application/json"
    assert got.headers["X-Request-Id"] == "req-7"
    assert not [name for name in got.headers if name.lower().startswith("webhook")]


@pytest.mark.parametrize(
    ("answer", "outcome", "error"),
    [
        (reply(204), PostOutcome.DELIVERED, None),
        (reply(410), PostOutcome.REFUSED, "status 410"),
        (reply(500), PostOutcome.FAILED, "status 500"),
        (hang, PostOutcome.FAILED, "timeout"),
        (drip_headers, PostOutcome.FAILED, "timeout"),
        (drop, PostOutcome.FAILED, "connection lost"),
    ],
)
async def test_what_the_receiver_does_decides_and_nothing_is_sent_again(
    answer: Answer,
    outcome: PostOutcome,
    error: str | None,
    receiver: Receiver,
    session: aiohttp.ClientSession,
) -> None:
    receiver.answer_with(answer)
    sender = ProgressSender(session, CallbacksConfig(timeout=0.5))
    post = await sender.post(receiver.url, "req-7", BODY)
    assert (post.outcome, post.error, post.host) == (outcome, error, "127.0.0.1")
    assert len(receiver.received) == 1
    assert sender.posts == Counter({outcome: 1})


async def test_a_redirect_is_not_followed(receiver: Receiver, sender: ProgressSender) -> None:
    async with callback_receiver() as elsewhere:
        receiver.answer_with(reply(307, {"Location": elsewhere.url}))
        post = await sender.post(receiver.url, "req-7", BODY)
        assert (post.outcome, post.error) == (PostOutcome.FAILED, "status 307")
        assert not elsewhere.received


class Turned(AbstractResolver):
    """Leads a public name to loopback, as a hostile name server does."""

    async def resolve(self, host: str, port: int = 0, *_: object) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host="127.0.0.1", port=port, family=2, proto=0, flags=0)
        ]

    async def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("http://127.0.0.1:9/", "forbidden address"),
        ("http://169.254.169.254/", "forbidden address"),
        ("http://turned.example:9/", "forbidden address"),
        ("http://user@example.com/", "invalid url"),
    ],
)
async def test_a_url_that_may_not_be_called_is_refused(url: str, error: str) -> None:
    async with open_session(EgressPolicy(), resolver=Turned()) as session:
        post = await ProgressSender(session, CallbacksConfig()).post(url, "req-7", BODY)
    assert (post.outcome, post.error) == (PostOutcome.REFUSED, error)


async def test_the_post_goes_where_the_rewriting_says(
    receiver: Receiver, session: aiohttp.ClientSession
) -> None:
    config = CallbacksConfig(rewrite={"wxo-server:4321": receiver.authority})
    await ProgressSender(session, config).post("http://wxo-server:4321/p?a=%2f", "req-7", BODY)
    assert (await receiver.next()).target == "/p?a=%2f"


class Broken(AbstractResolver):
    async def resolve(self, *_: object, **__: object) -> list[ResolveResult]:
        raise LookupError(errno.EIO)

    async def close(self) -> None:
        pass


async def test_an_error_that_is_not_known_is_logged_and_fails_the_post_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.CRITICAL, "asyncio")
    async with open_session(EgressPolicy(), resolver=Broken()) as session:
        with capture_logs() as logs:
            sender = ProgressSender(session, CallbacksConfig())
            post = await sender.post("http://broken.example/secret?token=x", "req-7", BODY)
    assert (post.outcome, post.error) == (PostOutcome.FAILED, "internal error")
    [line] = logs
    assert (line["event"], line["host"]) == ("progress_post_broke", "broken.example")
    assert "secret" not in str({name: line[name] for name in line if name != "exc_info"})
