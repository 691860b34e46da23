"""The headers of the OpenAPI document."""

from typing import Any

from imgsvc.web.prefer import MAX_WAIT

REQUEST_ID_EXAMPLE = "4f6c1f0e9d7b4a3c8e2d5b6a7f8091a2"


def header_parameter(
    name: str, description: str, example: str, *, required: bool = False, pattern: str | None = None
) -> dict[str, Any]:
    """Return a parameter that is a text in a header, of this form if there is one."""
    form = {} if pattern is None else {"pattern": pattern}
    return {
        "name": name,
        "in": "header",
        "required": required,
        "description": description,
        "schema": {"type": "string", **form},
        "example": example,
    }


def _answered(description: str, example: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string"}, "example": example}


CALLBACK_URL = {
    "name": "callbackUrl",
    "in": "header",
    "required": True,
    "description": (
        "Where to POST the result: an absolute http or https URL. watsonx Orchestrate fills it in."
    ),
    "schema": {"type": "string", "format": "uri"},
    "example": "https://example.com/callbacks/42",
}

REQUEST_ID_PARAMETER = header_parameter(
    "X-Request-Id",
    "An id for this request, at most 128 characters. It is answered, logged and sent with the"
    " callback; without one, the server makes its own.",
    REQUEST_ID_EXAMPLE,
)

_URL_OR_NONE = {"type": "string", "pattern": "^([Hh][Tt][Tt][Pp][Ss]?://.+)?$"}
"""Of a header that may also be there without a value, which is the same as none."""

SUBMIT_PARAMETERS: list[dict[str, Any]] = [
    CALLBACK_URL
    | {
        "required": False,
        "description": (
            "Where to POST the result: an absolute http or https URL. Required unless `Prefer` has"
            " `respond-async` or `wait`."
        ),
        "schema": _URL_OR_NONE,
    },
    header_parameter(
        "Prefer",
        "`respond-async`: no callback is needed. `wait=N`: answer with the result if the job ends"
        f" within N seconds, at most {MAX_WAIT} (RFC 7240).",
        "wait=30",
    ),
    header_parameter(
        "Idempotency-Key",
        "1 to 255 printable ASCII characters. Another request with the same key and the same body"
        " makes no other job, and gets the first one's answer.",
        "order-4711",
    ),
    REQUEST_ID_PARAMETER,
]
"""The headers of a request for a job."""

PROGRESS_URL = {
    "name": "progressUrl",
    "in": "header",
    "required": False,
    "description": (
        "Where to POST how far the batch is, at most every 10 seconds unless configured otherwise:"
        " the fields of `progress` of the job, with `event`, `job_id` and `status`. Sent once each,"
        " unsigned. Not the URL of the callback."
    ),
    "schema": _URL_OR_NONE,
    "example": "https://example.com/progress/42",
}

SUBMIT_HEADERS: dict[str, Any] = {
    "Preference-Applied": _answered("What counts of `Prefer`.", "wait=30"),
    "Idempotent-Replayed": _answered("`true` if the key came with an earlier request.", "true"),
}
"""The headers of an answer to such a request."""

LOCATION = _answered("The path of the job.", "/jobs/7d3a1c52-8f0b-4a6e-9d21-5c8e4b7f6a10")

ACCEPTED_HEADERS: dict[str, Any] = SUBMIT_HEADERS | {"Location": LOCATION}
"""The headers of an answer that comes before the job has ended."""

QUOTA_HEADERS: dict[str, Any] = {
    "RateLimit-Policy": _answered(
        "What the client is held to, if that is why; as structured fields.", '"requests";q=60;w=60'
    ),
    "RateLimit": _answered(
        "What is left of it, and in how many seconds all of it is there again.",
        '"requests";r=0;t=60',
    ),
}
"""The headers of a refusal by the limits of a client."""

CALLBACK_HEADERS = [
    header_parameter(
        "webhook-id",
        "The same on every delivery of this callback: use it to drop repetitions.",
        "msg_2f1d0a9c7b5e4d3f8a6b1c0e9d8f7a65",
        required=True,
    ),
    header_parameter(
        "webhook-timestamp",
        "When this delivery was sent, in seconds since 1970.",
        "1795478400",
        required=True,
    ),
    header_parameter(
        "webhook-signature",
        "Signatures as in Standard Webhooks, if the server has a signing secret.",
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    ),
    header_parameter(
        "X-Request-Id",
        "The id of the request that asked for it.",
        REQUEST_ID_EXAMPLE,
        required=True,
    ),
]
"""The headers of a callback."""
