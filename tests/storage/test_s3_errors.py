import ssl
from typing import Any
from unittest.mock import Mock

import aiohttp
import pytest
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
    ParamValidationError,
    ProxyConnectionError,
    ReadTimeoutError,
    ResponseStreamingError,
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
from imgsvc.storage.s3_errors import S3_ERRORS, Target, is_passing, storage_error

ENDPOINT = "https://s3.example.com"
TARGET = Target(endpoint=ENDPOINT, bucket="pictures", key="in/a.png")
URL: dict[str, Any] = {"endpoint_url": ENDPOINT}


def answer(code: str, status: int) -> ClientError:
    return ClientError(
        {
            "Error": {"Code": code, "Message": "holds s3cr3t"},
            "ResponseMetadata": {"HTTPStatusCode": status},  # type: ignore[typeddict-item]  # all that is read
        },
        "GetObject",
    )


@pytest.mark.parametrize(
    ("code", "status", "expected", "words"),
    [
        ("NoSuchBucket", 404, BucketNotFound, "'pictures'"),
        ("InvalidBucketName", 400, BucketNotFound, "'pictures'"),
        ("NoSuchKey", 404, ObjectNotFound, "in/a.png"),
        ("KeyTooLongError", 400, InvalidObjectKey, "longer"),
        ("InvalidAccessKeyId", 403, StorageAccessDenied, "does not know the access key id"),
        ("SignatureDoesNotMatch", 403, StorageAccessDenied, "COS_SECRET_ACCESS_KEY"),
        ("RequestTimeTooSkewed", 403, StorageAccessDenied, "clock"),
        ("AccessDenied", 403, StorageAccessDenied, "role or policy"),
        ("403", 403, StorageAccessDenied, "role or policy"),
        ("401", 401, StorageAccessDenied, "role or policy"),
        ("PermanentRedirect", 301, StorageError, "COS_REGION"),
        ("AuthorizationHeaderMalformed", 400, StorageError, "COS_REGION"),
        ("BadDigest", 400, StorageError, "damaged"),
        ("NotImplemented", 501, StorageError, "when_required"),
        ("501", 501, StorageError, "when_required"),
        ("QuotaExceeded", 400, StorageError, r"QuotaExceeded \(HTTP 400\)"),
        ("404", 404, StorageError, "does not answer like an S3 server"),
        ("", 404, StorageError, "does not answer like an S3 server"),
        ("<b>s3cr3t</b>", 400, StorageError, "does not answer like an S3 server"),
        ("302", 302, StorageError, "does not answer like an S3 server"),
        ("SlowDown", 503, StorageUnreachable, "overloaded"),
        ("503", 503, StorageUnreachable, "overloaded"),
        ("InternalError", 500, StorageUnreachable, "overloaded"),
        ("502", 502, StorageUnreachable, "overloaded"),
        ("TooManyRequests", 429, StorageUnreachable, "overloaded"),
        ("RequestTimeout", 400, StorageUnreachable, "overloaded"),
    ],
)
def test_an_answer_of_the_storage_means(
    code: str, status: int, expected: type[StorageError], words: str
) -> None:
    check(answer(code, status), expected, words)


@pytest.mark.parametrize(
    ("exc", "expected", "words"),
    [
        (EndpointConnectionError(**URL, error="s3cr3t"), StorageUnreachable, "No connection"),
        (ConnectTimeoutError(**URL, error="s3cr3t"), StorageUnreachable, "No connection"),
        (ReadTimeoutError(**URL, error="s3cr3t"), StorageUnreachable, "in time"),
        (TimeoutError(), StorageUnreachable, "in time"),
        (ConnectionClosedError(**URL, error="s3cr3t"), StorageUnreachable, "broke"),
        (ResponseStreamingError(error="s3cr3t"), StorageUnreachable, "broke"),
        (IncompleteReadError(actual_bytes=1, expected_bytes=2), StorageUnreachable, "broke"),
        (aiohttp.ClientPayloadError("s3cr3t"), StorageUnreachable, "broke"),
        (HTTPClientError(error="s3cr3t"), StorageUnreachable, "broke"),
        (
            HTTPClientError(error=aiohttp.TooManyRedirects(Mock(), ())),
            StorageError,
            "like an S3 server",
        ),
        (ProxyConnectionError(proxy_url="http://u:s3cr3t@p"), StorageUnreachable, "proxy"),
        (
            SSLError(**URL, error=ssl.SSLError("CERTIFICATE_VERIFY_FAILED")),
            StorageUnreachable,
            r"certificate .* storage\.ca_file",
        ),
        (SSLError(**URL, error=ssl.SSLError("WRONG_VERSION_NUMBER")), StorageUnreachable, "https"),
        (FlexibleChecksumError(error_msg="s3cr3t"), StorageError, "damaged"),
        (ResponseParserError("s3cr3t"), StorageError, "like an S3 server"),
        (ParamValidationError(report="s3cr3t"), BucketNotFound, "pictures"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_a_failure_of_the_client_means(
    exc: Exception, expected: type[StorageError], words: str
) -> None:
    check(exc, expected, words)


def check(exc: Exception, expected: type[StorageError], words: str) -> None:
    assert isinstance(exc, S3_ERRORS)
    error = storage_error(exc, TARGET)
    assert type(error) is expected
    assert "s3cr3t" not in error.message
    with pytest.raises(expected, match=words):
        raise error


@pytest.mark.parametrize(
    ("exc", "expected"),
    [
        (answer("InternalError", 500), True),
        (answer("502", 502), True),
        (answer("ServiceUnavailable", 503), True),
        (answer("504", 504), True),
        (answer("SlowDown", 429), True),
        (answer("TooManyRequests", 429), False),
        (answer("RequestTimeout", 400), False),
        (answer("AccessDenied", 403), False),
        (answer("NoSuchKey", 404), False),
        (answer("NotImplemented", 501), False),
        (EndpointConnectionError(**URL, error=""), True),
        (ConnectTimeoutError(**URL, error=""), True),
        (ReadTimeoutError(**URL, error=""), True),
        (ConnectionClosedError(**URL, error=""), True),
        (ResponseStreamingError(error=""), True),
        (IncompleteReadError(actual_bytes=1, expected_bytes=2), True),
        (ProxyConnectionError(proxy_url="http://p"), True),
        (aiohttp.ClientPayloadError(), True),
        (TimeoutError(), True),
        (SSLError(**URL, error=ssl.SSLError()), False),
        (HTTPClientError(error=aiohttp.TooManyRedirects(Mock(), ())), False),
        (FlexibleChecksumError(error_msg=""), False),
        (ResponseParserError(), False),
        (ParamValidationError(report=""), False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_what_may_pass_by_itself_is_told_from_what_will_not(exc: Exception, expected: bool) -> None:
    assert is_passing(exc) is expected
