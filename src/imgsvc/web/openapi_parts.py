"""The parts that the operations of the OpenAPI document are made of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import groupby
from operator import attrgetter
from typing import Any

from pydantic import BaseModel

from imgsvc.errors import (
    ClientLimitReached,
    ImgsvcError,
    InvalidRequest,
    JobFinished,
    NotAllowedForClient,
    PromptRejected,
)
from imgsvc.web.openapi_headers import (
    ACCEPTED_HEADERS,
    CALLBACK_HEADERS,
    CALLBACK_URL,
    QUOTA_HEADERS,
    REQUEST_ID_EXAMPLE,
    SUBMIT_HEADERS,
    SUBMIT_PARAMETERS,
)
from imgsvc.web.openapi_schemas import reference
from imgsvc.web.problems import MEDIA_TYPE
from imgsvc.web.schemas import Accepted, Problem

JOB_ID_EXAMPLE = "7d3a1c52-8f0b-4a6e-9d21-5c8e4b7f6a10"

JOB_LINKS = {
    operation_id: {
        "operationId": operation_id,
        "description": "With the job_id of this answer.",
        "parameters": {"job_id": "$response.body#/job_id"},
    }
    for operation_id in (
        "getJob",
        "getJobEvents",
        "getJobResult",
        "listJobItems",
        "cancelJob",
        "retryJob",
        "redeliverCallback",
    )
}
"""What can be asked about a job that an answer names."""

Examples = Mapping[str, tuple[str, dict[str, Any]]]
"""Summary and value of examples, by a short name."""


def json_content(model: type[BaseModel], examples: Examples) -> dict[str, Any]:
    """Return the content of a body that is one JSON document."""
    return {"application/json": {"schema": reference(model), "examples": _examples(examples)}}


def json_answer(
    description: str, model: type[BaseModel], example: dict[str, Any]
) -> dict[str, Any]:
    """Return an answer whose body is one JSON document."""
    content = {"schema": reference(model), "example": example}
    return {"description": description, "content": {"application/json": content}}


def problem_answers(*errors: type[ImgsvcError]) -> dict[str, Any]:
    """Return the answers for these errors, by status; each lists its codes."""
    by_status = groupby(sorted(errors, key=attrgetter("status")), key=attrgetter("status"))
    return {str(status): _problem_answer(status, list(group)) for status, group in by_status}


def with_problems(operation: dict[str, Any], *errors: type[ImgsvcError]) -> dict[str, Any]:
    """Return an operation that may be refused for these errors too."""
    answers = dict(operation["responses"])
    told = {code for answer in answers.values() for code in _codes(answer)}
    for status, answer in problem_answers(*(e for e in errors if e.code not in told)).items():
        answers[status] = _both(answers[status], answer) if status in answers else answer
    return operation | {"responses": dict(sorted(answers.items()))}


def _codes(answer: dict[str, Any]) -> dict[str, Any]:
    """Return the problems that an answer may be, by their codes."""
    examples: dict[str, Any] = answer.get("content", {}).get(MEDIA_TYPE, {}).get("examples", {})
    return examples


def _both(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Return one answer for the problems of two with the same status."""
    content = one["content"][MEDIA_TYPE]
    lines = other["description"].partition("\n\n")[2]
    both = one | {
        "description": f"{one['description']}\n{lines}",
        "content": {MEDIA_TYPE: content | {"examples": _codes(one) | _codes(other)}},
    }
    headers = other.get("headers", {}) | one.get("headers", {})
    return both | ({"headers": headers} if headers else {})


@dataclass(frozen=True, kw_only=True, slots=True)
class Tool:
    """An operation that is accepted with 202 and answered by one callback."""

    path: str
    operation_id: str
    summary: str
    description: str
    request: type[BaseModel]
    callback: type[BaseModel]
    request_examples: Examples
    callback_examples: Examples
    refusals: tuple[type[ImgsvcError], ...]  # what may be answered at once, in place of 202
    preview: type[BaseModel] | None = None  # the answer to a dry run, if there can be one
    preview_examples: Examples = field(default_factory=dict)
    headers: tuple[dict[str, Any], ...] = ()  # parameters that only this one has

    def operation(self, *, full: bool) -> dict[str, Any]:
        """Return the operation object.

        The importer of watsonx Orchestrate makes an input of every parameter but
        `callbackUrl`, which it fills in itself. So the others are in the full document only.
        """
        accepted = json_answer(
            "The job is accepted. Its result comes by callback, under this job_id.",
            Accepted,
            {"accepted": True, "job_id": JOB_ID_EXAMPLE},
        )
        return {
            "operationId": self.operation_id,
            "summary": self.summary,
            "description": self.description,
            "tags": ["Tools"],
            "parameters": [*SUBMIT_PARAMETERS, *self.headers] if full else [CALLBACK_URL],
            "requestBody": {
                "required": True,
                "content": json_content(self.request, self.request_examples),
            },
            "responses": {
                **({"200": self._result()} if full else {}),
                "202": accepted
                | ({"headers": ACCEPTED_HEADERS, "links": JOB_LINKS} if full else {}),
                **problem_answers(*self.refusals),
            },
            "callbacks": {
                "callback": {"{$request.header.callbackUrl}": {"post": self._callback(full=full)}}
            },
        }

    def _result(self) -> dict[str, Any]:
        """Return the answer 200, which agents never get: the importer would wait for no callback.

        One of a dry run is told apart by its field `dry_run`.
        """
        description = (
            "With `Prefer: wait`, if the job has ended meanwhile: the body of its callback."
        )
        content = json_content(self.callback, self.callback_examples)
        if self.preview is not None:
            description += " With `dry_run`: what would be done."
            content = json_content(
                self.preview, {**self.callback_examples, **self.preview_examples}
            )
            schemas = [reference(self.callback), reference(self.preview)]
            content["application/json"]["schema"] = {"anyOf": schemas}
        return {"description": description, "headers": SUBMIT_HEADERS, "content": content}

    def _callback(self, *, full: bool) -> dict[str, Any]:
        return {
            "operationId": f"{self.operation_id}Callback",
            "summary": "Receive the result",
            "description": (
                "Sent once the job has ended, to the URL of the header callbackUrl. It is sent"
                " again, with the same webhook-id and body, until it is answered with 2xx."
            ),
            "parameters": CALLBACK_HEADERS if full else [],
            "requestBody": {
                "required": True,
                "content": json_content(self.callback, self.callback_examples),
            },
            "responses": {"200": {"description": "The result has arrived. Any 2xx will do."}},
        }


def _problem_answer(status: int, errors: list[type[ImgsvcError]]) -> dict[str, Any]:
    lines = [f"- `{error.code}`: {_default_message(error)}" for error in errors]
    examples = {error.code: (error.title, _problem(error)) for error in errors}
    answer: dict[str, Any] = {
        "description": f"{HTTPStatus(status).phrase}\n\n" + "\n".join(lines),
        "content": {MEDIA_TYPE: {"schema": reference(Problem), "examples": _examples(examples)}},
    }
    waits = [error.retry_after for error in errors if error.retry_after is not None]
    if waits:
        answer["headers"] = {
            "Retry-After": {
                "description": "How many seconds to wait before the next try.",
                "schema": {"type": "integer"},
                "example": waits[0],
            }
        }
    if ClientLimitReached in errors:
        answer["headers"] |= QUOTA_HEADERS
    return answer


def _problem(error: type[ImgsvcError]) -> dict[str, Any]:
    problem: dict[str, Any] = {
        "type": f"urn:imgsvc:problem:{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": _default_message(error),
        "code": error.code,
        "request_id": REQUEST_ID_EXAMPLE,
    }
    if error is JobFinished:
        problem["state"] = "completed"
    if error is ClientLimitReached:
        problem |= {"detail": ClientLimitReached("max_queued_jobs", 100).message}
        problem["rule"] = "max_queued_jobs"
    if error is NotAllowedForClient:
        refusal = NotAllowedForClient("max_priority", [5], "priority 9")
        problem |= {"detail": refusal.message, "rule": refusal.rule, "allowed": [5]}
    if error is PromptRejected:
        problem |= {"detail": PromptRejected(["violence"]).message, "categories": ["violence"]}
    if error is InvalidRequest:
        problem["errors"] = [{"field": "prompt", "message": "this field is required"}]
    return problem


def _default_message(error: type[ImgsvcError]) -> str:
    return " ".join((error.__doc__ or "").split())


def _examples(examples: Examples) -> dict[str, Any]:
    return {
        name: {"summary": summary, "value": value} for name, (summary, value) in examples.items()
    }
