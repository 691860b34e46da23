"""What statuses and broken connections mean, and HTTP for the kinds without a client library."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import aiohttp
import orjson
import structlog

from imgsvc.errors import (
    ProviderAccessDenied,
    ProviderBadAnswer,
    ProviderConnectionLost,
    ProviderError,
    ProviderKeyRejected,
    ProviderModelNotFound,
    ProviderOutOfCredit,
    ProviderRateLimited,
    ProviderRefusedImage,
    ProviderRefusedParameter,
    ProviderServerError,
    ProviderTimeout,
    ProviderUnreachable,
)
from imgsvc.providers.retry_after import retry_after

CONNECT_TIMEOUT = 10.0
"""Seconds for a connection; a server that is there accepts much sooner."""

MAX_PICTURE_BYTES = 72 * 2**20
"""Bytes taken of one picture, as a file."""

_BY_STATUS: Mapping[int, type[ProviderError]] = {
    401: ProviderKeyRejected,
    402: ProviderOutOfCredit,
    403: ProviderAccessDenied,
    404: ProviderModelNotFound,
    405: ProviderModelNotFound,  # a base URL that leads to some other service
    408: ProviderTimeout,
    409: ProviderServerError,
    410: ProviderModelNotFound,
    413: ProviderRefusedImage,
    415: ProviderRefusedImage,
    429: ProviderRateLimited,
    504: ProviderTimeout,  # a gateway's: the server behind it may still have done the work
    524: ProviderTimeout,  # as 504, of Cloudflare
}

TOO_LARGE = "The picture is too large for this image API. Scale it down and try again."
"""What is said of a picture that is refused for its size, not because it cannot be read."""

FAILED_LATER = (
    "The image API took the request, and then gave an error in place of the image; whether it"
    " billed the edit is unknown."
)
"""What is said of an error that comes once a request has been taken, whatever it is: such a
call is not made again, for it might be paid for twice."""

NOT_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL)
"""What aiohttp raises before it has a connection, so that nothing was sent."""

_MAX_ERROR_BYTES = 64 * 1024  # of an answer that is no picture

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@asynccontextmanager
async def open_wire(
    timeout: float,  # noqa: ASYNC109 - of each call that is made later
) -> AsyncIterator[aiohttp.ClientSession]:
    """Yield a session on which the environment has no influence.

    `timeout` is in seconds, from the first byte sent to the last one received.
    """
    async with aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=timeout, sock_connect=CONNECT_TIMEOUT),
        # Compressing pictures saves little, and inflating them is work for the event loop.
        headers={"Accept-Encoding": "identity"},
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
    ) as session:
        yield session


@contextmanager
def transport_errors(model: str) -> Iterator[None]:
    """Turn what aiohttp raises into errors of ours, which name the model asked for.

    Where nothing proves that the request was never sent, it counts as sent.
    """
    try:
        yield
    except (aiohttp.ClientError, TimeoutError) as exc:
        raise explained(_kind_of_transport_error(exc), model) from exc


def _kind_of_transport_error(exc: Exception) -> type[ProviderError]:
    match exc:
        case _ if isinstance(exc, NOT_SENT):
            return ProviderUnreachable
        case TimeoutError():
            return ProviderTimeout
        case aiohttp.ClientConnectionError() | aiohttp.ClientPayloadError():
            return ProviderConnectionLost
        case _:  # not HTTP, or not what its headers say
            return ProviderBadAnswer


def kind_by_status(status: int) -> type[ProviderError]:
    """Return what an HTTP status other than 200 means."""
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status < 400:
        return ProviderBadAnswer
    return ProviderServerError if status >= 500 else ProviderRefusedParameter


def message_of(kind: type[ProviderError], status: int | None) -> str:
    """Return the kind's own message, or a better one if the HTTP status knows more."""
    if kind is ProviderRefusedImage and status == 413:
        return TOO_LARGE
    return kind().message


def explained(
    kind: type[ProviderError],
    model: str,
    *details: str,
    status: int | None = None,
    headers: Mapping[str, str] | None = None,
) -> ProviderError:
    """Return an error with a message for its kind and, in brackets, the model and details.

    `status` and `headers` are those of the answer, if there was one: the status is one of
    the details, and an error that passes has the wait that the headers ask for.
    """
    answered = () if status is None else (f"status {status}",)
    told = ", ".join((f"model {model}", *answered, *details))
    error = kind(f"{message_of(kind, status)} ({told})")
    if kind.retryable and headers is not None:
        error.retry_after = retry_after(headers)
    return error


async def read_bytes(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """Return the answer's body; raise ProviderBadAnswer as soon as it has more bytes than limit."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        chunks.append(chunk)
        size += len(chunk)
        if size > limit:
            raise ProviderBadAnswer("The image API's answer is too large to be an edited image.")
    return await asyncio.to_thread(b"".join, chunks)


async def read_error(response: aiohttp.ClientResponse) -> Mapping[str, Any]:
    """Return the JSON object that an answer without a picture holds; empty if there is none."""
    try:
        document = orjson.loads(await read_bytes(response, _MAX_ERROR_BYTES))
    except (ProviderBadAnswer, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


@contextmanager
def logged_call(provider: str, model: str) -> Iterator[None]:
    """Log a call of the provider as it ends."""
    started = time.monotonic()
    log = _log.bind(provider=provider, model=model)
    try:
        yield
    except ProviderError as error:
        seconds = round(time.monotonic() - started, 3)
        log.warning("provider_called", seconds=seconds, error=error.kind, reason=error.message)
        raise
    log.info("provider_called", seconds=round(time.monotonic() - started, 3))
