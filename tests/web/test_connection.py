"""What no handler and no middleware sees is refused like everything else, and as quietly."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from standins.logs import Configure, logging_of_our_own
from standins.service import Caller
from web.refusals import PATHS, assert_problem, raw

pytestmark = pytest.mark.asyncio(loop_scope="package")

POST = b"POST /process-image-async HTTP/1.1\r\nHost: x\r\n"
LONG = b"canary" * 10_000


@pytest.fixture
def configure() -> Iterator[Configure]:
    with logging_of_our_own() as configured:
        yield configured


async def exchange(caller: Caller, request: bytes) -> tuple[int, dict[str, str], Any]:
    """Send these bytes, and return status, headers and problem of the answer."""
    host, port = caller.server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)
    answer = await reader.read()  # until the server closes the connection
    writer.close()
    await writer.wait_closed()
    head, _, body = answer.decode().partition("\r\n\r\n")
    assert "canary" not in head + body
    first, *lines = head.split("\r\n")
    return int(first.split()[1]), dict(line.split(": ", 1) for line in lines), json.loads(body)


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        (b"\x16\x03\x01\x02\x00canary\r\n\r\n", 400, "malformed_request"),
        (b"canary\r\n\r\n", 400, "malformed_request"),
        (b"GET /health HTTP/1.1\r\ncanary\r\n\r\n", 400, "malformed_request"),
        (b"GET / HTTP/1.1\r\n" + b"canary: 1\r\n" * 200 + b"\r\n", 400, "malformed_request"),
        (POST + b"Content-Length: canary\r\n\r\n", 400, "malformed_request"),
        (POST + b"Transfer-Encoding: chunked\r\n\r\ncanary\r\n", 400, "malformed_request"),
        (POST + b"callbackUrl: http://x/" + LONG + b"\r\n\r\n", 431, "request_head_too_large"),
        (b"GET /" + LONG + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431, "request_head_too_large"),
        (POST + b"Expect: canary\r\nConnection: close\r\n\r\n", 417, "expectation_failed"),
        (
            b"GET /nowhere HTTP/1.1\r\nHost: x\r\nExpect: canary\r\nConnection: close\r\n\r\n",
            417,
            "expectation_failed",
        ),
    ],
    ids=lambda value: value[:20] if isinstance(value, bytes) else value,
)
async def test_what_is_no_request_to_us_gets_a_problem_that_repeats_nothing_of_it(
    local: Caller, configure: Configure, request_: bytes, status: int, code: str
) -> None:
    lines = configure(level="debug")
    answered, headers, problem = await exchange(local, request_)
    assert answered == status
    assert_problem(status, problem, code)
    assert headers["Content-Type"] == "application/problem+json"
    assert headers["Server"] == "imgsvc"
    assert headers["X-Request-Id"] == problem["request_id"]
    line = lines.one()
    assert (line["event"], line["level"]) == ("request_refused", "info")
    assert (line["code"], line["status"]) == (code, status)
    assert line["request_id"] == problem["request_id"]
    assert "exception" not in line
    assert "canary" not in str(line)


async def test_a_callback_url_far_too_long_is_refused_for_what_it_is(local: Caller) -> None:
    url = "http://example.com/" + "x" * 30_000
    status, problem, _ = await raw(local, b"{}", PATHS[0], callbackUrl=url)
    assert_problem(status, problem, "invalid_url")
    assert "longer than 2048" in problem["detail"]


async def test_a_bug_beside_the_handlers_is_logged_and_told_as_any_other(
    local: Caller, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("canary")

    monkeypatch.setattr("imgsvc.web.middlewares.problem_response", broken)
    lines = configure()
    status, headers, problem = await exchange(local, b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n")
    assert_problem(status, problem, "internal_error")
    assert headers["X-Request-Id"] == problem["request_id"]
    [crash] = [line for line in lines.all() if line["level"] == "error"]
    assert crash["event"] == "request_crashed"
    assert crash["request_id"] == problem["request_id"]
    assert crash["exception"][0]["type"] == "builtins.RuntimeError"
