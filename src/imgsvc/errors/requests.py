"""The caller's request cannot be taken."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from imgsvc.errors.base import FieldError, ImgsvcError


class RequestError(ImgsvcError):
    """The request cannot be understood."""

    status = 400
    code = "bad_request"
    title = "Bad request"


class MalformedRequest(RequestError):
    """What was sent is not a well-formed HTTP request, or has too many headers."""

    code = "malformed_request"
    title = "Malformed request"


class RequestHeadTooLarge(RequestError):
    """The request line or a header is too long, or there are too many. Shorten it."""

    status = 431
    code = "request_head_too_large"
    title = "Request head too large"


class RequestHeadTimeout(RequestError):
    """The head of the request did not arrive in time. Send it again, faster."""

    status = 408
    code = "request_head_timeout"
    title = "Request head timed out"


class InvalidJson(RequestError):
    """The body is not valid JSON. Send one JSON object, encoded as UTF-8."""

    code = "invalid_json"
    title = "Invalid JSON"


class ControlCharacter(RequestError):
    """A text holds a control character. Only a prompt may have lines and tabs."""

    code = "control_character"
    title = "Control character"


class InvalidRequest(RequestError):
    """The request has wrong fields."""

    status = 422
    code = "invalid_request"
    title = "Invalid request"

    def __init__(self, errors: Sequence[FieldError]) -> None:
        self.errors = tuple(errors)
        summary = "; ".join(f"{error.field}: {error.message}" for error in self.errors[:5])
        super().__init__(f"{type(self).__doc__} {summary.rstrip('.')}.")

    def __reduce__(self) -> tuple[type["InvalidRequest"], tuple[Sequence[FieldError]]]:
        """Come whole out of an image process: by default an exception is made anew of its text."""
        return type(self), (self.errors,)


class ModelNotOffered(InvalidRequest):
    """No provider of this server has the model."""

    code = "model_not_offered"
    title = "Model not offered"


class NotOfferedByModel(InvalidRequest):
    """The model cannot do what the request asks for."""

    code = "not_offered_by_model"
    title = "Not offered by the model"


class InvalidBase64(RequestError):
    """The value is not base64. Send the standard or URL-safe alphabet, without line noise."""

    code = "invalid_base64"
    title = "Invalid base64"


class MissingCallbackUrl(RequestError):
    """The header callbackUrl is missing. Send the URL that shall receive the result.

    Without one, send the header `Prefer: respond-async`, and ask for the result.
    """

    code = "missing_callback_url"
    title = "Missing callbackUrl"


class InvalidUrl(RequestError):
    """The URL is malformed. Send an absolute http or https URL."""

    code = "invalid_url"
    title = "Invalid URL"


class ForbiddenUrl(RequestError):
    """The URL leads to an address that this server may not call.

    An operator can open it: callbacks.allow_networks or callbacks.allow_hosts.
    """

    code = "forbidden_url"
    title = "URL not allowed"


@contextmanager
def naming(place: str) -> Iterator[None]:
    """Say in refusals of a URL which header or field it came in."""
    try:
        yield
    except (InvalidUrl, ForbiddenUrl) as exc:
        raise type(exc)(f"{place}: {exc.message}") from exc


class BucketNotAllowed(RequestError):
    """This server does not use the bucket. An operator can name it in `storage.allow_buckets`."""

    status = 403
    code = "bucket_not_allowed"
    title = "Bucket not allowed"


class NotFound(RequestError):
    """There is nothing at this path. See /docs for what there is."""

    status = 404
    code = "not_found"
    title = "Not found"


class MethodNotAllowed(RequestError):
    """The path exists, but not for this method. The Allow header names those that work."""

    status = 405
    code = "method_not_allowed"
    title = "Method not allowed"

    def __init__(self, allowed: Sequence[str]) -> None:
        self.allowed = tuple(allowed)
        super().__init__()


class LinkExpired(RequestError):
    """This link has expired. Submit the image again for a fresh one."""

    status = 403
    code = "link_expired"
    title = "Link expired"


class LinkInvalid(RequestError):
    """This link is not one that the server has signed. Use it exactly as it was received."""

    status = 403
    code = "link_invalid"
    title = "Link invalid"


class BodyTooLarge(RequestError):
    """The request body is too large."""

    status = 413
    code = "body_too_large"
    title = "Body too large"


class BodyTimeout(RequestError):
    """The request body did not arrive in time. Send it again, faster."""

    status = 408
    code = "body_timeout"
    title = "Body timed out"
    retryable = True


class BodyAborted(RequestError):
    """The connection ended before the whole body had arrived. Send it again."""

    code = "body_aborted"
    title = "Body cut short"
    retryable = True


class UnsupportedMediaType(RequestError):
    """Send the body as application/json, without Content-Encoding."""

    status = 415
    code = "unsupported_media_type"
    title = "Unsupported media type"


class PromptRejected(RequestError):
    """This service does not take this prompt. Ask for another change, or in other words."""

    status = 422
    code = "prompt_rejected"
    title = "Prompt rejected"

    def __init__(self, categories: Sequence[str] = ()) -> None:
        self.categories = tuple(categories)  # of moderation: violence, say
        super().__init__()
        if self.categories:
            self.message += f" Moderation objects to it as: {', '.join(self.categories)}."


class InvalidIdempotencyKey(RequestError):
    """Send one Idempotency-Key of 1 to 255 printable ASCII characters."""

    code = "invalid_idempotency_key"
    title = "Invalid Idempotency-Key"


class IdempotencyKeyReused(RequestError):
    """This Idempotency-Key came with another request before. Use a new key for a new request."""

    status = 422
    code = "idempotency_key_reused"
    title = "Idempotency-Key used before"


class InvalidCursor(RequestError):
    """The cursor is not one that this server gave for this list. Start without a cursor."""

    code = "invalid_cursor"
    title = "Invalid cursor"


class InvalidEventId(RequestError):
    """Last-Event-ID must be the number of an event of this job."""

    code = "invalid_event_id"
    title = "Invalid Last-Event-ID"
