"""What stands before every handler: the route's rule, and the caller's proof."""

from collections.abc import Collection

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from multidict import CIMultiDictProxy
from structlog.contextvars import bind_contextvars

from imgsvc.errors import (
    ClientBlocked,
    CredentialsAmbiguous,
    CredentialsInvalid,
    CredentialsMissing,
    RoleMissing,
)
from imgsvc.logs import AUDIT_LOGGER
from imgsvc.web.auth.api_keys import PREFIX, KeyVerifier, parse
from imgsvc.web.auth.principal import PRINCIPAL, Principal, Proof
from imgsvc.web.auth.roles import Role
from imgsvc.web.auth.rules import Rules
from imgsvc.web.auth.throttle import Throttle
from imgsvc.web.auth.tokens import TokenVerifier
from imgsvc.web.quota import QUOTA, RequestLimiter

log = structlog.get_logger(AUDIT_LOGGER)

KEY_HEADER = "X-API-Key"


class Guard:
    """Lets requests through by the rules; what has no rule is closed."""

    def __init__(
        self,
        rules: Rules,
        throttle: Throttle,
        *,
        keys: KeyVerifier | None = None,
        tokens: TokenVerifier | None = None,
        limiter: RequestLimiter | None = None,
        blocked: Collection[str] = (),
    ) -> None:
        self.rules = rules
        self._keys = keys
        self._tokens = tokens
        self._throttle = throttle
        self._limiter = limiter
        self._blocked = frozenset(blocked)

    @property
    def is_open(self) -> bool:
        """Whether nobody has to prove who they are, and everybody may do everything."""
        return self._keys is None and self._tokens is None

    @property
    def takes_keys(self) -> bool:
        """Whether callers may have an API key."""
        return self._keys is not None

    async def admit(self, request: web.Request) -> None:
        """Find out who calls, and note it on the request and its log lines.

        Raises an AccessError if the caller may not do this, or ClientLimitReached if not now.
        """
        method = "GET" if request.method == "HEAD" else request.method
        resource = request.match_info.route.resource
        rule = None if resource is None else self.rules.get((method, resource.canonical))
        if rule is None:
            raise RoleMissing("No rule says who may do this, so nobody may.")
        if rule.is_public:
            return
        principal = await self._identify(request)
        request[PRINCIPAL] = principal
        bind_contextvars(client=principal.client)  # until the request's log lines end
        if principal.client in self._blocked:
            raise ClientBlocked
        if self._limiter is not None:  # who has not the role has made a request, too
            quota = await self._limiter.take(principal.client)
            if quota is not None:
                request[QUOTA] = quota
        if not rule.admits(principal):
            wanted = " or ".join(rule.roles)
            raise RoleMissing(
                f"This takes the role {wanted}, which the key does not have. Ask the operator for"
                " a key that has it."
            )

    async def check_again(self, request: web.Request) -> None:
        """Look once more at a key or token that was good when the request came.

        Whatever takes long asks: a body that comes in slowly, a stream of events. Raises
        CredentialsInvalid if it has been revoked or has expired, TokenKeysUnavailable, or
        DiskRefuses. It is no guess, so it does not count as a failure.
        """
        if not self.is_open:
            await self._verify(presented(request.headers))

    async def _identify(self, request: web.Request) -> Principal:
        if self.is_open:
            client = request.remote or "unknown"
            return Principal(client=client, roles=frozenset(Role), proof=Proof.NONE)
        credential, address = presented(request.headers), request.remote or "unknown"
        key = parse(credential)
        key_id = None if key is None else key.id
        async with self._throttle.trying(address, credential, key_id):
            try:
                return await self._verify(credential)
            except CredentialsInvalid as exc:
                log.warning(
                    "authentication_failed",
                    address=address,
                    key_id=key_id,
                    reason=exc.reason,
                    claim=exc.claim,
                )
                raise

    async def _verify(self, credential: str) -> Principal:
        is_token = credential.count(".") == 2 and not credential.startswith(PREFIX)
        if self._keys is not None and (self._tokens is None or not is_token):
            return await self._keys.verify(credential)
        if self._tokens is not None:
            return await self._tokens.verify(credential)
        raise CredentialsInvalid


def presented(headers: CIMultiDictProxy[str]) -> str:
    """Return the one credential of a request.

    Raises CredentialsMissing, CredentialsAmbiguous, or CredentialsInvalid for another scheme.
    """
    keys, authorizations = headers.getall(KEY_HEADER, []), headers.getall("Authorization", [])
    if len(keys) + len(authorizations) > 1:
        raise CredentialsAmbiguous
    if keys:
        return keys[0].strip()
    if not authorizations:
        raise CredentialsMissing
    scheme, _, credential = authorizations[0].strip().partition(" ")
    if scheme.lower() != "bearer":
        raise CredentialsInvalid("Authorization takes the scheme Bearer alone, and a key.")
    return credential.strip()


def guarding(guard: Guard) -> Middleware:
    """Return the middleware that asks the guard."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.match_info.http_exception is None:  # else the handler only says 404 or 405
            await guard.admit(request)
        return await handler(request)

    return check
