"""What any request may be answered, whichever operation it is for."""

from typing import Any

from imgsvc.errors import ImgsvcError, MalformedRequest, RequestHeadTimeout, RequestHeadTooLarge
from imgsvc.web.openapi_headers import REQUEST_ID_EXAMPLE
from imgsvc.web.openapi_parts import with_problems

REFUSALS: tuple[type[ImgsvcError], ...] = (
    MalformedRequest,
    RequestHeadTimeout,
    RequestHeadTooLarge,
    ImgsvcError,
)

_HEADERS = {
    "X-Request-Id": {
        "description": "The id of this request, for the logs.",
        "required": True,
        "schema": {"type": "string"},
        "example": REQUEST_ID_EXAMPLE,
    },
}


def everywhere(paths: dict[str, Any]) -> dict[str, Any]:
    """Return the paths with the refusals and headers that all operations have."""
    return {
        path: {method: _operation(operation) for method, operation in item.items()}
        for path, item in paths.items()
    }


def _operation(operation: dict[str, Any]) -> dict[str, Any]:
    complete = with_problems(operation, *REFUSALS)
    answers = {
        status: answer | {"headers": _HEADERS | answer.get("headers", {})}
        for status, answer in complete["responses"].items()
    }
    return complete | {"responses": answers}
