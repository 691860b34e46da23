"""Sends callbacks, one attempt at a time."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import BinaryIO

import aiohttp
import structlog
from pydantic import SecretStr
from structlog.typing import FilteringBoundLogger
from yarl import URL

from imgsvc.callbacks import protocol
from imgsvc.callbacks.connections import proxy_secrets
from imgsvc.callbacks.guard import check_url
from imgsvc.callbacks.protocol import CallbacksConfig, Verdict
from imgsvc.errors import ForbiddenUrl, InvalidUrl
from imgsvc.redaction import longest_first, without

_log: FilteringBoundLogger = structlog.get_logger(__name__)

_CHUNK_BYTES = 256 * 1024
_ANSWER_READ_BYTES = 64 * 1024
_ANSWER_KEPT_BYTES = 1024
# The status has decided before the answer's body is read, and an ordinary one is there at
# once. A longer wait would let receivers that drip their answers take the slots of others.
_ANSWER_SECONDS = 2.0

# What the exceptions of an attempt mean; the first row that fits counts.
_FAILURES: tuple[tuple[type[Exception], Verdict, str], ...] = (
    # A name could lead elsewhere tomorrow, but a refused address gets no second look:
    # repeating would make the service a scanner that reports back.
    (ForbiddenUrl, Verdict.DEAD, "forbidden address"),
    (InvalidUrl, Verdict.DEAD, "invalid url"),
    (TimeoutError, Verdict.RETRY, "timeout"),
    (aiohttp.ClientProxyConnectionError, Verdict.RETRY, "proxy not reached"),
    (aiohttp.ClientHttpProxyError, Verdict.RETRY, "proxy refused"),
    (aiohttp.ClientConnectorDNSError, Verdict.RETRY, "host not found"),
    (aiohttp.ClientSSLError, Verdict.RETRY, "tls error"),
    (ConnectionRefusedError, Verdict.RETRY, "connection refused"),
    (aiohttp.ClientConnectorError, Verdict.RETRY, "host unreachable"),
    (aiohttp.ClientConnectionError, Verdict.RETRY, "connection lost"),
    (aiohttp.ClientResponseError, Verdict.RETRY, "malformed answer"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """One callback to send. Body and webhook id are the same in every attempt."""

    url: str  # as the caller gave it
    webhook_id: str
    request_id: str
    body: Path  # a file of JSON
    number: int = 1  # of this attempt, from 1
    signing_secrets: Sequence[SecretStr] | None = None  # None: as configured for all


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """How one attempt went."""

    verdict: Verdict
    duration: float  # seconds
    status: int | None = None  # HTTP status; None without an answer
    error: str | None = None  # a short public phrase; None if delivered
    retry_after: float | None = None  # seconds, as the receiver asked for
    answer: str = ""  # how the receiver's answer begins


@dataclass(frozen=True, kw_only=True, slots=True)
class _Reply:
    status: int
    retry_after: float | None
    answer: str


class CallbackSender:
    """Makes attempts over one shared session from :func:`imgsvc.callbacks.open_session`."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        config: CallbacksConfig,
        *,
        proxy: Callable[[], SecretStr] | None = None,
    ) -> None:
        """`proxy` tells the URL of the forward proxy that the session uses; None: it uses none."""
        self._session = session
        self._config = config
        self._proxy = proxy

    async def attempt(self, delivery: Delivery) -> Attempt:
        """Send the callback once and say how it went; raise nothing but CancelledError."""
        started = time.monotonic()
        try:
            reply = await self._post(delivery)
        except Exception as exc:  # noqa: BLE001 - every attempt ends in a verdict; surprises are logged
            known = explain(exc)
            if known is None:
                _log.error("callback_attempt_broke", webhook_id=delivery.webhook_id, exc_info=exc)
            verdict, error = known or (Verdict.RETRY, "internal error")
            attempt = Attempt(verdict=verdict, error=error, duration=time.monotonic() - started)
        else:
            verdict = protocol.judge(reply.status)
            attempt = Attempt(
                verdict=verdict,
                duration=time.monotonic() - started,
                status=reply.status,
                error=None if verdict is Verdict.DELIVERED else f"status {reply.status}",
                retry_after=reply.retry_after,
                answer=reply.answer,
            )
        _log.info(
            "callback_attempt",
            webhook_id=delivery.webhook_id,
            number=delivery.number,
            host=shown_host(delivery.url),
            verdict=attempt.verdict,
            status=attempt.status,
            error=attempt.error,
            duration=round(attempt.duration, 3),
        )
        return attempt

    async def _post(self, delivery: Delivery) -> _Reply:
        url = protocol.rewrite(check_url(delivery.url), self._config.rewrite)
        # Not in a thread: one that is cut off would leave the file open, and nothing is read yet.
        with delivery.body.open("rb") as body:
            headers = await asyncio.to_thread(self._headers, delivery, body)
            async with self._session.post(
                url,
                data=body,  # aiohttp sends a file piece by piece, with its Content-Length
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=self._config.timeout),
            ) as response:
                return _Reply(
                    status=response.status,
                    retry_after=protocol.parse_retry_after(
                        response.headers.get("Retry-After"), now=datetime.now(UTC)
                    ),
                    answer=self._shown_answer(url, await _read_answer(response)),
                )

    def _shown_answer(self, url: URL, answer: bytes) -> str:
        """Return how an answer begins, without what it repeats of the secrets sent to it.

        Those are the query of the receiver's URL, and what the proxy knows us by.
        """
        secrets = {url.raw_query_string, url.query_string, *url.query.values()}
        if self._proxy is not None:
            secrets |= proxy_secrets(URL(self._proxy().get_secret_value()))
        text = without(answer.decode(errors="replace"), longest_first(secrets))
        return text.encode()[:_ANSWER_KEPT_BYTES].decode(errors="replace")

    def _signing_secrets(self, delivery: Delivery) -> Sequence[SecretStr]:
        """Return what signs a callback: asked at each attempt, because it may be replaced."""
        own = delivery.signing_secrets
        return self._config.signing_secrets if own is None else own

    def _headers(self, delivery: Delivery, body: BinaryIO) -> dict[str, str]:
        timestamp = int(time.time())
        signature = None
        if secrets := self._signing_secrets(delivery):
            signature = protocol.sign(
                secrets,
                webhook_id=delivery.webhook_id,
                timestamp=timestamp,
                chunks=iter(partial(body.read, _CHUNK_BYTES), b""),
            )
            body.seek(0)
        return protocol.headers(
            webhook_id=delivery.webhook_id,
            request_id=delivery.request_id,
            timestamp=timestamp,
            signature=signature,
        )


async def _read_answer(response: aiohttp.ClientResponse) -> bytes:
    """Return how the answer begins, more of it than is kept.

    Reading somewhat further than that lets the connection be used again after an
    ordinary answer. An answer that breaks off, or is still coming when the time is up,
    is taken as far as it came.
    """
    answer = bytearray()
    with suppress(aiohttp.ClientError, TimeoutError):
        async with asyncio.timeout(_ANSWER_SECONDS):
            while len(answer) < _ANSWER_READ_BYTES:
                chunk = await response.content.read(_ANSWER_READ_BYTES - len(answer))
                if not chunk:
                    break
                answer += chunk
    return bytes(answer)


def explain(exc: Exception) -> tuple[Verdict, str] | None:
    """Return what a failed attempt means, and a phrase that is safe to show; None: a surprise."""
    cause = exc.os_error if isinstance(exc, aiohttp.ClientConnectorError) else exc
    for kind, verdict, phrase in _FAILURES:
        if isinstance(exc, kind) or isinstance(cause, kind):
            return verdict, phrase
    return None


def shown_host(url: str) -> str:
    """Return the host for the log: path and query may hold what only the receiver may know."""
    try:
        return check_url(url).host or ""
    except InvalidUrl:
        return "invalid url"
