"""The operations for admins: keys of callers, the audit log, the configuration."""

from typing import Any

from pydantic import BaseModel

from imgsvc.errors import (
    ApiKeyNotFound,
    ApiKeyRevoked,
    ApiKeysNotInForce,
    BodyTimeout,
    BodyTooLarge,
    ControlCharacter,
    DiskRefuses,
    InvalidCursor,
    InvalidJson,
    InvalidRequest,
    UnsupportedMediaType,
)
from imgsvc.jobs.audit import Action
from imgsvc.web.audit_log import AuditPage
from imgsvc.web.auth.api_keys import ID_PATTERN
from imgsvc.web.job_query import MAX_PAGE
from imgsvc.web.key_admin import KeyList, KeyRequest, KeyView, NewKeyView, RotateRequest
from imgsvc.web.openapi_parts import json_answer, json_content, problem_answers

ADMIN_REQUESTS: tuple[type[BaseModel], ...] = (KeyRequest, RotateRequest)
ADMIN_ANSWERS: tuple[type[BaseModel], ...] = (AuditPage, KeyList, KeyView, NewKeyView)

_BODY_REFUSALS = (
    InvalidJson,
    ControlCharacter,
    BodyTimeout,
    BodyTooLarge,
    UnsupportedMediaType,
    InvalidRequest,
)

_KEY = {
    "id": "k3v9x2m7qa",
    "client": "shop",
    "roles": ["submit", "read"],
    "state": "valid",
    "created_at": "2026-11-26T09:00:00Z",
    "expires_at": "2027-11-26T00:00:00Z",
}
_NEW_KEY = _KEY | {"key": "imgsvc_k3v9x2m7qa_EXAMPLE-EXAMPLE-EXAMPLE-EXAMPLE-EXAMPLE-EXA"}


def admin_paths() -> dict[str, Any]:
    """Return the paths that take the role admin."""
    return {
        "/config": {"get": _CONFIG},
        "/audit": {"get": _AUDIT},
        "/keys": {"get": _LIST_KEYS, "post": _CREATE_KEY},
        "/keys/{key_id}/rotate": {"post": _ROTATE_KEY},
        "/keys/{key_id}/revoke": {"post": _REVOKE_KEY},
    }


def _query(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "in": "query",
        "required": False,
        "description": description,
        "schema": schema,
    }


_TIME = {"type": "string", "example": "2026-11-24T00:00:00Z"}

_CONFIG = {
    "operationId": "getConfig",
    "summary": "See the configuration",
    "description": "Shows every setting in force, under its name; secrets are `**********`.",
    "tags": ["Administration"],
    "responses": {
        "200": {
            "description": "The settings.",
            "content": {"application/json": {"schema": {"type": "object"}}},
        }
    },
}

_AUDIT = {
    "operationId": "listAuditRows",
    "summary": "See who did what",
    "description": (
        "Shows what was done to jobs and keys, and what was refused, the newest first, a page at a"
        " time: follow `next_cursor`, with the same filters, until there is none."
    ),
    "tags": ["Administration"],
    "parameters": [
        _query(
            "actor",
            "Only what this client did.",
            {"type": "string", "minLength": 1, "maxLength": 200},
        ),
        _query("action", "Only this.", {"type": "string", "enum": list(Action)}),
        _query(
            "target",
            "Only what was done to this job or key.",
            {"type": "string", "minLength": 1, "maxLength": 100},
        ),
        _query(
            "outcome",
            "Only what ended so: `done`, or the code of a problem.",
            {"type": "string", "minLength": 1, "maxLength": 100, "example": "job_not_found"},
        ),
        _query("since", "Only then or later: ISO 8601 or seconds since 1970.", _TIME),
        _query("until", "Only before then.", _TIME),
        _query(
            "limit",
            "Rows on one page; 50 without it.",
            {"type": "integer", "minimum": 1, "maximum": MAX_PAGE, "example": 50},
        ),
        _query("cursor", "`next_cursor` of the page before.", {"type": "string"}),
    ],
    "responses": {
        "200": json_answer(
            "A page of rows.",
            AuditPage,
            {
                "rows": [
                    {
                        "number": 42,
                        "at": "2026-11-26T09:00:00Z",
                        "actor": "ops",
                        "proof": "api_key",
                        "key_id": "k3v9x2m7qa",
                        "address": "192.0.2.7",
                        "request_id": "4f6c1f0e9d7b4a3c8e2d5b6a7f8091a2",
                        "action": "job.cancel",
                        "target": "7d3a1c52-8f0b-4a6e-9d21-5c8e4b7f6a10",
                        "outcome": "done",
                        "details": {"client": "shop"},
                    }
                ],
                "next_cursor": "AAAAAAAAACqO7n4yZ3VhhQd2nJ6k0cLx",
            },
        ),
        **problem_answers(InvalidCursor, InvalidRequest, DiskRefuses),
    },
}

_LIST_KEYS = {
    "operationId": "listKeys",
    "summary": "List the keys of callers",
    "description": "Shows all keys, the oldest first, without their secrets.",
    "tags": ["Administration"],
    "responses": {
        "200": json_answer("The keys.", KeyList, {"keys": [_KEY]}),
        **problem_answers(DiskRefuses),
    },
}

_KEY_ID = {
    "name": "key_id",
    "in": "path",
    "required": True,
    "description": "The id of the key, which is in the list.",
    "schema": {"type": "string", "pattern": f"^{ID_PATTERN}$"},
    "example": _KEY["id"],
}

_CREATE_KEY = {
    "operationId": "createKey",
    "summary": "Make a key",
    "description": "Makes a key and shows it this once: only a digest of its secret is kept.",
    "tags": ["Administration"],
    "requestBody": {
        "required": True,
        "content": json_content(
            KeyRequest,
            {
                "a year": (
                    "A key for a year",
                    {k: _KEY[k] for k in ("client", "roles", "expires_at")},
                )
            },
        ),
    },
    "responses": {
        "201": json_answer("The key.", NewKeyView, _NEW_KEY),
        **problem_answers(*_BODY_REFUSALS, ApiKeysNotInForce, DiskRefuses),
    },
}

_ROTATE_KEY = {
    "operationId": "rotateKey",
    "summary": "Replace a key",
    "description": (
        "Makes a key of the same client and roles and shows it this once; the old one works on for"
        " a while. The body may be left out."
    ),
    "tags": ["Administration"],
    "parameters": [_KEY_ID],
    "requestBody": {
        "required": False,
        "content": json_content(
            RotateRequest, {"an hour": ("Within an hour", {"overlap_seconds": 3600})}
        ),
    },
    "responses": {
        "201": json_answer("The new key.", NewKeyView, _NEW_KEY),
        **problem_answers(
            *_BODY_REFUSALS, ApiKeyNotFound, ApiKeyRevoked, ApiKeysNotInForce, DiskRefuses
        ),
    },
}

_REVOKE_KEY = {
    "operationId": "revokeKey",
    "summary": "End a key",
    "description": "Ends a key at once and for good. One that is revoked stays so.",
    "tags": ["Administration"],
    "parameters": [_KEY_ID],
    "responses": {
        "200": json_answer(
            "The key as it is now.",
            KeyView,
            _KEY | {"state": "revoked", "revoked_at": "2026-11-26T10:00:00Z"},
        ),
        **problem_answers(ApiKeyNotFound, ApiKeysNotInForce, DiskRefuses),
    },
}
