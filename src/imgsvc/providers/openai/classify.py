"""What an exception of the OpenAI SDK means: one table, decided by code, type and status.

Codes are those of https://platform.openai.com/docs/guides/error-codes and of the
``ResponseError`` type of the SDK. The message text decides nothing and is never passed
on: it is written for people, changes, and for a wrong key it repeats part of the key.
Only the names of categories are taken out of it, once moderation is known to have refused.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

import aiohttp
import httpx2
import openai

from imgsvc.errors import (
    ProviderBadAnswer,
    ProviderConnectionLost,
    ProviderError,
    ProviderKeyRejected,
    ProviderModelNotFound,
    ProviderOutOfCredit,
    ProviderRateLimited,
    ProviderRefusedContent,
    ProviderRefusedImage,
    ProviderServerError,
    ProviderTimeout,
    ProviderUnreachable,
)
from imgsvc.providers.categories import refused_categories
from imgsvc.providers.retry_after import retry_after
from imgsvc.providers.wire import FAILED_LATER, NOT_SENT, TOO_LARGE, kind_by_status, message_of

_BY_CODE: Mapping[str, type[ProviderError]] = {
    # money
    "billing_hard_limit_reached": ProviderOutOfCredit,
    "billing_not_active": ProviderOutOfCredit,
    "credit_balance_exhausted": ProviderOutOfCredit,
    "insufficient_quota": ProviderOutOfCredit,
    "organization_spend_limit_exceeded": ProviderOutOfCredit,
    "organization_usage_limit_exceeded": ProviderOutOfCredit,
    "project_spend_limit_exceeded": ProviderOutOfCredit,
    # rate
    "rate_limit_exceeded": ProviderRateLimited,
    "slow_down": ProviderRateLimited,
    # moderation
    "content_filter": ProviderRefusedContent,  # Azure's; so is the next one
    "contentFilter": ProviderRefusedContent,
    "content_policy_violation": ProviderRefusedContent,
    "image_content_policy_violation": ProviderRefusedContent,
    "moderation_blocked": ProviderRefusedContent,
    # the picture
    "empty_image_file": ProviderRefusedImage,
    "image_file_too_large": ProviderRefusedImage,
    "image_parse_error": ProviderRefusedImage,
    "image_too_large": ProviderRefusedImage,
    "image_too_small": ProviderRefusedImage,
    "invalid_image": ProviderRefusedImage,
    "invalid_image_file": ProviderRefusedImage,
    "invalid_image_format": ProviderRefusedImage,
    "invalid_image_mode": ProviderRefusedImage,
    "unsupported_image_media_type": ProviderRefusedImage,
    # who asks, and for what
    "invalid_api_key": ProviderKeyRejected,
    "model_not_found": ProviderModelNotFound,
    # the server
    "server_error": ProviderServerError,
    "server_is_overloaded": ProviderServerError,
}

_TOO_LARGE_CODES = frozenset({"image_file_too_large", "image_too_large"})

_BY_TYPE: Mapping[str, type[ProviderError]] = {
    "insufficient_quota": ProviderOutOfCredit,  # whatever code comes with it next
}

_WORD = re.compile(r"[a-z][a-z0-9_]{0,63}")
_PARAMETER = re.compile(r"[a-z][a-z0-9_.\[\]]{0,63}")
_REQUEST_ID = re.compile(r"req_[A-Za-z0-9]{1,64}")


class FailedMidStream(openai.APIError):
    """An error that the API tells in a stream of events in which others came before it."""


def classify(exc: BaseException, *, model: str | None = None) -> ProviderError:
    """Return the error of ours that exc stands for, with a message fit for the caller.

    `model` is the one asked for; it is named in the message.
    """
    kind = _kind(exc)
    if isinstance(exc, FailedMidStream) and kind is not ProviderRefusedContent:
        return ProviderBadAnswer(_with_details(FAILED_LATER, exc, model))
    text = _text(kind, exc)
    if kind is ProviderRefusedContent and isinstance(exc, openai.APIError):
        categories = refused_categories(exc.body)
        message = _with_details(text, exc, model, categories)
        return ProviderRefusedContent(message, categories=categories)
    message = _with_details(text, exc, model)
    if kind is ProviderRateLimited and isinstance(exc, openai.APIStatusError):
        return ProviderRateLimited(message, retry_after=retry_after(exc.response.headers))
    return kind(message)


def _kind(exc: BaseException) -> type[ProviderError]:
    match exc:
        case openai.APIResponseValidationError():
            return ProviderBadAnswer
        case (
            openai.APIConnectionError()
            | httpx2.TransportError()
            | aiohttp.ClientConnectionError()
            | aiohttp.ClientPayloadError()
        ):
            return _kind_of_connection_error(exc)
        case TimeoutError():
            return ProviderTimeout
        case openai.APIError():
            return (
                _BY_CODE.get(exc.code or "")
                or _BY_TYPE.get(exc.type or "")
                or _kind_by_status(getattr(exc, "status_code", None))
            )
        case _:  # not HTTP, or not what its headers say
            return ProviderBadAnswer


def _kind_by_status(status: int | None) -> type[ProviderError]:
    if status is None:  # an error in the middle of an answer
        return ProviderServerError
    return kind_by_status(status)


def _kind_of_connection_error(exc: BaseException) -> type[ProviderError]:
    """Tell apart no connection, a late answer and a lost connection.

    The SDK's aiohttp transport reports refused and lost connections as timeouts too,
    so what aiohttp itself had raised decides, if there is such a cause. Where nothing
    proves that the request was never sent, it counts as sent.
    """
    for cause in _chain(exc):
        if isinstance(cause, NOT_SENT):
            return ProviderUnreachable
        if isinstance(cause, aiohttp.ClientError):
            return ProviderTimeout if isinstance(cause, TimeoutError) else ProviderConnectionLost
    late = isinstance(exc, openai.APITimeoutError | httpx2.TimeoutException)
    return ProviderTimeout if late else ProviderConnectionLost


def _chain(exc: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = exc
    while cause is not None:
        yield cause
        cause = cause.__cause__


def _text(kind: type[ProviderError], exc: BaseException) -> str:
    """Return what is said of it."""
    if isinstance(exc, openai.APIError) and exc.code in _TOO_LARGE_CODES:
        return TOO_LARGE
    return message_of(kind, exc.status_code if isinstance(exc, openai.APIStatusError) else None)


def _with_details(
    text: str, exc: BaseException, model: str | None, categories: Sequence[str] = ()
) -> str:
    """Return the text and, in brackets, the details that are safe to show."""
    details = [f"model {model}"] if model else []
    if isinstance(exc, openai.APIStatusError):
        details.append(f"status {exc.status_code}")
    if isinstance(exc, openai.APIError):
        if _WORD.fullmatch(exc.code or ""):
            details.append(f"code {exc.code}")
        if isinstance(exc.param, str) and _PARAMETER.fullmatch(exc.param):
            details.append(f"parameter {exc.param}")
    if categories:
        details.append(f"categories {', '.join(categories)}")
    request_id = getattr(exc, "request_id", None) or ""
    if _REQUEST_ID.fullmatch(request_id):
        details.append(f"request {request_id}")
    return f"{text} ({', '.join(details)})" if details else text
