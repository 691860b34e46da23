"""The operation that tells what happens to a job."""

from typing import Any

from imgsvc.errors import InvalidEventId, JobNotFound
from imgsvc.jobs.models import EventType
from imgsvc.web.openapi_headers import header_parameter
from imgsvc.web.openapi_parts import JOB_ID_EXAMPLE, problem_answers

_EVENT = {
    "type": "object",
    "description": "One event; the answer is a stream of them.",
    "properties": {
        "id": {"type": "string", "pattern": "^[0-9]+$"},
        "event": {"type": "string", "enum": [*EventType, "gap"]},
        "data": {"type": "string", "description": "A JSON object."},
    },
    "required": ["id", "event", "data"],
}

JOB_EVENTS: dict[str, Any] = {
    "operationId": "getJobEvents",
    "summary": "Follow what happens to a job",
    "description": (
        "Server-sent events, from the first or from the one behind Last-Event-ID, until the job"
        " has ended and its callback is delivered or given up."
    ),
    "tags": ["Jobs"],
    "parameters": [
        {
            "name": "job_id",
            "in": "path",
            "required": True,
            "description": "The job's id.",
            "schema": {"type": "string", "format": "uuid"},
            "example": JOB_ID_EXAMPLE,
        },
        header_parameter(
            "Last-Event-ID",
            "The `id` of the event that was read last: the story goes on behind it.",
            "3",
            pattern="^[0-9]{0,18}$",
        ),
    ],
    "responses": {
        "200": {
            "description": (
                "Events: `id` is a number that grows by one, `data` a JSON object whose `at` is the"
                " time. `event` is one of "
                + ", ".join(f"`{kind}`" for kind in EventType)
                + ", or `gap` where events are missing: those with the numbers `from` to `to`."
                " `partial_image` has an unfinished version of the image, at most 256 pixels wide"
                " and high, as `thumbnail_base64` of type `media_type`; see `stream_partials`."
                " `item_done`, at most five times a second, has how far a batch is: the fields of"
                " `progress` of the job."
            ),
            "content": {
                "text/event-stream": {
                    "schema": _EVENT,
                    "example": {
                        "id": "2",
                        "event": "started",
                        "data": '{"at":"2026-11-24T03:12:45.123456Z","attempt":1}',
                    },
                }
            },
        },
        "204": {"description": "The job is done with, and everything behind Last-Event-ID known."},
        **problem_answers(InvalidEventId, JobNotFound),
    },
}
