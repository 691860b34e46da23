"""One connection of a caller: what never reaches a handler is refused like anything else."""

import asyncio
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from aiohttp import web
from aiohttp.http import HttpProcessingError
from aiohttp.http_exceptions import LineTooLong
from structlog.contextvars import bound_contextvars

from imgsvc.errors import ImgsvcError, MalformedRequest, RequestHeadTooLarge
from imgsvc.web.keys import REQUEST_ID
from imgsvc.web.middlewares import HEADER, SERVER
from imgsvc.web.problems import from_http_exception, problem_response

log = structlog.get_logger(__name__)

MAX_HEADER_BYTES = 32 * 1024
"""Bytes of one header; a callbackUrl that is too long for us shall be told so in our words."""


class Connection(web.RequestHandler):
    """aiohttp's connection, but with problem documents for what no middleware sees.

    That is what is not HTTP, and what aiohttp refuses by itself, an unknown `Expect` say.
    Its own answers are plain text, repeat what was sent and tell which versions run here.
    """

    __slots__ = ()

    def __init__(self, server: web.Server, *, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            server,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]  # ours names the request, without query
            auto_decompress=False,  # a small body must not grow into a large one
            max_field_size=MAX_HEADER_BYTES,
        )

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
            response = _refusal(request, error)
        response.force_close()
        return response

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send an answer; a refusal that has passed by the middlewares as a problem document."""
        if isinstance(resp, web.HTTPError):
            with _identified(request):
                resp = _refusal(request, from_http_exception(resp))
        return await super().finish_response(request, resp, start_time)


@contextmanager
def _identified(request: web.BaseRequest) -> Iterator[None]:
    """Give the request an id, unless it has one, and bind it to every log line."""
    request[REQUEST_ID] = request.get(REQUEST_ID) or uuid.uuid4().hex
    with bound_contextvars(request_id=request[REQUEST_ID]):
        yield


def _refusal(request: web.BaseRequest, error: ImgsvcError) -> web.Response:
    if error.status < 500:
        log.info("request_refused", code=error.code, status=error.status)
    response = problem_response(error, request_id=request[REQUEST_ID])
    # The application's hook does it only for requests that it knows.
    response.headers[HEADER] = request[REQUEST_ID]
    response.headers["Server"] = SERVER
    return response
