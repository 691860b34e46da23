"""One connection of a caller: what never reaches a handler is refused like anything else."""

import asyncio
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

import structlog
from aiohttp import StreamReader, web
from aiohttp.http import HttpProcessingError, RawRequestMessage
from aiohttp.http_exceptions import LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD
from structlog.contextvars import bound_contextvars

from imgsvc.errors import ImgsvcError, MalformedRequest, RequestHeadTimeout, RequestHeadTooLarge
from imgsvc.web.framing import MAX_HEAD_BYTES
from imgsvc.web.keys import REQUEST_ID
from imgsvc.web.middlewares import HEADER, SERVER
from imgsvc.web.problems import from_http_exception, problem_response
from imgsvc.web.protection import STANDARD

log = structlog.get_logger(__name__)

MAX_HEADER_BYTES = 32 * 1024
"""Bytes of one header; a callbackUrl that is too long for us shall be told so in our words."""

LINGERING_TIME = 2.0
"""Seconds in which the rest of a refused body is thrown away, so that its sender reads why."""

KEEPALIVE_TIMEOUT = 75.0
"""Seconds that a connection may wait for its next request; proxies give theirs up after 60."""

MAX_FRAMING_BYTES = 512 * 1024
"""Bytes about the chunks of a body, beside seven for each byte in them; one-byte chunks have five.

It is more than one read from a socket: other requests in the same one do not count.
"""


class Connection(web.RequestHandler):
    """aiohttp's connection, but with problem documents for what no middleware sees.

    That is what is not HTTP, and what aiohttp refuses by itself, an unknown `Expect` say.
    Its own answers are plain text, repeat what was sent and tell which versions run here.
    """

    __slots__ = (
        "_answered",
        "_body",
        "_head_bytes",
        "_head_deadline",
        "_header_timeout",
        "_latest",
        "_wire",
    )

    def __init__(
        self, server: web.Server, *, loop: asyncio.AbstractEventLoop, header_timeout: float
    ) -> None:
        super().__init__(
            server,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]  # ours names the request, without query
            auto_decompress=False,  # a small body must not grow into a large one
            max_field_size=MAX_HEADER_BYTES,
            lingering_time=LINGERING_TIME,
            keepalive_timeout=KEEPALIVE_TIMEOUT,
        )
        self._header_timeout = header_timeout
        self._head_deadline: asyncio.TimerHandle | None = None
        self._head_bytes = 0  # that came in of a head which is not whole yet, as far as is known
        self._latest: StreamReader = EMPTY_PAYLOAD  # the body of the latest request
        self._answered = 0
        self._body: StreamReader | None = None  # chunked, and coming in
        self._wire = 0  # bytes of it as they came, with what is about its chunks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Wait for nothing any more."""
        self._stop_expecting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came in, and look whether a head or a body takes too much."""
        known, in_head = self._request_count, self._latest.is_eof()
        super().data_received(data)
        if self._force_close:
            return
        if self._request_count > known:
            self._stop_expecting()
            self._latest = self._messages[-1][1]
            # What follows a head that is whole, and has no body, belongs to the next one.
            followed = self._latest is EMPTY_PAYLOAD and not data.endswith(b"\n")
            self._head_bytes = len(data) if followed else 0
        elif in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._give_up(RequestHeadTooLarge())
        if self._request_count > self._answered:
            self._watch_framing(len(data))
        else:
            self._mind_the_head()

    def _expect_head(self) -> None:
        self._head_deadline = self._loop.call_later(self._header_timeout, self._be_late)

    def _mind_the_head(self) -> None:
        # Only the first bytes of a head set its deadline: what drips in puts nothing off.
        if self._head_bytes and self._head_deadline is None and not self._force_close:
            self._expect_head()

    def _stop_expecting(self) -> None:
        if self._head_deadline is not None:
            self._head_deadline.cancel()
        self._head_deadline = None

    def _be_late(self) -> None:
        if self._head_bytes:
            self._give_up(RequestHeadTimeout())
        else:
            self.force_close()

    def _give_up(self, error: ImgsvcError) -> None:
        """Refuse a head that is not whole; but first answer the requests before it."""
        if self._request_count > self._answered:
            self.close()
            return
        if self.transport is not None:
            request_id = uuid.uuid4().hex
            with bound_contextvars(request_id=request_id):
                self.transport.write(_as_bytes(_refusal(error, request_id)))
        self.force_close()

    def _watch_framing(self, received: int) -> None:
        """End a chunked body that has more to say about its chunks than in them."""
        self._count(received)
        if not self._messages:
            return
        message, payload = self._messages[-1]
        if isinstance(message, RawRequestMessage) and message.chunked and payload is not self._body:
            self._body, self._wire = payload, 0
            self._count(received)

    def _count(self, received: int) -> None:
        body = self._body
        if body is None:
            return
        self._wire += received
        if self._wire > MAX_FRAMING_BYTES + 8 * body.total_bytes and body.exception() is None:
            body.set_exception(MalformedRequest("The chunks of the body have long extensions."))
        if body.is_eof():
            self._body = None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,  # noqa: ARG002 - the signature is aiohttp's; the error tells
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - it repeats what was sent
    ) -> web.StreamResponse:
        """Return the answer for what could not be parsed, or for a bug beside the handlers.

        Raises ConnectionError, which closes the connection, if an answer has begun.
        """
        with _identified(request):
            if isinstance(exc, LineTooLong):
                error: ImgsvcError = RequestHeadTooLarge()
            elif isinstance(exc, HttpProcessingError):
                error = MalformedRequest()
            else:
                log.error("request_crashed", method=request.method, path=request.path, exc_info=exc)
                error = ImgsvcError()
            if request.writer.output_size > 0:
                raise ConnectionError("the answer has begun: no other one can be sent")
            response = _refusal(error, request[REQUEST_ID])
        response.force_close()
        return response

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send an answer; a refusal that has passed by the middlewares as a problem document."""
        if isinstance(resp, web.HTTPError):
            with _identified(request):
                resp = _refusal(from_http_exception(resp), request[REQUEST_ID])
        self._answered += 1
        if not request.content.is_eof():
            resp.force_close()  # what is left of the body must not be taken for a request
        sent = await super().finish_response(request, resp, start_time)
        if self._request_count == self._answered:
            self._mind_the_head()
        if request.content.exception() is not None and not request.content.is_eof():
            self.close()  # the rest of what was cut off is not worth a look
            request.content.feed_eof()
        return sent


@contextmanager
def _identified(request: web.BaseRequest) -> Iterator[None]:
    """Give the request an id, unless it has one, and bind it to every log line."""
    request[REQUEST_ID] = request.get(REQUEST_ID) or uuid.uuid4().hex
    with bound_contextvars(request_id=request[REQUEST_ID]):
        yield


def _refusal(error: ImgsvcError, request_id: str) -> web.Response:
    if error.status < 500:
        log.info("request_refused", code=error.code, status=error.status)
    response = problem_response(error, request_id=request_id)
    # The application's hook does it only for requests that it knows.
    response.headers[HEADER] = request_id
    response.headers["Server"] = SERVER
    response.headers.update(STANDARD)
    return response


def _as_bytes(response: web.Response) -> bytes:
    """Return an answer for when there is no request that aiohttp could answer."""
    body = response.body
    assert isinstance(body, bytes)  # noqa: S101 - problem documents are
    headers = dict(response.headers) | {
        "Content-Length": str(len(body)),
        "Connection": "close",
    }
    lines = [f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body
