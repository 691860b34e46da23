"""What browsers are told about answers, and which pages may read them."""

import re
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from imgsvc.config import Settings
from imgsvc.web.config import ServerConfig
from imgsvc.web.routes import ROUTES
from standins.service import Caller, running_service
from web.auth.callers import guarded_service
from web.raw_sockets import connection, until_closed
from web.refusals import PATHS, PHOTO, assert_problem

PAGE = "https://app.example.com"
PREFLIGHT = {"Access-Control-Request-Method": "POST"}
ALLOWED = "Access-Control-Allow-Origin"


@pytest.fixture
async def caller(make_settings: Callable[..., Settings]) -> AsyncIterator[Caller]:
    async with running_service(make_settings(server={"cors_origins": [PAGE]})) as caller:
        yield caller


@pytest.mark.parametrize(
    "path",
    [
        "/health",
        "/jobs",
        "/jobs/x",
        "/metrics",
        "/openapi.json",
        "/nowhere",
        "/usage",
        "/cos/config",
    ],
)
async def test_every_answer_has_the_headers_that_protect_it(caller: Caller, path: str) -> None:
    async with caller.session.get(caller.server.url + path) as answer:
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert answer.headers["Server"] == "imgsvc"
        assert "Strict-Transport-Security" not in answer.headers


@pytest.mark.parametrize(
    "request_", [b"canary\r\n\r\n", b"GET /health HTTP/1.1\r\nHost: x\r\nExpect: x\r\n\r\n"]
)
async def test_an_answer_that_no_handler_gives_has_them_too(
    caller: Caller, request_: bytes
) -> None:
    async with connection(caller.server.url) as (reader, writer):
        writer.write(request_)
        head = await reader.readuntil(b"\r\n\r\n")
    assert b"\r\nX-Content-Type-Options: nosniff\r\n" in head
    assert b"\r\nCache-Control: no-store\r\n" in head


async def test_the_page_keeps_its_own_policy(caller: Caller) -> None:
    async with caller.session.get(caller.server.url + "/docs") as answer:
        policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe-inline" not in policy


async def test_browsers_are_told_to_keep_to_tls_where_callers_come_by_it(
    make_settings: Callable[..., Settings],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = {"port": port, "public_url": "https://images.example.com"}
    async with (
        running_service(make_settings(server=server)),
        connection(f"http://127.0.0.1:{port}") as (reader, writer),
    ):
        writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b"Strict-Transport-Security: max-age=31536000\r\n" in await until_closed(reader)


@pytest.mark.parametrize("path", PATHS)
async def test_a_page_of_a_listed_origin_may_ask_and_read(caller: Caller, path: str) -> None:
    url, page = caller.server.url + path, {"Origin": PAGE}
    async with caller.session.options(url, headers=page | PREFLIGHT) as answer:
        assert (answer.status, answer.headers[ALLOWED]) == (204, PAGE)
        assert "callbackUrl" in answer.headers["Access-Control-Allow-Headers"]
    headers = page | {"Prefer": "respond-async"}
    async with caller.session.post(url, json=PHOTO, headers=headers) as answer:
        assert answer.headers[ALLOWED] == PAGE
        assert answer.headers["Vary"] == "Origin"
        assert "Access-Control-Allow-Credentials" not in answer.headers


async def test_a_browser_asks_without_a_key_and_then_needs_one(tmp_path: Path) -> None:
    async with guarded_service(tmp_path / "data", server={"cors_origins": [PAGE]}) as caller:
        for route, _ in ROUTES:
            url, page = caller.server.url + re.sub(r"{[^}]*}+", "x", route.path), {"Origin": PAGE}
            async with caller.session.options(url, headers=page | PREFLIGHT) as answer:
                assert (answer.status, answer.headers[ALLOWED]) == (204, PAGE)
                assert {"Authorization", "X-API-Key"} <= set(
                    answer.headers["Access-Control-Allow-Headers"].split(", ")
                )
            evil = {"Origin": "https://evil.example.com"}
            async with caller.session.options(url, headers=evil | PREFLIGHT) as answer:
                assert answer.status == 405
                assert ALLOWED not in answer.headers
        url = caller.server.url + PATHS[0]
        async with caller.session.post(url, json=PHOTO, headers=page) as answer:
            assert (answer.status, answer.headers[ALLOWED]) == (401, PAGE)  # the page can tell why
            assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example.com",
        "http://app.example.com",
        "https://app.example.com:8443",
        "https://app.example.com.evil.net",
        "HTTPS://app.example.com",
        "null",
        "*",
        "",
    ],
)
async def test_a_page_of_another_origin_may_not(caller: Caller, origin: str) -> None:
    url, page = caller.server.url + PATHS[0], {"Origin": origin}
    async with caller.session.options(url, headers=page | PREFLIGHT) as answer:
        assert answer.status == 405
        assert ALLOWED not in answer.headers
        assert answer.headers["Vary"] == "Origin"
    async with caller.session.get(caller.server.url + "/jobs", headers=page) as answer:
        assert ALLOWED not in answer.headers


async def test_a_page_whose_name_was_made_to_lead_here_changes_nothing(
    make_settings: Callable[..., Settings],
) -> None:
    async with running_service(make_settings(server={"cors_origins": [PAGE]})) as caller:
        url = caller.server.url + PATHS[0]
        for origin in ("http://evil.example.com:8000", "null", "http://127.0.0.1.evil.net", ""):
            headers = {"Origin": origin, "Host": "evil.example.com:8000", "Prefer": "respond-async"}
            async with caller.session.post(url, json=PHOTO, headers=headers) as answer:
                assert_problem(answer.status, await answer.json(), "origin_refused")
        assert (await caller.get("/jobs"))[1]["jobs"] == []
        for origin in (PAGE, caller.server.url, "http://localhost:3000", "http://[::1]:8000"):
            headers = {"Origin": origin, "Prefer": "respond-async"}
            async with caller.session.post(url, json=PHOTO, headers=headers) as answer:
                assert answer.status == 202


async def test_no_page_may_unless_its_origin_is_listed(
    make_settings: Callable[..., Settings],
) -> None:
    async with running_service(make_settings()) as caller:
        url = caller.server.url + PATHS[0]
        async with caller.session.options(url, headers={"Origin": PAGE} | PREFLIGHT) as answer:
            assert answer.status == 405
            assert not [name for name in answer.headers if name.startswith("Access-Control")]


@pytest.mark.parametrize(
    "origin", ["*", "null", "app.example.com", "https://x/", "https://x/y", "ftp://x", "https://"]
)
def test_what_is_no_origin_cannot_be_listed(origin: str) -> None:
    with pytest.raises(ValidationError):
        ServerConfig.model_validate({"cors_origins": [origin]})


def test_of_an_origin_with_a_slash_it_is_said_that_the_slash_is_wrong() -> None:
    with pytest.raises(ValidationError, match=r"no slash at its end: https://app\.example"):
        ServerConfig.model_validate({"cors_origins": ["https://app.example/"]})
