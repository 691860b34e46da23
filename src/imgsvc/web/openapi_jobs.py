"""The operations on jobs: two that agents can use, and the rest."""

from typing import Any

from pydantic import BaseModel

from imgsvc.errors import (
    CallbackNotSettled,
    DiskRefuses,
    ImgsvcError,
    JobFinished,
    JobHasNoResult,
    JobNotFinished,
    JobNotFound,
    JobNotRetryable,
    PayloadLost,
    QueueFull,
    ResultGone,
    ShuttingDown,
    SpoolFull,
)
from imgsvc.web.item_view import ItemPage
from imgsvc.web.job_view import JobPage, JobView
from imgsvc.web.openapi_headers import LOCATION
from imgsvc.web.openapi_lists import list_items, list_jobs
from imgsvc.web.openapi_parts import (
    JOB_ID_EXAMPLE,
    JOB_LINKS,
    json_answer,
    json_content,
    problem_answers,
)
from imgsvc.web.openapi_schemas import reference
from imgsvc.web.results import StoredResultView
from imgsvc.web.schemas import Retried

AGENT_JOB_ANSWERS: tuple[type[BaseModel], ...] = (JobView,)
JOB_ANSWERS: tuple[type[BaseModel], ...] = (
    JobView,
    JobPage,
    ItemPage,
    StoredResultView,
    Retried,
)


def job_paths(*, full: bool) -> dict[str, Any]:
    """Return the paths of jobs: those that help an agent, or all."""
    for_agents = {
        "/jobs/{job_id}": {"get": _GET},
        "/jobs/{job_id}/cancel": {"post": _CANCEL},
    }
    if not full:
        return for_agents
    return {
        "/jobs": {"get": list_jobs(_COMPLETED)},
        **for_agents,
        "/jobs/{job_id}/items": {"get": list_items(_JOB_ID)},
        "/jobs/{job_id}/result": {"get": _RESULT},
        "/jobs/{job_id}/retry": {"post": _RETRY},
        "/jobs/{job_id}/callback/redeliver": {"post": _REDELIVER},
    }


_LINK = f"https://images.example.com/jobs/{JOB_ID_EXAMPLE}"
_RUNNING = {
    "job_id": JOB_ID_EXAMPLE,
    "kind": "image_to_storage",
    "state": "running",
    "priority": 5,
    "attempts": 1,
    "accepted_at": "2026-11-24T03:12:41.250000Z",
    "started_at": "2026-11-24T03:12:41.260000Z",
    "filename": "photo.png",
    "callback": {"state": "none", "host": "example.com"},
    "links": {"self": _LINK, "events": f"{_LINK}/events", "cancel": f"{_LINK}/cancel"},
}
_COMPLETED = {
    **_RUNNING,
    "state": "completed",
    "finished_at": "2026-11-24T03:12:58.500000Z",
    "provider": "openai",
    "fallback": False,
    "callback": {"state": "delivered", "host": "example.com"},
    "links": {
        "self": _LINK,
        "events": f"{_LINK}/events",
        "result": f"{_LINK}/result",
        "redeliver": f"{_LINK}/callback/redeliver",
    },
}
_BATCH_RUNNING = {
    "job_id": JOB_ID_EXAMPLE,
    "kind": "batch",
    "state": "running",
    "priority": 5,
    "attempts": 1,
    "accepted_at": "2026-11-24T03:12:41.250000Z",
    "started_at": "2026-11-24T03:12:41.260000Z",
    "progress": {
        "done": 407,
        "failed": 3,
        "total": 1500,
        "total_is_final": True,
        "rate": 2.61,
        "seconds_left": 418.8,
    },
    "callback": {"state": "none", "host": "example.com", "attempts": []},
    "links": {
        "self": _LINK,
        "events": f"{_LINK}/events",
        "items": f"{_LINK}/items",
        "cancel": f"{_LINK}/cancel",
    },
}
_COMPLETED_ALONE = {
    **_COMPLETED,
    "callback": {
        "state": "delivered",
        "host": "example.com",
        "attempts": [
            {
                "number": 1,
                "at": "2026-11-24T03:12:58.510000Z",
                "verdict": "delivered",
                "duration": 0.041,
                "status": 200,
                "answer": "ok",
            }
        ],
    },
}
_STOPPING = {**_RUNNING, "cancel_requested": True}
_CANCELLED = {
    **_RUNNING,
    "state": "cancelled",
    "finished_at": "2026-11-24T03:12:50.750000Z",
    "provider": "openai",
    "fallback": False,
    "error": (
        "JobCancelled: The job was cancelled. Retry it, or submit it again, if the result is still"
        " wanted."
    ),
    "callback": {
        "state": "pending",
        "host": "example.com",
        "next_attempt_at": "2026-11-24T03:12:50.750000Z",
    },
    "links": {"self": _LINK, "events": f"{_LINK}/events"},
}

_JOB_ID = {
    "name": "job_id",
    "in": "path",
    "required": True,
    "description": "The job's id, as the answer to the accepted request gave it.",
    "schema": {"type": "string", "format": "uuid"},
    "example": JOB_ID_EXAMPLE,
}


def _operation(
    operation_id: str,
    summary: str,
    description: str,
    answers: dict[str, Any],
    refusals: tuple[type[ImgsvcError], ...],
) -> dict[str, Any]:
    """Return an operation on one job."""
    return {
        "operationId": operation_id,
        "summary": summary,
        "description": description,
        "tags": ["Jobs"],
        "parameters": [_JOB_ID],
        "responses": {**answers, **problem_answers(JobNotFound, DiskRefuses, *refusals)},
    }


_GET = _operation(
    "getJob",
    "See how an image job stands",
    "Tells how far the job with this id has come: `state` is `queued`, `running`, `completed`,"
    " `completed_with_errors`, `failed` or `cancelled`. Choose this tool when the user asks what"
    " has become of an edit and you know its `job_id`. It brings no image, and there is no need to"
    " call it again and again: the result comes by callback.\n\n"
    "What comes back: once the job has ended, `error` says what went wrong, if anything did, and"
    " `fallback` is true if the simpler local engine did the edit. `callback` says whether the"
    " result was delivered. Of a batch, `progress` has how many images are done and failed, of"
    " how many, and `seconds_left`.",
    {
        "200": {
            "description": "The job.",
            "content": json_content(
                JobView,
                {
                    "running": ("In work", _RUNNING),
                    "batch": ("A batch in work", _BATCH_RUNNING),
                    "completed": ("Done", _COMPLETED_ALONE),
                },
            ),
        }
    },
    (),
)

_RESULT = _operation(
    "getJobResult",
    "Get a job's result",
    "Answers with the edited image itself if the callback carried it, else with a fresh link to"
    " the stored image, or to a batch's manifest. It works as long as the job is kept, so longer"
    " than the link in the callback.",
    {
        "200": {
            "description": "The image, or where it is.",
            "content": {
                "image/*": {"schema": {"type": "string", "format": "binary"}},
                "application/json": {
                    "schema": reference(StoredResultView),
                    "example": {
                        "object_key": f"results/{JOB_ID_EXAMPLE}/photo_modified.png",
                        "result_url": (
                            f"https://s3.example.com/output/results/{JOB_ID_EXAMPLE}"
                            "/photo_modified.png?X-Amz-Expires=3600&X-Amz-Signature=4567cdef"
                        ),
                        "expires_in": 3600,
                    },
                },
            },
        }
    },
    (JobNotFinished, JobHasNoResult, ResultGone),
)

_CANCEL = _operation(
    "cancelJob",
    "Stop an image job",
    "Stops the job with this id, whose result is then no longer wanted. Choose this tool only when"
    " the user asks to stop an edit that was begun, and you know its `job_id`.\n\n"
    "What comes back: the job. Its `state` is `cancelled`, or `running` with `cancel_requested` if"
    " it takes a moment longer. Images that a batch has finished by then stay. A job that has"
    " ended already cannot be stopped: the answer is 409, with its state.",
    {
        "200": json_answer("The job is cancelled.", JobView, _CANCELLED),
        "202": json_answer("The job was told to stop, and still runs.", JobView, _STOPPING),
    },
    (JobFinished,),
)

_RETRY = _operation(
    "retryJob",
    "Do a job again",
    "Makes a new job that does the same, with a callback of its own to the same URL. For jobs that"
    " failed, were cancelled or ended with errors. An image that came with the request is kept"
    " only if the job has failed. Of a batch, only the images without a result are done, into the"
    " folder of the first job; counters and manifest are those of the whole.",
    {
        "202": json_answer(
            "The new job is accepted.",
            Retried,
            {
                "accepted": True,
                "job_id": "c1f7a3de-52b0-4f7e-9a41-0d6b8c2e7f35",
                "retry_of": JOB_ID_EXAMPLE,
            },
        )
        | {"headers": {"Location": LOCATION}, "links": JOB_LINKS}
    },
    (JobNotRetryable, PayloadLost, QueueFull, SpoolFull, DiskRefuses, ShuttingDown),
)

_REDELIVER = _operation(
    "redeliverCallback",
    "Send a job's callback again",
    "Sends the callback once more, with the same webhook-id and body and the whole schedule ahead"
    " of it. For callbacks that were delivered or given up (`dead`).",
    {
        "202": json_answer(
            "The callback is due.",
            JobView,
            {
                **_COMPLETED,
                "callback": {
                    "state": "pending",
                    "host": "example.com",
                    "next_attempt_at": "2026-11-24T09:30:00Z",
                },
                "links": {
                    "self": _LINK,
                    "events": f"{_LINK}/events",
                    "result": f"{_LINK}/result",
                },
            },
        )
    },
    (CallbackNotSettled,),
)
