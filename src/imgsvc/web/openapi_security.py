"""How the OpenAPI document says who may do what."""

from typing import Any

from imgsvc.errors import (
    ClientBlocked,
    ClientLimitReached,
    CredentialsAmbiguous,
    CredentialsInvalid,
    CredentialsMissing,
    DiskRefuses,
    ImgsvcError,
    RoleMissing,
    TokenKeysUnavailable,
    TooManyFailures,
)
from imgsvc.web.auth.guard import KEY_HEADER
from imgsvc.web.auth.rules import Rules
from imgsvc.web.openapi_parts import with_problems

REFUSALS: tuple[type[ImgsvcError], ...] = (
    ClientBlocked,
    ClientLimitReached,
    CredentialsAmbiguous,
    CredentialsInvalid,
    CredentialsMissing,
    RoleMissing,
    TooManyFailures,
    DiskRefuses,  # the record, where the keys are
    TokenKeysUnavailable,
)

_SCHEMES = {
    "apiKey": {"type": "apiKey", "in": "header", "name": KEY_HEADER},
    "bearer": {"type": "http", "scheme": "bearer"},
}

_CHALLENGE = {
    "WWW-Authenticate": {
        "description": "How to prove who one is (RFC 6750).",
        "required": True,
        "schema": {"type": "string"},
        "example": 'Bearer realm="imgsvc", error="invalid_token"',
    }
}


def protected(document: dict[str, Any], rules: Rules) -> dict[str, Any]:
    """Return the document with the ways to prove who one is, and where that is needed."""
    paths = {
        path: {
            method: _operation(operation, needs_key=not rules[method.upper(), path].is_public)
            for method, operation in item.items()
        }
        for path, item in document["paths"].items()
    }
    return document | {
        "paths": paths,
        "components": document["components"] | {"securitySchemes": _SCHEMES},
        "security": [{name: []} for name in _SCHEMES],
    }


def _operation(operation: dict[str, Any], *, needs_key: bool) -> dict[str, Any]:
    if not needs_key:
        return operation | {"security": []}
    guarded = with_problems(operation, *REFUSALS)
    answers = guarded["responses"]
    told = answers["401"] | {"headers": _CHALLENGE | answers["401"].get("headers", {})}
    return guarded | {"responses": answers | {"401": told}}
