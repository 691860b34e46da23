"""The parts that the operations of the OpenAPI document are made of."""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from itertools import groupby
from operator import attrgetter
from typing import Any

from pydantic import BaseModel

from imgsvc.errors import ImgsvcError, InvalidRequest, JobFinished
from imgsvc.web.openapi_schemas import reference
from imgsvc.web.problems import MEDIA_TYPE
from imgsvc.web.schemas import Accepted, Problem

JOB_ID_EXAMPLE = "7d3a1c52-8f0b-4a6e-9d21-5c8e4b7f6a10"
REQUEST_ID_EXAMPLE = "4f6c1f0e9d7b4a3c8e2d5b6a7f8091a2"

REQUEST_ID_PARAMETER = {
    "name": "X-Request-Id",
    "in": "header",
    "required": False,
    "description": (
        "An id for this request, at most 128 characters. It is answered, logged and sent with the"
        " callback; without one, the server makes its own."
    ),
    "schema": {"type": "string"},
    "example": REQUEST_ID_EXAMPLE,
}

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

    def operation(self, *, full: bool) -> dict[str, Any]:
        """Return the operation object.

        The importer of watsonx Orchestrate makes an input of every parameter but
        `callbackUrl`, which it fills in itself. So the others are in the full document only.
        """
        accepted = {"accepted": True, "job_id": JOB_ID_EXAMPLE}
        return {
            "operationId": self.operation_id,
            "summary": self.summary,
            "description": self.description,
            "tags": ["Tools"],
            "parameters": [_CALLBACK_URL, *([REQUEST_ID_PARAMETER] if full else [])],
            "requestBody": {
                "required": True,
                "content": json_content(self.request, self.request_examples),
            },
            "responses": {
                "202": json_answer(
                    "The job is accepted. Its result comes by callback, under this job_id.",
                    Accepted,
                    accepted,
                ),
                **problem_answers(*self.refusals),
            },
            "callbacks": {
                "callback": {"{$request.header.callbackUrl}": {"post": self._callback(full=full)}}
            },
        }

    def _callback(self, *, full: bool) -> dict[str, Any]:
        return {
            "operationId": f"{self.operation_id}Callback",
            "summary": "Receive the result",
            "description": (
                "Sent once the job has ended, to the URL of the header callbackUrl. It is sent"
                " again, with the same webhook-id and body, until it is answered with 2xx."
            ),
            "parameters": _CALLBACK_HEADERS if full else [],
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
    if error is InvalidRequest:
        problem["errors"] = [{"field": "prompt", "message": "this field is required"}]
    return problem


def _default_message(error: type[ImgsvcError]) -> str:
    return " ".join((error.__doc__ or "").split())


def _examples(examples: Examples) -> dict[str, Any]:
    return {
        name: {"summary": summary, "value": value} for name, (summary, value) in examples.items()
    }


_CALLBACK_URL = {
    "name": "callbackUrl",
    "in": "header",
    "required": True,
    "description": (
        "Where to POST the result: an absolute http or https URL. watsonx Orchestrate fills it in."
    ),
    "schema": {"type": "string", "format": "uri"},
    "example": "https://example.com/callbacks/42",
}


def _callback_header(name: str, description: str, example: str, *, required: bool) -> Any:
    return {
        "name": name,
        "in": "header",
        "required": required,
        "description": description,
        "schema": {"type": "string"},
        "example": example,
    }


_CALLBACK_HEADERS = [
    _callback_header(
        "webhook-id",
        "The same on every delivery of this callback: use it to drop repetitions.",
        "msg_2f1d0a9c7b5e4d3f8a6b1c0e9d8f7a65",
        required=True,
    ),
    _callback_header(
        "webhook-timestamp",
        "When this delivery was sent, in seconds since 1970.",
        "1795478400",
        required=True,
    ),
    _callback_header(
        "webhook-signature",
        "Signatures as in Standard Webhooks, if the server has a signing secret.",
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        required=False,
    ),
    _callback_header(
        "X-Request-Id",
        "The id of the request that asked for it.",
        REQUEST_ID_EXAMPLE,
        required=True,
    ),
]
