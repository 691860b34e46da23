"""How often callers were refused for who they are or how much they ask, for the metrics."""

from collections import Counter

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from imgsvc.errors import (
    BucketNotAllowed,
    ClientBlocked,
    ClientLimitReached,
    CredentialsInvalid,
    CredentialsMissing,
    ImgsvcError,
    LinkExpired,
    LinkInvalid,
    NotAllowedForClient,
    OriginRefused,
    RoleMissing,
    TooManyFailures,
)

_STATUSES = frozenset({401, 403, 429})
_KNOWN = (
    BucketNotAllowed,
    ClientBlocked,
    ClientLimitReached,
    CredentialsInvalid,
    CredentialsMissing,
    LinkExpired,
    LinkInvalid,
    NotAllowedForClient,
    OriginRefused,
    RoleMissing,
    TooManyFailures,
)


def no_refusals() -> Counter[str]:
    """Return counts by the code of the problem.

    They begin with zeros: Prometheus takes no notice of the step from nothing to the first.
    """
    return Counter({error.code: 0 for error in _KNOWN})


def counting(refusals: Counter[str]) -> Middleware:
    """Return the middleware that counts."""

    @web.middleware
    async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except ImgsvcError as exc:
            if exc.status in _STATUSES:
                refusals[exc.code] += 1
            raise

    return count
