"""How the OpenAPI document says who may do what."""

from typing import Any

from imgsvc.errors import (
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
from imgsvc.web.openapi_parts import problem_answers
from imgsvc.web.problems import MEDIA_TYPE

REFUSALS: tuple[type[ImgsvcError], ...] = (
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
    answers = dict(operation["responses"])
    told = {code for answer in answers.values() for code in _examples(answer)}
    refusals = [error for error in REFUSALS if error.code not in told]
    for status, answer in problem_answers(*refusals).items():
        answers[status] = _both(answers[status], answer) if status in answers else answer
    return operation | {"responses": dict(sorted(answers.items()))}


def _examples(answer: dict[str, Any]) -> dict[str, Any]:
    """Return the problems that an answer may be, by their codes."""
    examples: dict[str, Any] = answer.get("content", {}).get(MEDIA_TYPE, {}).get("examples", {})
    return examples


def _both(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Return one answer for the problems of two with the same status."""
    content = one["content"][MEDIA_TYPE]
    examples = content["examples"] | other["content"][MEDIA_TYPE]["examples"]
    lines = other["description"].partition("\n\n")[2]
    return one | {
        "description": f"{one['description']}\n{lines}",
        "content": {MEDIA_TYPE: content | {"examples": examples}},
    }
