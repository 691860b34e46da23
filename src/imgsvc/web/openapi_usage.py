"""The operation that tells what calls of image APIs have cost."""

from typing import Any

from imgsvc.errors import DiskRefuses, InvalidRequest
from imgsvc.jobs.ledger import Grouping
from imgsvc.web.openapi_parts import json_answer, problem_answers
from imgsvc.web.usage import DEFAULT_DAYS, UsageReportView

_SUMS = {
    "calls": 41,
    "images": 39,
    "text_tokens": 697,
    "image_tokens": 12_546,
    "output_tokens": 41_184,
    "cost_usd": 1.339373,
    "unknown_calls": 1,
    "held_usd": 0.136605,
}


def _day(name: str, description: str, example: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "query",
        "required": False,
        "description": description,
        "schema": {"type": "string", "format": "date"},
        "example": example,
    }


USAGE: dict[str, Any] = {
    "operationId": "getUsage",
    "summary": "See what image APIs have cost",
    "description": (
        "Adds up the calls of image APIs by day, client or model: tokens, images and US dollars."
        " A call belongs to the day, by UTC, on which it was begun."
    ),
    "tags": ["Operation"],
    "parameters": [
        _day(
            "from", f"The first day; {DEFAULT_DAYS} days with the last one if absent.", "2026-11-01"
        ),
        _day("to", "The last day, which counts too; today if absent.", "2026-11-30"),
        {
            "name": "group_by",
            "in": "query",
            "required": False,
            "description": "What a row stands for; a day if absent.",
            "schema": {"type": "string", "enum": list(Grouping)},
        },
    ],
    "responses": {
        "200": json_answer(
            "The sums.",
            UsageReportView,
            {
                "from": "2026-11-01",
                "to": "2026-11-30",
                "group_by": "model",
                "rows": [_SUMS | {"provider": "openai", "model": "gpt-image-2"}],
                "total": _SUMS,
            },
        ),
        **problem_answers(InvalidRequest, DiskRefuses),
    },
}
