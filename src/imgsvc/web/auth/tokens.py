"""Tokens of an OAuth 2.0 issuer: signed JWTs (RFC 7519, RFC 8725, RFC 9068)."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import jwt

from imgsvc.errors import CredentialsInvalid
from imgsvc.jobs.audit import CLI_ACTOR
from imgsvc.web.auth.config import AuthConfig
from imgsvc.web.auth.key_sets import FILE_LIFETIME, KeyFile, KeySet, KeyUrl
from imgsvc.web.auth.principal import Principal, Proof
from imgsvc.web.auth.roles import Role

MAX_TOKEN = 16 * 1024
"""Characters of a token."""

_MAX_CLIENT = 128
_MAX_KID = 256
_TYPES = frozenset({"jwt", "at+jwt", "application/at+jwt"})
_REQUIRED = ("exp", "aud", "iss")
_WRONG = (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError)
"""What the library raises for tokens made to be odd."""


@dataclass(frozen=True, slots=True)
class TokenVerifier:
    """Tells whose a token is. The algorithms are the configuration's, never the token's."""

    config: AuthConfig
    keys: KeySet

    async def verify(self, text: str) -> Principal:
        """Return who has this token.

        Raises CredentialsInvalid, which does not say what is wrong but for one that has
        expired, or TokenKeysUnavailable.
        """
        if len(text) > MAX_TOKEN or not text.isascii():
            raise _invalid()
        try:
            header = jwt.get_unverified_header(text)
        except _WRONG as exc:
            raise _invalid() from exc
        algorithm, kid = self._checked(header)
        key = await self.keys.find(kid)
        if key is None or key.algorithm not in {None, algorithm}:
            raise _invalid()
        try:
            claims = jwt.decode(
                text,
                key.key,
                algorithms=[algorithm],
                audience=self.config.jwt_audience,
                issuer=self.config.jwt_issuer,
                leeway=self.config.jwt_leeway,
                options={"require": list(_REQUIRED)},
            )
        except jwt.ExpiredSignatureError as exc:
            raise CredentialsInvalid("This token has expired. Get a new one.") from exc
        except _WRONG as exc:
            raise _invalid() from exc
        return self._principal(claims)

    def _checked(self, header: Mapping[str, Any]) -> tuple[str, str | None]:
        """Return algorithm and key name of a header that is one for us."""
        algorithm, kid, kind = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
        if not isinstance(algorithm, str) or algorithm not in self.config.jwt_algorithms:
            raise _invalid()
        if kid is not None and (not isinstance(kid, str) or len(kid) > _MAX_KID):
            raise _invalid()
        if not isinstance(kind, str) or kind.lower() not in _TYPES or "crit" in header:
            raise _invalid()
        return algorithm, kid

    def _principal(self, claims: Mapping[str, Any]) -> Principal:
        client = claims.get(self.config.jwt_client_claim)
        times = [claims[name] for name in ("exp", "nbf", "iat") if name in claims]
        # The library takes texts and truth values for numbers, too.
        if any(type(time) not in {int, float} for time in times):
            raise _invalid()
        if not isinstance(client, str) or not 0 < len(client) <= _MAX_CLIENT:
            raise _invalid()
        # One that looks like another's, or like a command in the audit log, is nobody's.
        if not client.isprintable() or client != client.strip() or client.startswith(CLI_ACTOR):
            raise _invalid()
        given = claims.get(self.config.jwt_roles_claim)
        values = given.split() if isinstance(given, str) else given
        names = values if isinstance(values, list) else []
        roles = {role for role in Role if f"{self.config.jwt_role_prefix}{role}" in names}
        return Principal(client=client, roles=frozenset(roles), proof=Proof.JWT)


@asynccontextmanager
async def open_token_verifier(config: AuthConfig) -> AsyncIterator[TokenVerifier | None]:
    """Yield what checks tokens, if any are taken.

    The issuer need not be there at the start: until its keys can be had, tokens are
    answered with 503.
    """
    if not config.takes_tokens:
        yield None
    elif config.jwt_jwks_file is not None:
        yield TokenVerifier(config, KeySet(KeyFile(config.jwt_jwks_file), lifetime=FILE_LIFETIME))
    else:
        # No cookies, and no proxy from the environment.
        jar = aiohttp.DummyCookieJar()
        async with aiohttp.ClientSession(cookie_jar=jar, trust_env=False) as session:
            yield TokenVerifier(config, KeySet(KeyUrl(str(config.jwt_jwks_url), session)))


def _invalid() -> CredentialsInvalid:
    return CredentialsInvalid(
        "This token is not taken. Check its issuer, audience, algorithm and claims, or ask the"
        " operator what they must be."
    )
