"""What an error of the S3 client means for the caller and the operator.

Codes: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
"""

import re
from dataclasses import dataclass
from http import HTTPStatus

from aiohttp import ClientError as HttpError
from aiohttp import TooManyRedirects
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004  # it has no other name
    ConnectTimeoutError,
    EndpointConnectionError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
    ParamValidationError,
    ProxyConnectionError,
    ReadTimeoutError,
    SSLError,
)
from botocore.parsers import ResponseParserError

from imgsvc.errors import (
    BucketNotFound,
    InvalidObjectKey,
    ObjectNotFound,
    StorageAccessDenied,
    StorageError,
    StorageUnreachable,
)

S3_ERRORS = (ClientError, BotoCoreError, ResponseParserError, HttpError, TimeoutError)

_PLAIN_CODE = re.compile(r"[A-Za-z][A-Za-z0-9.]{2,63}")
_WRONG_REGION = {
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
    "IncorrectEndpoint",
    "PermanentRedirect",
    "TemporaryRedirect",
}
_DAMAGED = {"BadDigest", "IncompleteBody", "InvalidDigest", "XAmzContentSHA256Mismatch"}
_BUSY = {"InternalError", "RequestTimeout", "ServiceUnavailable", "SlowDown", "TooManyRequests"}
_FAILING = {500, 502, 503, 504}
_LOST = (ConnectionError, HTTPClientError, IncompleteReadError, HttpError, TimeoutError)


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """What a failed call was about."""

    endpoint: str
    bucket: str
    key: str | None = None  # None for a listing


def storage_error(exc: Exception, target: Target) -> StorageError:
    """Return the error of ours for one of S3_ERRORS; the server's own words are not repeated."""
    match exc:
        case ClientError():
            return _answered(code_of(exc), status_of(exc), target)
        case _ if _is_unreadable(exc):
            return not_s3(target.endpoint)
        case ParamValidationError() if target.key == "":
            return InvalidObjectKey("The object key is empty.")
        case ParamValidationError():
            return _no_bucket(target)
        case FlexibleChecksumError():
            return StorageError(f"The object {target.key} was damaged on its way. Try again.")
        case _:
            return StorageUnreachable(_unreachable(exc, target.endpoint))


def status_of(exc: ClientError) -> int:
    """Return the HTTP status of an answer, 0 if it had none."""
    return exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)


def code_of(exc: ClientError) -> str:
    """Return the S3 code of an answer, empty if it had none."""
    return exc.response.get("Error", {}).get("Code", "")


def is_denied(exc: Exception) -> bool:
    """Tell whether the storage refused the call for its keys, or for what they may do.

    Which of both it was is not always told: an answer to HEAD has no code.
    """
    return isinstance(exc, ClientError) and status_of(exc) in {401, 403}


def is_passing(exc: Exception) -> bool:
    """Tell whether the same call may work soon: the storage is overloaded, restarts or is away."""
    match exc:
        case ClientError():
            return status_of(exc) in _FAILING or code_of(exc) == "SlowDown"
        case SSLError():
            return False
        case _:
            return isinstance(exc, _LOST) and not _is_unreadable(exc)


def short_name(exc: Exception) -> str:
    """Return one of S3_ERRORS in a word or two for the log."""
    return f"HTTP {status_of(exc)}" if isinstance(exc, ClientError) else type(exc).__name__


def _is_unreadable(exc: Exception) -> bool:
    """Tell whether the answer was not XML, or led in a circle as login pages do."""
    if isinstance(exc, HTTPClientError):
        return isinstance(exc.kwargs.get("error"), TooManyRedirects)
    return isinstance(exc, ResponseParserError)


def _answered(code: str, status: int, target: Target) -> StorageError:
    """Return the error for an answer with this S3 code and HTTP status."""
    match code:
        case "NoSuchBucket" | "InvalidBucketName":
            return _no_bucket(target)
        case "NoSuchKey":
            return _no_object(target)
        case "KeyTooLongError":
            return InvalidObjectKey("The object key is longer than the storage allows.")
    if denied := _denied(code, status, target):
        return StorageAccessDenied(denied)
    if code in _BUSY or status in {429, *_FAILING}:
        # botocore also makes a 500 of an answer 200 that it cannot read, a web page say
        doubt = "" if _PLAIN_CODE.fullmatch(code) else ", or is no S3 server at all"
        return StorageUnreachable(
            f"The storage at {target.endpoint} is overloaded or failing{doubt}. Try again later."
        )
    return StorageError(_refused(code, status, target))


def _denied(code: str, status: int, target: Target) -> str | None:
    """Return which part of the credentials was refused, None if they were not the matter."""
    match code:
        case "InvalidAccessKeyId":
            return (
                "The storage does not know the access key id. "
                "Correct storage.access_key_id (COS_ACCESS_KEY_ID)."
            )
        case "SignatureDoesNotMatch":
            return (
                "Access key id and secret access key do not belong together. "
                "Correct storage.access_key_id (COS_ACCESS_KEY_ID) or "
                "storage.secret_access_key (COS_SECRET_ACCESS_KEY)."
            )
        case "RequestTimeTooSkewed":
            return "The storage refused the signature: the clock of this machine is wrong. Set it."
        case _ if code == "AccessDenied" or status in {401, 403}:
            return (
                f"The storage denies the access key this access to the bucket {target.bucket}. "
                "Give it a role or policy that allows to read, write, list and delete."
            )
    return None


def _refused(code: str, status: int, target: Target) -> str:
    """Return the words for an answer that fits no class of its own."""
    if code in _WRONG_REGION:
        return (
            f"The bucket {target.bucket} is not served by {target.endpoint} in this region. "
            "Correct storage.region (COS_REGION) or storage.endpoint (COS_ENDPOINT)."
        )
    if code in _DAMAGED:
        return f"The object {target.key} was damaged on its way to the storage. Try again."
    if code == "NotImplemented" or status == HTTPStatus.NOT_IMPLEMENTED:
        return "The storage lacks a feature in use. Try storage.checksums = when_required."
    if _PLAIN_CODE.fullmatch(code):
        return f"The storage at {target.endpoint} refused the call: {code} (HTTP {status})."
    return not_s3(target.endpoint).message


def _no_object(target: Target) -> StorageError:
    if target.key is None:  # said of a listing: the endpoint leads into a bucket
        return not_s3(target.endpoint)
    return ObjectNotFound(f"The object {target.key} is not in the bucket {target.bucket}.")


def _no_bucket(target: Target) -> BucketNotFound:
    return BucketNotFound(
        f"The bucket {target.bucket!r} does not exist at {target.endpoint}. "
        "Create it, or correct its name in the configuration."
    )


def not_s3(endpoint: str) -> StorageError:
    """Return the error for an answer that no S3 server gives."""
    return StorageError(
        f"{endpoint} does not answer like an S3 server. Correct storage.endpoint (COS_ENDPOINT)."
    )


def _unreachable(exc: Exception, endpoint: str) -> str:
    match exc:
        case SSLError() if "CERTIFICATE_VERIFY_FAILED" in str(exc) or "Certificate" in str(exc):
            return (
                f"The TLS certificate of the storage at {endpoint} is not trusted. "
                "If a private authority has issued it, set storage.ca_file."
            )
        case SSLError():
            return f"No TLS connection to the storage at {endpoint}. Is it https that it speaks?"
        case ConnectTimeoutError() | EndpointConnectionError():
            return (
                f"No connection to the storage at {endpoint}. Check the endpoint and the network."
            )
        case ProxyConnectionError():
            return f"No connection to the storage at {endpoint} through the proxy of this machine."
        case ReadTimeoutError() | TimeoutError():
            return f"The storage at {endpoint} did not answer in time. Try again later."
        case _:
            return f"The connection to the storage at {endpoint} broke. Try again later."
