"""Bodies that are refused before their fields are looked at, and trouble in receiving them."""

import asyncio
import io
import json
import shutil
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
import structlog

from imgsvc.config import Settings
from standins.disk import full_disk
from standins.service import Caller, running_service
from web.refusals import PATHS, PHOTO, assert_problem, raw

pytestmark = pytest.mark.asyncio(loop_scope="package")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[1",
        b'{"prompt": "x"',
        b'{"prompt": "\xff"}',
        b'{"prompt": "\\ud800"}',
        b"{'prompt': 'x'}",
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
    ids=lambda body: repr(body[:20]),
)
async def test_a_body_that_is_not_json_is_refused(local: Caller, body: bytes) -> None:
    status, problem, headers = await raw(local, body)
    assert headers["Content-Type"].startswith("application/problem+json")
    assert status == 400
    assert_problem(status, problem, "invalid_json")


@pytest.mark.parametrize("body", [b"[]", b'"x"', b"null", b"1e999", b"NaN"])
async def test_a_body_that_is_not_an_object_is_refused(local: Caller, body: bytes) -> None:
    status, problem, _ = await raw(local, body)
    assert status in {400, 422}
    assert problem["code"] in {"invalid_json", "invalid_request"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Content-Type", "text/plain"),
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("Content-Encoding", "gzip"),
        ("Content-Encoding", "br"),
    ],
)
async def test_other_types_and_encodings_are_refused(local: Caller, name: str, value: str) -> None:
    status, problem, _ = await raw(local, json.dumps(PHOTO).encode(), **{name: value})
    assert status == 415
    assert_problem(status, problem, "unsupported_media_type")


async def test_a_body_that_is_too_large_is_refused_from_its_length(local: Caller) -> None:
    status, problem, _ = await raw(local, io.BytesIO(bytes(41 * 2**20)))
    assert status == 413
    assert_problem(status, problem, "body_too_large")


async def test_a_body_that_is_too_large_is_refused_while_it_is_read(local: Caller) -> None:
    async def chunks() -> Any:
        for _ in range(42):
            yield bytes(2**20)

    try:
        status, problem, _ = await raw(local, chunks())
    except aiohttp.ClientConnectionError:
        return  # the server hung up on us before we had sent everything: refused all the same
    assert (status, problem["code"]) == (413, "body_too_large")


async def test_a_body_that_stalls_is_cut_off(make_settings: Callable[..., Settings]) -> None:
    async with running_service(make_settings(server={"body_timeout": 0.2})) as caller:
        url = caller.server.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(url[0], int(url[1]))
        writer.write(
            b"POST /process-image-async HTTP/1.1\r\nHost: x\r\ncallbackUrl: "
            + caller.receiver.url.encode()
            + b'\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"prompt'
        )
        assert b" 408 " in await reader.readline()
        writer.close()
        await writer.wait_closed()


async def test_a_disk_that_refuses_is_a_503_and_not_ready_until_it_takes_files_again(
    make_settings: Callable[..., Settings],
) -> None:
    settings = make_settings()
    spool = settings.data_dir / "spool"
    async with running_service(settings) as caller:
        shutil.rmtree(spool)
        spool.write_text("in the way")
        status, problem, headers = await raw(caller, json.dumps(PHOTO).encode())
        assert_problem(status, problem, "disk_refuses")
        assert (status, int(headers["Retry-After"]) > 0) == (503, True)
        assert (await caller.get("/health/ready"))[0] == 503
        spool.unlink()
        assert (await caller.get("/health/ready"))[0] == 200
        assert (await caller.run(PATHS[0], PHOTO))["status"] == "completed"


async def test_a_client_that_goes_away_is_no_bug_of_the_server(local: Caller) -> None:
    host, port = local.server.url.removeprefix("http://").split(":")
    with structlog.testing.capture_logs() as lines:
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            f"POST {PATHS[0]} HTTP/1.1\r\nHost: x\r\ncallbackUrl: {local.receiver.url}\r\n"
            "Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n{".encode()
        )
        await writer.drain()
        writer.close()
        while not any(  # noqa: ASYNC110 - the log has no event to wait for
            line["event"] == "request_finished" for line in lines
        ):
            await asyncio.sleep(0.01)
    assert [line["code"] for line in lines if line["event"] == "request_refused"] == [
        "body_aborted"
    ]


@pytest.mark.parametrize("depth", [400, 900, 1000, 1023])
@pytest.mark.parametrize("path", PATHS)
async def test_deep_nesting_is_the_callers_error(local: Caller, path: str, depth: int) -> None:
    body = b'{"prompt": ' + b"[" * depth + b"]" * depth + b"}"
    status, problem, _ = await raw(local, body, path)
    assert status in {400, 422}
    assert problem["code"] in {"invalid_json", "invalid_request"}


async def test_a_disk_that_fills_while_a_body_comes_in_refuses(
    make_settings: Callable[..., Settings],
) -> None:
    body = json.dumps(PHOTO | {"padding": "x" * 3_000_000}).encode()
    async with running_service(make_settings()) as caller:
        with full_disk(2_000_000):
            status, problem, _ = await raw(caller, io.BytesIO(body))
    assert status == 503
    assert_problem(status, problem, "disk_refuses")
