"""What happens around every request: its id, its log line, its errors as problems."""

import re
import uuid
from time import monotonic

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler
from structlog.contextvars import bound_contextvars, unbind_contextvars

from imgsvc.errors import ImgsvcError, MalformedRequest
from imgsvc.web.framing import framing
from imgsvc.web.keys import REQUEST_ID
from imgsvc.web.problems import from_http_exception, problem_response

log = structlog.get_logger(__name__)

HEADER = "X-Request-Id"
SERVER = "imgsvc"
"""The header of that name in every answer; it does not tell which versions run here."""

_ACCEPTABLE_ID = re.compile(r"[\w.:/+=@-]{1,128}", re.ASCII)
_QUIET = frozenset({"/health", "/health/live", "/health/ready", "/metrics"})


@web.middleware
async def request_id(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Take the caller's X-Request-Id or make one, and bind it to every log line.

    So is the client, once the guard knows it.
    """
    given = request.headers.get(HEADER, "")
    chosen = given if _ACCEPTABLE_ID.fullmatch(given) else uuid.uuid4().hex
    request[REQUEST_ID] = chosen
    with bound_contextvars(request_id=chosen):
        try:
            return await handler(request)
        finally:
            unbind_contextvars("client")  # the connection's next request has the same context


@web.middleware
async def access_log(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Write one line a request; the path only, because a query may carry a signature."""
    started = monotonic()
    response = await handler(request)
    write = log.debug if request.path in _QUIET else log.info
    write(
        "request_finished",
        method=request.method,
        path=request.path,
        status=response.status,
        seconds=round(monotonic() - started, 4),
    )
    return response


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every error with a problem document."""
    try:
        return await handler(request)
    except ImgsvcError as exc:
        error = exc
    except web.HTTPException as exc:
        if exc.status < 400:
            raise
        error = from_http_exception(exc)
    except Exception:
        log.exception("request_crashed", method=request.method, path=request.path)
        error = ImgsvcError()
    if isinstance(error, ImgsvcError) and error.status < 500:
        log.info("request_refused", code=error.code, status=error.status)
    response = problem_response(error, request_id=request[REQUEST_ID])
    if isinstance(error, MalformedRequest):
        response.force_close()  # who knows where the next request begins
    return response


async def set_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Put the request id and our name on every answer."""
    response.headers[HEADER] = request.get(REQUEST_ID, "")
    response.headers["Server"] = SERVER


MIDDLEWARES = (request_id, access_log, problems, framing)
