"""Every error of the service, in one tree.

    ImgsvcError
    ├── ConfigurationError          the service cannot start as configured
    ├── RequestError                the caller's request cannot be taken (4xx)
    │   ├── MalformedRequest
    │   ├── RequestHeadTooLarge
    │   ├── InvalidJson
    │   ├── InvalidRequest          with one entry a wrong field
    │   │   ├── ModelNotOffered
    │   │   └── NotOfferedByModel
    │   ├── InvalidBase64
    │   ├── MissingCallbackUrl
    │   ├── InvalidUrl
    │   ├── ForbiddenUrl
    │   ├── BucketNotAllowed
    │   ├── NotFound
    │   ├── MethodNotAllowed
    │   ├── LinkExpired
    │   ├── LinkInvalid
    │   ├── BodyTooLarge
    │   ├── BodyTimeout
    │   ├── BodyAborted
    │   ├── UnsupportedMediaType
    │   ├── PromptRejected          with what moderation objects to, if it was that
    │   ├── InvalidIdempotencyKey
    │   ├── IdempotencyKeyReused
    │   ├── InvalidCursor
    │   └── InvalidEventId
    ├── ServiceOverloaded           come back later (503)
    │   ├── QueueFull
    │   ├── DiskRefuses
    │   ├── SpoolFull
    │   ├── TooManyDryRuns
    │   ├── ModerationUnavailable
    │   └── ShuttingDown
    ├── ImageError                  the picture itself is the problem (4xx)
    │   ├── NotAnImage
    │   ├── UnsupportedImageType
    │   ├── ImageFileTooLarge
    │   ├── ImageTooLarge
    │   ├── ImageTooComplex
    │   ├── CorruptImage
    │   ├── InvalidMask
    │   └── ImageFetchFailed
    ├── InstructionNotUnderstood    the prompt says nothing that the local engine can do
    ├── ImageProcessDied            a child process of the image pool was lost
    ├── ProviderError               the image API refused or could not be reached
    │   ├── ProviderNotConfigured
    │   ├── BudgetSpent
    │   │   └── PriceUnknown
    │   ├── ProviderOutOfCredit
    │   ├── ProviderRateLimited
    │   ├── ProviderBusy
    │   ├── ProviderRefusedContent
    │   ├── ProviderRefusedImage
    │   ├── ProviderRefusedParameter
    │   ├── ProviderKeyRejected
    │   ├── ProviderAccessDenied
    │   ├── ProviderModelNotFound
    │   ├── ProviderServerError
    │   ├── ProviderTimeout
    │   ├── ProviderConnectionLost
    │   ├── ProviderUnreachable
    │   └── ProviderBadAnswer
    ├── StorageError                the bucket or folder refused or could not be reached
    │   ├── BucketNotFound
    │   ├── ObjectNotFound
    │   ├── ObjectTooLarge
    │   ├── InvalidObjectKey
    │   ├── StorageAccessDenied
    │   └── StorageUnreachable
    ├── JobTimeout                  the job as a whole took too long
    ├── JobCancelled                the caller no longer wanted it
    ├── JobPoisoned                 it was begun too often without an end
    ├── PayloadLost                 the image that came with the request is gone
    └── JobError                    the job is not in the state for this (4xx)
        ├── JobNotFound
        ├── JobFinished
        ├── JobNotFinished
        ├── JobHasNoResult
        ├── ResultGone
        ├── JobNotRetryable
        └── CallbackNotSettled

A message is public: it says what is wrong and how to mend it, and never holds a
secret, a path of this machine or a traceback. The class docstring is the default
message. Foreign exceptions are mapped to these once, at the adapter that meets
them, with ``raise … from exc``.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, kw_only=True, slots=True)
class FieldError:
    """One wrong field of a request: where it is and what is wrong with it."""

    field: str
    message: str


class ImgsvcError(Exception):
    """The service met an unexpected error. Try again; if it stays, tell the operator."""

    status: int = 500  # HTTP status of the problem document
    code: str = "internal_error"  # stable, for programs
    title: str = "Internal error"  # stable, for people
    retryable: ClassVar[bool] = False  # may the same request work later?
    retry_after: float | None = None  # seconds to wait before it
    after_answer: bool = False  # an image API had answered by then: it may have billed the edit

    def __init__(self, message: str | None = None) -> None:
        self.message = message or " ".join((type(self).__doc__ or "").split())
        super().__init__(self.message)

    @property
    def kind(self) -> str:
        """The word before the colon in a callback's ``error``."""
        return type(self).__name__


def describe(exc: BaseException) -> str:
    """Return ``Kind: what happened and what to do``, the ``error`` line of a callback.

    Exceptions from outside the tree are bugs or surprises: their text may hold
    anything, so it stays in the server's log and the caller gets a neutral line.
    """
    error = exc if isinstance(exc, ImgsvcError) else ImgsvcError()
    kind = "InternalError" if type(error) is ImgsvcError else error.kind
    return f"{kind}: {error.message}"


class ConfigurationError(ImgsvcError):
    """The configuration cannot be used."""

    code = "configuration_error"
    title = "Configuration error"

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))


# -- requests ---------------------------------------------------------------------------


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
    """The request line or a header is too long. Shorten it."""

    status = 431
    code = "request_head_too_large"
    title = "Request head too large"


class InvalidJson(RequestError):
    """The body is not valid JSON. Send one JSON object, encoded as UTF-8."""

    code = "invalid_json"
    title = "Invalid JSON"


class InvalidRequest(RequestError):
    """The request has wrong fields."""

    status = 422
    code = "invalid_request"
    title = "Invalid request"

    def __init__(self, errors: Sequence[FieldError]) -> None:
        self.errors = tuple(errors)
        summary = "; ".join(f"{error.field}: {error.message}" for error in self.errors[:5])
        super().__init__(f"{type(self).__doc__} {summary.rstrip('.')}.")


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

    An operator can allow it by network or by host name.
    """

    code = "forbidden_url"
    title = "URL not allowed"


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


# -- load -------------------------------------------------------------------------------


class ServiceOverloaded(ImgsvcError):
    """The service is busy. Try again after the time in Retry-After."""

    status = 503
    code = "overloaded"
    title = "Service overloaded"
    retryable = True
    retry_after = 5


class QueueFull(ServiceOverloaded):
    """As many jobs are waiting as the server may hold. Try again later."""

    code = "queue_full"
    title = "Queue full"


class DiskRefuses(ServiceOverloaded):
    """The server cannot write to its disk at the moment. Try again later."""

    code = "disk_refuses"
    title = "Disk refuses"
    retry_after = 30


class SpoolFull(ServiceOverloaded):
    """Jobs take up as much of the server's disk as they may. Try again later."""

    code = "spool_full"
    title = "Spool full"
    retry_after = 60


class TooManyDryRuns(ServiceOverloaded):
    """As many dry runs are going on as the server does at once. Try again shortly."""

    code = "too_many_dry_runs"
    title = "Too many dry runs"


class ModerationUnavailable(ServiceOverloaded):
    """Moderation cannot be asked, and without it no prompt is taken. Try again later."""

    code = "moderation_unavailable"
    title = "Moderation unavailable"
    retry_after = 30


class ShuttingDown(ServiceOverloaded):
    """The server is shutting down and takes no new jobs. Try again shortly."""

    code = "shutting_down"
    title = "Shutting down"


# -- images -----------------------------------------------------------------------------


class ImageError(ImgsvcError):
    """The image cannot be used."""

    status = 422
    code = "image_error"
    title = "Image cannot be used"


class NotAnImage(ImageError):
    """The data is not an image. Send a PNG, JPEG, WebP, GIF, BMP, TIFF or AVIF file."""

    code = "not_an_image"
    title = "Not an image"


class UnsupportedImageType(ImageError):
    """Images of this type are not taken. Send a PNG, JPEG or WebP file."""

    status = 415
    code = "unsupported_image_type"
    title = "Image type not supported"


class ImageFileTooLarge(ImageError):
    """The image file has too many bytes. Send a smaller one."""

    status = 413
    code = "image_file_too_large"
    title = "Image file too large"


class ImageTooLarge(ImageError):
    """The image has too many pixels. Scale it down."""

    code = "image_too_large"
    title = "Image too large"


class ImageTooComplex(ImageError):
    """Decoding the image took more time or memory than allowed. Save it anew, smaller."""

    code = "image_too_complex"
    title = "Image too complex"


class CorruptImage(ImageError):
    """The image is damaged or cut short. Save it anew and send it again."""

    code = "corrupt_image"
    title = "Image damaged"


class InvalidMask(ImageError):
    """The mask must be a PNG below 4 MB with an alpha channel, as large as the image."""

    code = "invalid_mask"
    title = "Invalid mask"


class ImageFetchFailed(ImageError):
    """The image could not be fetched from image_url."""

    code = "image_fetch_failed"
    title = "Image not fetched"


class InstructionNotUnderstood(ImgsvcError):
    """The local engine found nothing in the prompt that it can do. Say it in other words."""

    status = 422
    code = "instruction_not_understood"
    title = "Instruction not understood"


class ImageProcessDied(ImgsvcError):
    """The process that worked on the image was lost. Try again."""

    status = 503
    code = "image_process_died"
    retry_after = 1
    title = "Image process lost"
    retryable = True


# -- providers --------------------------------------------------------------------------


class ProviderError(ImgsvcError):
    """The image API could not edit the image."""

    status = 502
    code = "provider_error"
    title = "Provider error"


class ProviderNotConfigured(ProviderError):
    """No image API is configured. The operator sets OPENAI_API_KEY, or adds [[providers]]."""

    code = "provider_not_configured"
    title = "No provider configured"


class BudgetSpent(ProviderError):
    """A call of the image API would cost more than may still be spent. Raise the budget."""

    status = 402
    code = "budget_spent"
    title = "Budget spent"

    def __init__(
        self,
        message: str | None = None,
        *,
        of_job: bool = False,
        is_final: bool = False,
        freed: asyncio.Event | None = None,
    ) -> None:
        self.of_job = of_job  # the budget is the job's own
        self.is_final = is_final  # nobody may step in
        self.freed = freed  # set when money may be free again; None: it will not be
        super().__init__(message)


class PriceUnknown(BudgetSpent):
    """What the model costs is not known, so no budget can pay for it. Set its price."""

    code = "price_unknown"
    title = "Price unknown"


class ProviderOutOfCredit(ProviderError):
    """The image API's account is out of credit or at its limit. Raise it, then try again."""

    code = "provider_out_of_credit"
    title = "Provider out of credit"


class ProviderRateLimited(ProviderError):
    """The image API is limiting the rate of requests. Try again later."""

    code = "provider_rate_limited"
    title = "Provider rate limit"
    retryable = True

    def __init__(self, message: str | None = None, *, retry_after: float | None = None) -> None:
        self.retry_after = retry_after  # seconds, as the API asked for
        super().__init__(message)


class ProviderBusy(ProviderError):
    """More is asked of the image API than its account allows at a time. Try again later."""

    code = "provider_busy"
    title = "Provider busy"
    retryable = True


class ProviderRefusedContent(ProviderError):
    """The image API's moderation refused this prompt or image. Change them and try again."""

    status = 422
    code = "provider_refused_content"
    title = "Content refused"

    def __init__(self, message: str | None = None, *, categories: Sequence[str] = ()) -> None:
        self.categories = tuple(categories)  # what was objected to, if the API tells: violence
        super().__init__(message)


class ProviderRefusedImage(ProviderError):
    """The image API could not read this image. Save it as PNG and try again."""

    status = 422
    code = "provider_refused_image"
    title = "Image refused"


class ProviderRefusedParameter(ProviderError):
    """The image API refused a parameter. Check model, size, quality and background."""

    status = 422
    code = "provider_refused_parameter"
    title = "Parameter refused"


class ProviderKeyRejected(ProviderError):
    """The image API rejected the service's key. The operator has to renew it."""

    code = "provider_key_rejected"
    title = "Provider key rejected"


class ProviderAccessDenied(ProviderError):
    """The image API denies this account access. The operator has to verify the organization."""

    code = "provider_access_denied"
    title = "Provider access denied"


class ProviderModelNotFound(ProviderError):
    """The image API does not have this model, or no longer. Choose another one."""

    code = "provider_model_not_found"
    title = "Model not found"


class ProviderServerError(ProviderError):
    """The image API failed. Try again later."""

    code = "provider_server_error"
    title = "Provider failure"
    retryable = True


class ProviderTimeout(ProviderError):
    """The image API did not answer in time; whether it billed the edit is unknown."""

    code = "provider_timeout"
    title = "Provider timed out"


class ProviderConnectionLost(ProviderError):
    """The connection to the image API broke; whether it billed the edit is unknown."""

    code = "provider_connection_lost"
    title = "Provider connection lost"


class ProviderUnreachable(ProviderError):
    """No connection to the image API: nothing was sent. Try again later."""

    code = "provider_unreachable"
    title = "Provider unreachable"
    retryable = True


class ProviderBadAnswer(ProviderError):
    """The image API answered with something that is not the image asked for."""

    code = "provider_bad_answer"
    title = "Provider answer unusable"


# -- storage ----------------------------------------------------------------------------


class StorageError(ImgsvcError):
    """The object storage failed."""

    status = 502
    code = "storage_error"
    title = "Storage error"


class BucketNotFound(StorageError):
    """The bucket does not exist. Create it, or correct its name in the configuration."""

    code = "bucket_not_found"
    title = "Bucket not found"


class ObjectNotFound(StorageError):
    """The object does not exist, or no longer."""

    status = 404
    code = "object_not_found"
    title = "Object not found"


class ObjectTooLarge(StorageError):
    """The object is larger than an image may be. Store a smaller one."""

    status = 413
    code = "object_too_large"
    title = "Object too large"


class InvalidObjectKey(StorageError):
    """The object key is not allowed: it must stay inside its bucket."""

    status = 400
    code = "invalid_object_key"
    title = "Invalid object key"


class StorageAccessDenied(StorageError):
    """The storage rejected the service's credentials. The operator has to check key and policy."""

    code = "storage_access_denied"
    title = "Storage access denied"


class StorageUnreachable(StorageError):
    """The storage could not be reached. The operator has to check the endpoint and the network."""

    code = "storage_unreachable"
    title = "Storage unreachable"
    retryable = True


# -- jobs -------------------------------------------------------------------------------


class JobTimeout(ImgsvcError):
    """The job took longer than allowed and was stopped. Try again with less to do."""

    status = 504
    code = "job_timed_out"
    title = "Job timed out"


class JobCancelled(ImgsvcError):
    """The job was cancelled. Retry it, or submit it again, if the result is still wanted."""

    status = 409
    code = "job_cancelled"
    title = "Job cancelled"


class JobPoisoned(ImgsvcError):
    """The service was lost each time it began this job. Try again with another image."""

    code = "job_poisoned"
    title = "Job given up"


class PayloadLost(ImgsvcError):
    """What came with the request is no longer on the server's disk. Send it again."""

    status = 410
    code = "payload_lost"
    title = "Payload lost"


class JobError(ImgsvcError):
    """The job is not in the state for this."""

    status = 409
    code = "job_error"
    title = "Job in another state"


class JobNotFound(JobError):
    """There is no job with this id, or no longer: finished jobs are kept for some days."""

    status = 404
    code = "job_not_found"
    title = "Job not found"


class JobFinished(JobError):
    """The job has ended already, so it cannot be cancelled."""

    code = "job_finished"
    title = "Job finished"

    def __init__(self, state: str) -> None:
        self.state = state
        super().__init__(f"The job has ended already, as {state}: it cannot be cancelled.")


class JobNotFinished(JobError):
    """The job has not ended yet. Wait for its callback, or ask again later."""

    code = "job_not_finished"
    title = "Job not finished"
    retryable = True
    retry_after = 2


class JobHasNoResult(JobError):
    """The job ended without a result; its `error` says why."""

    code = "job_has_no_result"
    title = "Job has no result"


class ResultGone(JobError):
    """The job's result is no longer on the server's disk. Do the job again to have it anew."""

    status = 410
    code = "result_gone"
    title = "Result gone"


class JobNotRetryable(JobError):
    """Only a job that failed, was cancelled or ended with errors can be done again."""

    code = "job_not_retryable"
    title = "Job cannot be done again"


class CallbackNotSettled(JobError):
    """The job's callback is not settled, so it cannot be delivered again."""

    code = "callback_not_settled"
    title = "Callback not settled"
