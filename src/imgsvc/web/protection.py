"""Headers that tell browsers what not to do with an answer, and which pages may read it."""

import re
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from yarl import URL

from imgsvc.errors import OriginRefused
from imgsvc.web.config import ServerConfig

HSTS = "max-age=31536000"
"""A year; browsers heed it only over TLS."""

STANDARD = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
"""Of every answer that does not say otherwise; jobs and their results are private."""

_THIS_MACHINE = re.compile(r"https?://(?:localhost|127\.0\.0\.1|\[::1\])(?::[0-9]+)?")
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_METHODS = "GET, HEAD, POST"
_HEADERS = (
    "Authorization, callbackUrl, Content-Type, Idempotency-Key, Last-Event-ID, Prefer, progressUrl,"
    " X-API-Key, X-Request-Id"
)
_READABLE = (
    "Idempotent-Replayed, Location, Preference-Applied, RateLimit, RateLimit-Policy, Retry-After,"
    " X-Request-Id"
)


def protect(config: ServerConfig) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    """Return the hook that puts these headers on every answer."""
    over_tls = config.over_tls

    async def hook(request: web.Request, response: web.StreamResponse) -> None:
        for name, value in STANDARD.items():
            response.headers.setdefault(name, value)
        if over_tls:
            response.headers["Strict-Transport-Security"] = HSTS
        if not config.cors_origins:
            return
        response.headers["Vary"] = "Origin"
        if (origin := request.headers.get("Origin")) in config.cors_origins:
            response.headers["Access-Control-Allow-Origin"] = str(origin)
            response.headers["Access-Control-Expose-Headers"] = _READABLE

    return hook


def preflight(config: ServerConfig) -> Callable[..., Awaitable[web.StreamResponse]]:
    """Return the middleware that tells a browser whether a page of another origin may ask.

    Without a listed origin, the request goes on to where OPTIONS is refused.
    """

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        asks = "Access-Control-Request-Method" in request.headers
        known = request.headers.get("Origin") in config.cors_origins
        if request.method != "OPTIONS" or not asks or not known:
            return await handler(request)
        return web.Response(
            status=204,
            headers={
                "Access-Control-Allow-Methods": _METHODS,
                "Access-Control-Allow-Headers": _HEADERS,
                "Access-Control-Max-Age": "600",
            },
        )

    return middleware


def own_pages(config: ServerConfig, base_url: str) -> Middleware:
    """Return the middleware for where no key keeps out the pages of other sites.

    They may change nothing, unless they are of a listed origin, of this machine or at the server's
    URL. To its browser, a page whose name was made to lead here (DNS rebinding) is one of this
    server's, so that it asks for no leave before.
    """
    known = {*config.cors_origins, str(URL(base_url).origin())}

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        origins = request.headers.getall("Origin", [])
        if request.method not in _SAFE and not all(
            origin in known or _THIS_MACHINE.fullmatch(origin) for origin in origins
        ):
            raise OriginRefused
        return await handler(request)

    return middleware
