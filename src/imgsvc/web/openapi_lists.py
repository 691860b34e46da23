"""The operations that list jobs, and what a batch consists of."""

from collections.abc import Iterable
from typing import Any

from imgsvc.errors import DiskRefuses, InvalidCursor, InvalidRequest, JobNotFound
from imgsvc.jobs.items import ItemState
from imgsvc.jobs.models import CallbackState, JobKind, JobState
from imgsvc.web.item_view import ItemPage
from imgsvc.web.job_query import MAX_PAGE
from imgsvc.web.job_view import JobPage
from imgsvc.web.openapi_parts import JOB_ID_EXAMPLE, json_answer, problem_answers


def list_jobs(example: Any) -> dict[str, Any]:
    """Return the operation that lists jobs, with one as example."""
    return {
        "operationId": "listJobs",
        "summary": "List jobs",
        "description": (
            "Shows jobs, the newest first, a page at a time. Pages stay correct while jobs are"
            " added: follow `next_cursor`, with the same filters, until there is none."
        ),
        "tags": ["Jobs"],
        "parameters": [
            _filter("state", "Only jobs in this state.", JobState),
            _filter("kind", "Only jobs of this kind.", JobKind),
            _filter("callback", "Only jobs whose callback stands so.", CallbackState),
            _query(
                "since",
                "Only jobs accepted then or later: ISO 8601 (UTC, if it names no zone) or seconds"
                " since 1970.",
                {"type": "string", "example": "2026-11-24T00:00:00Z"},
            ),
            _limit("Jobs"),
            _query("cursor", "`next_cursor` of the page before.", {"type": "string"}),
        ],
        "responses": {
            "200": json_answer(
                "A page of jobs.",
                JobPage,
                {"jobs": [example], "next_cursor": "AAAAAAAAAAfO7n4yZ3VhhQd2nJ6k0cLx"},
            ),
            **problem_answers(InvalidCursor, InvalidRequest, DiskRefuses),
        },
    }


def list_items(job_id: dict[str, Any]) -> dict[str, Any]:
    """Return the operation that lists items, given the parameter `job_id`."""
    return {
        "operationId": "listJobItems",
        "summary": "List the objects of a batch",
        "description": (
            "Shows what has become of each object of a batch so far, in the order of the listing:"
            " the rows that its manifest has in the end. A job for a single image has none."
        ),
        "tags": ["Jobs"],
        "parameters": [
            job_id,
            _filter("state", "Only objects in this state.", ItemState),
            _limit("Objects"),
            _query("cursor", "`next_cursor` of the page before.", {"type": "string"}),
        ],
        "responses": {
            "200": json_answer("A page of objects.", ItemPage, _ITEMS),
            **problem_answers(InvalidCursor, InvalidRequest, JobNotFound, DiskRefuses),
        },
    }


_ITEMS = {
    "items": [
        {
            "input_key": "input/lake.jpg",
            "state": "processed",
            "output_key": f"output/{JOB_ID_EXAMPLE}/lake_modified.png",
            "provider": "openai",
            "model": "gpt-image-2",
            "bytes": 2638345,
            "attempts": 1,
            "seconds": 21.698,
            "cost_usd": 0.041,
        },
        {"input_key": "input/trip.jpg", "state": "pending", "seconds": 0.0},
    ],
    "next_cursor": "AAAAAAAAAALO7n4yZ3VhhQd2nJ6k0cLx",
}


def _limit(rows: str) -> dict[str, Any]:
    schema = {"type": "integer", "minimum": 1, "maximum": MAX_PAGE, "example": 50}
    return _query("limit", f"{rows} on one page; 50 without it.", schema)


def _filter(name: str, description: str, words: Iterable[str]) -> dict[str, Any]:
    schema = {"type": "string", "enum": list(words)}
    return _query(name, description, schema)


def _query(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "in": "query",
        "required": False,
        "description": description,
        "schema": schema,
    }
