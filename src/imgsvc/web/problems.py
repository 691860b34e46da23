"""Errors as problem documents (RFC 9457)."""

import math
from http import HTTPStatus
from typing import Any

import orjson
from aiohttp import web

from imgsvc.errors import (
    AccessError,
    BodyTooLarge,
    ClientLimitReached,
    ImgsvcError,
    InvalidRequest,
    JobFinished,
    MethodNotAllowed,
    NotAllowedForClient,
    NotFound,
    PromptRejected,
    RequestError,
)
from imgsvc.web.quota import quota_headers

MEDIA_TYPE = "application/problem+json"


def problem_response(error: ImgsvcError, *, request_id: str) -> web.Response:
    """Return the answer that tells a caller of this error."""
    document: dict[str, Any] = {
        "type": f"urn:imgsvc:problem:{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": error.message,
        "code": error.code,
        "request_id": request_id,
    }
    headers: dict[str, str] = {}
    if isinstance(error, InvalidRequest):
        document["errors"] = list(error.errors)
    if isinstance(error, PromptRejected) and error.categories:
        document["categories"] = error.categories
    if isinstance(error, ClientLimitReached | NotAllowedForClient):
        document["rule"] = error.rule
    if isinstance(error, NotAllowedForClient):
        document["allowed"] = error.allowed
    if isinstance(error, ClientLimitReached):
        headers |= quota_headers(error)
    if isinstance(error, JobFinished):
        document["state"] = error.state
    if isinstance(error, AccessError) and error.challenge is not None:
        reason = f', error="{error.challenge}"' if error.challenge else ""
        headers["WWW-Authenticate"] = f'Bearer realm="imgsvc"{reason}'
    if error.retry_after is not None:
        headers["Retry-After"] = str(math.ceil(error.retry_after))
    if isinstance(error, MethodNotAllowed):
        headers["Allow"] = ", ".join(error.allowed)
    return web.Response(
        status=error.status, body=orjson.dumps(document), content_type=MEDIA_TYPE, headers=headers
    )


def from_http_exception(exc: web.HTTPException) -> ImgsvcError:
    """Return the error that aiohttp means."""
    if isinstance(exc, web.HTTPMethodNotAllowed):
        return MethodNotAllowed(sorted(exc.allowed_methods))
    if isinstance(exc, web.HTTPRequestEntityTooLarge):
        return BodyTooLarge()
    if isinstance(exc, web.HTTPNotFound):
        return NotFound()
    return _HttpError(HTTPStatus(exc.status))


class _HttpError(RequestError):
    """Any other refusal by the HTTP server, which knows only its status."""

    def __init__(self, status: HTTPStatus) -> None:
        self.status = status.value
        self.code = status.name.lower()
        self.title = status.phrase
        super().__init__(f"{status.description or status.phrase}.")
