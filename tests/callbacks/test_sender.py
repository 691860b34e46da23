import base64
import errno
import os
import ssl
from collections.abc import Callable

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from aioresponses import aioresponses
from pydantic import SecretStr
from standardwebhooks import Webhook
from structlog.testing import capture_logs

from imgsvc.callbacks import (
    CallbacksConfig,
    CallbackSender,
    Delivery,
    EgressPolicy,
    Verdict,
    open_session,
)
from standins.receiver import (
    Answer,
    Receiver,
    callback_receiver,
    drip_body,
    drip_headers,
    drop,
    hang,
    not_http,
    refuse_body,
    reply,
)

MakeDelivery = Callable[..., Delivery]


def secret() -> SecretStr:
    return SecretStr("whsec_" + base64.b64encode(os.urandom(32)).decode())


async def test_the_call_that_goes_out_has_the_agreed_shape(
    aioresponses_mock: aioresponses, sender: CallbackSender, delivery: MakeDelivery
) -> None:
    url = "https://hooks.example/cb"
    aioresponses_mock.post(url, status=204)
    attempt = await sender.attempt(delivery(url))
    assert attempt.verdict is Verdict.DELIVERED
    [[call]] = aioresponses_mock.requests.values()
    assert call.kwargs["allow_redirects"] is False
    assert call.kwargs["timeout"] == aiohttp.ClientTimeout(total=10)
    assert set(call.kwargs["headers"]) == {
        "Content-Type",
        "User-Agent",
        "Accept-Encoding",
        "X-Request-Id",
        "webhook-id",
        "webhook-timestamp",
    }


async def test_the_receiver_gets_the_frozen_body_with_its_length(
    receiver: Receiver, sender: CallbackSender, delivery: MakeDelivery
) -> None:
    sent = delivery(receiver.url + "?token=%2fx", body='{"filename": "ä.png"}'.encode())
    attempt = await sender.attempt(sent)
    got = await receiver.next()
    assert (attempt.verdict, attempt.status, attempt.error) == (Verdict.DELIVERED, 200, None)
    assert (got.method, got.target) == ("POST", "/callback?token=%2fx")
    assert got.body == sent.body.read_bytes()
    assert got.headers["Content-Type"] == "application/json"
    assert got.headers["Content-Length"] == str(len(got.body))
    assert got.headers["webhook-id"] == "msg_42"
    assert got.headers["X-Request-Id"] == "req-7"
    assert "Transfer-Encoding" not in got.headers
    assert "Content-Disposition" not in got.headers


async def test_a_large_body_arrives_whole(
    receiver: Receiver, sender: CallbackSender, delivery: MakeDelivery
) -> None:
    body = os.urandom(3_000_001)
    await sender.attempt(delivery(receiver.url, body=body))
    assert (await receiver.next()).body == body


async def test_every_secret_of_a_rotation_verifies_what_arrived(
    receiver: Receiver, session: aiohttp.ClientSession, delivery: MakeDelivery
) -> None:
    secrets = [secret(), secret()]
    sender = CallbackSender(session, CallbacksConfig(signing_secrets=secrets))
    await sender.attempt(delivery(receiver.url))
    got = await receiver.next()
    for known in secrets:
        assert Webhook(known.get_secret_value()).verify(got.body, dict(got.headers)) == got.json


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(
    status: int, receiver: Receiver, sender: CallbackSender, delivery: MakeDelivery
) -> None:
    async with callback_receiver() as elsewhere:
        receiver.answer_with(reply(status, {"Location": elsewhere.url}))
        attempt = await sender.attempt(delivery(receiver.url))
        assert (attempt.verdict, attempt.error) == (Verdict.RETRY, f"status {status}")
        assert not elsewhere.received


@pytest.mark.parametrize(
    ("answer", "verdict", "error"),
    [
        (reply(410), Verdict.DEAD, "status 410"),
        (reply(503), Verdict.RETRY, "status 503"),
        (hang, Verdict.RETRY, "timeout"),
        (drip_headers, Verdict.RETRY, "timeout"),
        (drop, Verdict.RETRY, "connection lost"),
        (not_http, Verdict.RETRY, "malformed answer"),
        (drip_body, Verdict.DELIVERED, None),  # the status had come in time
    ],
)
async def test_what_the_receiver_does_decides(
    answer: Answer,
    verdict: Verdict,
    error: str | None,
    receiver: Receiver,
    session: aiohttp.ClientSession,
    delivery: MakeDelivery,
) -> None:
    receiver.answer_with(answer)
    attempt = await CallbackSender(session, CallbacksConfig(timeout=0.5)).attempt(
        delivery(receiver.url)
    )
    assert (attempt.verdict, attempt.error) == (verdict, error)


async def test_an_answer_before_the_body_was_read_counts(
    receiver: Receiver, sender: CallbackSender, delivery: MakeDelivery
) -> None:
    receiver.answer_with(refuse_body)
    attempt = await sender.attempt(delivery(receiver.url, body=bytes(20_000_000)))
    assert attempt.verdict is Verdict.RETRY
    assert attempt.error in {"status 401", "connection lost"}


async def test_a_receiver_that_is_not_there_is_tried_again(
    sender: CallbackSender, delivery: MakeDelivery
) -> None:
    async with callback_receiver() as gone:
        url = gone.url
    attempt = await sender.attempt(delivery(url))
    assert (attempt.verdict, attempt.error) == (Verdict.RETRY, "connection refused")


class Nowhere(AbstractResolver):
    async def resolve(self, *_: object, **__: object) -> list[ResolveResult]:
        raise OSError(errno.EIO, "name server does not answer")

    async def close(self) -> None:
        pass


async def test_a_host_that_cannot_be_found_is_tried_again(delivery: MakeDelivery) -> None:
    async with open_session(EgressPolicy(), resolver=Nowhere()) as session:
        attempt = await CallbackSender(session, CallbacksConfig()).attempt(
            delivery("http://nowhere.example/")
        )
    assert (attempt.verdict, attempt.error) == (Verdict.RETRY, "host not found")


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("http://127.0.0.1:9/", "forbidden address"),
        ("http://[fd00:ec2::254]/", "forbidden address"),
        ("http://user@example.com/", "invalid url"),
    ],
)
async def test_a_url_that_may_not_be_called_is_dead_at_once(
    url: str, error: str, delivery: MakeDelivery
) -> None:
    async with open_session(EgressPolicy()) as session:
        attempt = await CallbackSender(session, CallbacksConfig()).attempt(delivery(url))
    assert (attempt.verdict, attempt.error) == (Verdict.DEAD, error)


async def test_a_trusted_certificate_is_accepted_and_another_is_a_tls_error(
    server_tls: ssl.SSLContext,
    client_tls: ssl.SSLContext,
    session: aiohttp.ClientSession,
    delivery: MakeDelivery,
) -> None:
    async with (
        callback_receiver(tls=server_tls) as receiver,
        open_session(EgressPolicy(allow_loopback=True), ssl=client_tls) as trusting,
    ):
        sent = delivery(receiver.url)
        good = await CallbackSender(trusting, CallbacksConfig()).attempt(sent)
        bad = await CallbackSender(session, CallbacksConfig()).attempt(sent)
    assert good.verdict is Verdict.DELIVERED
    assert (bad.verdict, bad.error) == (Verdict.RETRY, "tls error")


async def test_a_missing_body_file_is_logged_and_tried_again(
    receiver: Receiver, sender: CallbackSender, delivery: MakeDelivery
) -> None:
    sent = delivery(receiver.url)
    sent.body.unlink()
    with capture_logs() as logs:
        attempt = await sender.attempt(sent)
    assert (attempt.verdict, attempt.error) == (Verdict.RETRY, "internal error")
    assert isinstance(logs[0]["exc_info"], FileNotFoundError)
    assert not receiver.received


async def test_of_a_large_answer_only_the_beginning_is_read(
    receiver: Receiver, sender: CallbackSender, delivery: MakeDelivery
) -> None:
    receiver.answer_with(reply(500, body=b"nope" + b"x" * 5_000_000))
    attempt = await sender.attempt(delivery(receiver.url))
    assert attempt.answer == "nope" + "x" * 1020
    # The rest was not waited for: the connection was given up, and the next is a new one.
    await sender.attempt(delivery(receiver.url))
    first, second = receiver.received
    assert first.peer_port != second.peer_port


async def test_what_an_answer_repeats_of_the_query_is_not_kept(
    receiver: Receiver, sender: CallbackSender, delivery: MakeDelivery
) -> None:
    body = b"no such page: /callback?token=canary+1%2F2&n=1, token canary 1/2, n 1 " + b"x" * 5000
    receiver.answer_with(reply(404, body=body))
    attempt = await sender.attempt(delivery(f"{receiver.url}?token=canary+1%2F2&n=1"))
    assert attempt.answer.startswith(
        "no such page: /callback?[redacted], token [redacted], n 1 xxx"
    )
    assert len(attempt.answer) == 1024


async def test_an_ordinary_answer_leaves_the_connection_for_the_next_callback(
    receiver: Receiver, sender: CallbackSender, delivery: MakeDelivery
) -> None:
    receiver.answer_with(reply(200, body=b"x" * 60_000))
    for _ in range(2):
        await sender.attempt(delivery(receiver.url))
    first, second = receiver.received
    assert first.peer_port == second.peer_port


async def test_a_compressed_answer_is_not_unfolded(
    receiver: Receiver, sender: CallbackSender, delivery: MakeDelivery
) -> None:
    receiver.answer_with(reply(200, {"Content-Encoding": "gzip"}, b"not gzip"))
    assert (await sender.attempt(delivery(receiver.url))).answer == "not gzip"


async def test_the_callback_goes_where_the_rewriting_says(
    receiver: Receiver, session: aiohttp.ClientSession, delivery: MakeDelivery
) -> None:
    config = CallbacksConfig(rewrite={"wxo-server:4321": receiver.authority})
    await CallbackSender(session, config).attempt(delivery("http://wxo-server:4321/cb/1?a=%2f"))
    got = await receiver.next()
    assert got.target == "/cb/1?a=%2f"
    assert got.headers["Host"] == receiver.authority
