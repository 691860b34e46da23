import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import aiohttp
import httpx2
import openai
import pytest
from aiohttp.client_reqrep import ConnectionKey
from hypothesis import given
from hypothesis import strategies as st
from openai import AsyncOpenAI

from imgsvc import errors
from imgsvc.errors import ProviderError, ProviderRateLimited, ProviderRefusedContent
from imgsvc.providers.openai.classify import classify

KEY = "sk-secret-0123456789abcdef"
REQUEST = httpx2.Request("POST", "https://api.openai.com/v1/images/edits")


async def sdk_error(
    status: int, body: object, headers: Mapping[str, str] | None = None
) -> openai.APIError:
    """Return what the real SDK makes of an answer."""

    def respond(_request: httpx2.Request) -> httpx2.Response:
        content = body if isinstance(body, str) else json.dumps({"error": body})
        return httpx2.Response(status, content=content, headers=headers)

    transport = httpx2.MockTransport(respond)
    async with httpx2.AsyncClient(transport=transport) as http_client:
        client = AsyncOpenAI(api_key=KEY, max_retries=0, http_client=http_client)
        with pytest.raises(openai.APIError) as caught:
            await client.images.edit(image=b"", prompt="x")
    return caught.value


def error(code: str | None = None, **fields: object) -> dict[str, object]:
    return {"message": f"Bad {KEY}", "type": "invalid_request_error", "code": code} | fields


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, error("billing_hard_limit_reached"), errors.ProviderOutOfCredit),
        (429, error("insufficient_quota"), errors.ProviderOutOfCredit),
        (429, error("credit_balance_exhausted"), errors.ProviderOutOfCredit),
        (429, error("organization_spend_limit_exceeded"), errors.ProviderOutOfCredit),
        (429, error("project_spend_limit_exceeded"), errors.ProviderOutOfCredit),
        (429, error("organization_usage_limit_exceeded"), errors.ProviderOutOfCredit),
        (429, error("billing_not_active"), errors.ProviderOutOfCredit),
        (429, error("some_new_limit", type="insufficient_quota"), errors.ProviderOutOfCredit),
        (402, "Payment required", errors.ProviderOutOfCredit),
        (429, error("rate_limit_exceeded"), errors.ProviderRateLimited),
        (429, error("slow_down"), errors.ProviderRateLimited),
        (429, error("something_new"), errors.ProviderRateLimited),
        (429, error(), errors.ProviderRateLimited),
        (429, "<html>", errors.ProviderRateLimited),
        (400, error("moderation_blocked"), errors.ProviderRefusedContent),
        (400, error("content_policy_violation"), errors.ProviderRefusedContent),
        (400, error("invalid_image_file"), errors.ProviderRefusedImage),
        (400, error("invalid_image"), errors.ProviderRefusedImage),
        (413, "<html>", errors.ProviderRefusedImage),
        (415, error(), errors.ProviderRefusedImage),
        (400, error("unknown_parameter"), errors.ProviderRefusedParameter),
        (400, error("invalid_value"), errors.ProviderRefusedParameter),
        (400, error("something_new"), errors.ProviderRefusedParameter),
        (400, error(code=400), errors.ProviderRefusedParameter),  # type: ignore[arg-type]  # some servers send a number
        (400, "<html>", errors.ProviderRefusedParameter),
        (418, error(), errors.ProviderRefusedParameter),
        (422, error(), errors.ProviderRefusedParameter),
        (401, error("invalid_api_key"), errors.ProviderKeyRejected),
        (401, error("account_deactivated"), errors.ProviderKeyRejected),
        (401, "", errors.ProviderKeyRejected),
        (403, error(), errors.ProviderAccessDenied),
        (403, error("unsupported_country_region_territory"), errors.ProviderAccessDenied),
        (404, error("model_not_found"), errors.ProviderModelNotFound),
        (404, "<html>", errors.ProviderModelNotFound),
        (405, "", errors.ProviderModelNotFound),
        (500, error("server_error", type="server_error"), errors.ProviderServerError),
        (503, error("server_is_overloaded"), errors.ProviderServerError),
        (500, error(), errors.ProviderServerError),
        (409, error(), errors.ProviderServerError),
        (502, "<html>Bad gateway</html>", errors.ProviderServerError),
        (503, "<html>", errors.ProviderServerError),
        (529, "", errors.ProviderServerError),
        (408, "", errors.ProviderTimeout),
        (504, "<html>Gateway timeout</html>", errors.ProviderTimeout),
        (524, "<html>", errors.ProviderTimeout),
        (500, "[1, 2]", errors.ProviderServerError),
        (500, '"text"', errors.ProviderServerError),
    ],
)
async def test_an_error_answer_is_known_by_its_code_type_and_status(
    status: int, body: object, expected: type[ProviderError]
) -> None:
    found = classify(await sdk_error(status, body))
    assert type(found) is expected
    assert KEY not in found.message


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (413, "<html>"),
        (413, error("invalid_image_file")),
        (400, error("image_file_too_large")),
        (400, error("image_too_large")),
    ],
)
async def test_a_picture_that_is_too_large_is_told_so(status: int, body: object) -> None:
    found = classify(await sdk_error(status, body))
    assert type(found) is errors.ProviderRefusedImage
    assert found.message.startswith("The picture is too large for this image API. Scale it down")
    assert f"(status {status}" in found.message


CONNECTION = ConnectionKey("127.0.0.1", 9, False, True, None, None, None)


def caused(exc: BaseException, *causes: BaseException) -> BaseException:
    """Chain exceptions as ``raise … from`` does."""
    link = exc
    for cause in causes:
        link.__cause__ = cause
        link = cause
    return exc


@pytest.mark.parametrize(
    ("exc", "expected"),
    [
        (TimeoutError(), errors.ProviderTimeout),
        (openai.APITimeoutError(REQUEST), errors.ProviderTimeout),
        (httpx2.ReadTimeout(""), errors.ProviderTimeout),
        (
            caused(openai.APITimeoutError(REQUEST), aiohttp.SocketTimeoutError()),
            errors.ProviderTimeout,
        ),
        (
            caused(openai.APITimeoutError(REQUEST), aiohttp.ConnectionTimeoutError()),
            errors.ProviderUnreachable,
        ),
        (
            caused(
                openai.APITimeoutError(REQUEST),
                httpx2.ConnectTimeout(""),
                aiohttp.ServerDisconnectedError(),
            ),
            errors.ProviderConnectionLost,
        ),
        (
            caused(
                openai.APIConnectionError(request=REQUEST),
                httpx2.ConnectError(""),
                aiohttp.ClientConnectorError(CONNECTION, OSError(111, "refused")),
            ),
            errors.ProviderUnreachable,
        ),
        (
            caused(
                openai.APIConnectionError(request=REQUEST),
                httpx2.UnsupportedProtocol(""),
                aiohttp.InvalidUrlClientError("http://:1"),
            ),
            errors.ProviderUnreachable,
        ),
        (
            caused(openai.APITimeoutError(REQUEST), aiohttp.ClientOSError(104, "reset")),
            errors.ProviderConnectionLost,
        ),
        (openai.APIConnectionError(request=REQUEST), errors.ProviderConnectionLost),
        (httpx2.ReadError(""), errors.ProviderConnectionLost),
        (aiohttp.ClientPayloadError(), errors.ProviderConnectionLost),
        (httpx2.DecodingError(""), errors.ProviderBadAnswer),
        (openai.OpenAIError(), errors.ProviderBadAnswer),
        (
            openai.APIResponseValidationError(httpx2.Response(200, request=REQUEST), None),
            errors.ProviderBadAnswer,
        ),
        (
            openai.APIStatusError(
                "", response=httpx2.Response(307, request=REQUEST), body="<html>"
            ),
            errors.ProviderBadAnswer,
        ),
        (openai.APIError("", REQUEST, body=None), errors.ProviderServerError),
        (
            openai.APIError("", REQUEST, body={"code": "moderation_blocked"}),
            errors.ProviderRefusedContent,
        ),
    ],
)
def test_an_error_without_an_error_answer_is_known_by_its_class(
    exc: BaseException, expected: type[ProviderError]
) -> None:
    assert type(classify(exc)) is expected


NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "12"}, 12.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "12", "retry-after-ms": "11250"}, 11.25),
        ({"retry-after-ms": "soon", "retry-after": "3"}, 3.0),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "tomorrow"}, None),
        (
            {
                "date": format_datetime(NOW, usegmt=True),
                "retry-after": format_datetime(NOW + timedelta(seconds=90), usegmt=True),
            },
            90.0,
        ),
        (
            {
                "date": format_datetime(NOW, usegmt=True),
                "retry-after": format_datetime(NOW - timedelta(seconds=90), usegmt=True),
            },
            0.0,
        ),
        ({"retry-after": "Fri, 20 Nov 2020 12:00:00 GMT"}, 0.0),
        ({"retry-after": "Tue, 24 Nov 2026 03:00:00 +99999999999999"}, None),
    ],
)
async def test_a_rate_limit_tells_how_long_to_wait(
    headers: dict[str, str], seconds: float | None
) -> None:
    found = classify(await sdk_error(429, error("rate_limit_exceeded"), headers))
    assert isinstance(found, ProviderRateLimited)
    assert found.retry_after == seconds


# What a header can carry: Latin-1 without controls, and dates that are nearly right.
HEADER_VALUES = st.text(st.characters(codec="latin-1", exclude_categories=["Cc"])) | st.from_regex(
    r"Tue, [0-9]{1,3} Nov [0-9]{1,5} [0-9]{1,3}:[0-9]{2}:[0-9]{2} [+-]([0-9]{4}|[0-9]{14,30})",
    fullmatch=True,
)


@given(value=HEADER_VALUES, milliseconds=st.none() | HEADER_VALUES, date=HEADER_VALUES)
def test_no_header_upsets_the_classification(
    value: str, milliseconds: str | None, date: str
) -> None:
    names = {"retry-after": value, "retry-after-ms": milliseconds, "date": date}
    headers = [(name.encode(), v.encode("latin-1")) for name, v in names.items() if v is not None]
    response = httpx2.Response(429, headers=headers, request=REQUEST)
    found = classify(openai.RateLimitError("", response=response, body=None))
    assert isinstance(found, ProviderRateLimited)
    assert found.retry_after is None or found.retry_after >= 0


async def test_the_message_names_model_code_parameter_and_request() -> None:
    body = error("invalid_value", param="size")
    found = classify(await sdk_error(400, body, {"x-request-id": "req_0a1b"}), model="gpt-image-2")
    assert found.message == (
        "The image API refused a parameter. Check model, size, quality and background. "
        "(model gpt-image-2, status 400, code invalid_value, parameter size, request req_0a1b)"
    )


@pytest.mark.parametrize("code", ["moderation_blocked", "content_policy_violation"])
async def test_a_refusal_by_moderation_names_its_categories(code: str) -> None:
    details = {"moderation_stage": "input", "categories": ["sexual", f"key {KEY}", "violence"]}
    body = error(code, moderation_details=details)
    found = classify(await sdk_error(400, body, {"x-request-id": "req_0a1b"}), model="gpt-image-2")
    assert isinstance(found, ProviderRefusedContent)
    assert found.categories == ("sexual", "violence")
    assert found.message == (
        "The image API's moderation refused this prompt or image. Change them and try again."
        f" (model gpt-image-2, status 400, code {code}, categories sexual, violence,"
        " request req_0a1b)"
    )


async def test_categories_that_are_in_the_message_only_are_taken_out_of_it() -> None:
    body = error("moderation_blocked", message=f"Bad {KEY}. safety_violations=[sexual].")
    found = classify(await sdk_error(400, body))
    assert isinstance(found, ProviderRefusedContent)
    assert found.categories == ("sexual",)
    assert "(status 400, code moderation_blocked, categories sexual)" in found.message


async def test_words_of_a_message_make_no_refusal_of_another_error() -> None:
    body = error("invalid_value", message="moderation_blocked safety_violations=[sexual]")
    found = classify(await sdk_error(400, body))
    assert type(found) is errors.ProviderRefusedParameter
    assert "sexual" not in found.message


@pytest.mark.parametrize("field", ["code", "param", "type", "message"])
async def test_a_key_in_the_answer_stays_out_of_the_message(field: str) -> None:
    headers = {"x-request-id": KEY}
    found = classify(await sdk_error(401, error() | {field: KEY}, headers))
    assert "secret" not in found.message
