"""Tokens of an OAuth 2.0 issuer: signed JWTs (RFC 7519, RFC 8725, RFC 9068)."""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import jwt

from imgsvc.errors import CredentialsInvalid
from imgsvc.web.auth.client_names import ISSUED_CLIENT_PATTERN
from imgsvc.web.auth.config import AuthConfig
from imgsvc.web.auth.key_sets import FILE_LIFETIME, KeyFile, KeySet, KeyUrl
from imgsvc.web.auth.principal import Principal, Proof
from imgsvc.web.auth.roles import Role

MAX_TOKEN = 16 * 1024
"""Characters of a token."""

_MAX_KID = 256
_TYPES = frozenset({"jwt", "at+jwt", "application/at+jwt"})
_REQUIRED = ("exp", "aud", "iss")
_WRONG = (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError)
"""What the library raises for tokens made to be odd."""

_REASONS: Mapping[type[Exception], str] = {
    jwt.ExpiredSignatureError: "expired",
    jwt.ImmatureSignatureError: "not_yet_valid",
    jwt.InvalidAudienceError: "wrong_audience",
    jwt.InvalidIssuerError: "wrong_issuer",
    jwt.InvalidSignatureError: "bad_signature",
    jwt.MissingRequiredClaimError: "missing_claim",
}
"""What the operator's log says; of any other `malformed`."""


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
        if key is None:
            raise _invalid("unknown_kid")
        if key.algorithm not in {None, algorithm}:
            raise _invalid("wrong_algorithm")
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
            raise CredentialsInvalid(
                "This token has expired. Get a new one.", reason="expired"
            ) from exc
        except _WRONG as exc:
            claim = exc.claim if isinstance(exc, jwt.MissingRequiredClaimError) else None
            raise _invalid(_REASONS.get(type(exc), "malformed"), claim) from exc
        return self._principal(claims)

    def _checked(self, header: Mapping[str, Any]) -> tuple[str, str | None]:
        """Return algorithm and key name of a header that is one for us."""
        algorithm, kid, kind = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
        if not isinstance(algorithm, str) or algorithm not in self.config.jwt_algorithms:
            raise _invalid("wrong_algorithm")
        if kid is not None and (not isinstance(kid, str) or len(kid) > _MAX_KID):
            raise _invalid()
        if not isinstance(kind, str) or kind.lower() not in _TYPES or "crit" in header:
            raise _invalid("wrong_type")
        return algorithm, kid

    def _principal(self, claims: Mapping[str, Any]) -> Principal:
        for name in ("exp", "nbf", "iat"):
            # The library takes texts and truth values for numbers, too.
            if name in claims and type(claims[name]) not in {int, float}:
                raise _invalid("wrong_claim", name)
        of_client = self.config.jwt_client_claim
        if of_client not in claims:
            raise _invalid("missing_claim", of_client)
        client = claims[of_client]
        if not isinstance(client, str) or not re.fullmatch(ISSUED_CLIENT_PATTERN, client):
            raise _invalid("client_name", of_client)
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


def _invalid(reason: str = "malformed", claim: str | None = None) -> CredentialsInvalid:
    return CredentialsInvalid(
        "This token is not taken. Check its issuer, audience, algorithm and claims, or ask the"
        " operator what they must be.",
        reason=reason,
        claim=claim,
    )
