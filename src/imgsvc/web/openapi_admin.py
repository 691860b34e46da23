"""The operations for admins."""

from typing import Any

from pydantic import BaseModel

from imgsvc.errors import DiskRefuses, InvalidCursor, InvalidRequest
from imgsvc.jobs.audit import Action
from imgsvc.web.audit_log import AuditPage
from imgsvc.web.job_query import MAX_PAGE
from imgsvc.web.openapi_parts import json_answer, problem_answers

ADMIN_ANSWERS: tuple[type[BaseModel], ...] = (AuditPage,)


def admin_paths() -> dict[str, Any]:
    """Return the paths that take the role admin."""
    return {"/audit": {"get": _AUDIT}}


def _query(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "in": "query",
        "required": False,
        "description": description,
        "schema": schema,
    }


_TIME = {"type": "string", "example": "2026-11-24T00:00:00Z"}

_AUDIT = {
    "operationId": "listAuditRows",
    "summary": "See who did what",
    "description": (
        "Shows what was done to jobs and keys, and what was refused, the newest first, a page at a"
        " time: follow `next_cursor`, with the same filters, until there is none."
    ),
    "tags": ["Administration"],
    "parameters": [
        _query("actor", "Only what this client did.", {"type": "string", "maxLength": 200}),
        _query("action", "Only this.", {"type": "string", "enum": list(Action)}),
        _query(
            "target", "Only what was done to this job or key.", {"type": "string", "maxLength": 100}
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
