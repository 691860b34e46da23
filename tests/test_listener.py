"""Callers that open connections without end, and those who do not read their answers."""

import asyncio
import os
import resource
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import structlog
import trustme
from PIL import Image
from yarl import URL

from imgsvc.config import Settings
from imgsvc.listener import OTHER_FILES, room_for_connections
from imgsvc.web.keys import CONTEXT
from standins.pictures import as_base64, encoded
from standins.service import Caller, running_service
from web.raw_sockets import connection, until_closed

pytestmark = pytest.mark.timeout(60)

GET = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"


def events(lines: list[structlog.typing.EventDict]) -> list[str]:
    return [line["event"] for line in lines]


async def answers(url: str) -> bool:
    """Tell whether a new connection is taken."""
    async with connection(url) as (reader, writer):
        writer.write(GET)
        try:
            return b" 200 OK" in await reader.readline()
        except ConnectionResetError:
            return False


async def test_connections_past_the_limit_are_closed_and_the_others_go_on(
    make_settings: Callable[..., Settings],
) -> None:
    limit = 5
    async with (
        running_service(make_settings(server={"max_connections": limit})) as caller,
        AsyncExitStack() as stack,
    ):
        enter, url = stack.enter_async_context, caller.server.url
        good = [await enter(connection(url)) for _ in range(limit)]
        for reader, writer in good:
            writer.write(GET)
            assert b" 200 OK" in await reader.readline()
        with structlog.testing.capture_logs() as lines:
            assert [await answers(url) for _ in range(20)] == [False] * 20
        assert events(lines) == ["connections_refused"]  # not one each
        assert (lines[0]["log_level"], lines[0]["limit"]) == ("warning", limit)
        for reader, writer in good:
            await reader.readuntil(b"}")
            writer.write(GET)
            assert b" 200 OK" in await reader.readline()
        good[0][1].close()
        while not await answers(url):
            pass


async def test_connections_at_their_handshake_count(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    made = trustme.CA().issue_cert("127.0.0.1")
    made.private_key_and_cert_chain_pem.write_to_path(tmp_path / "tls.pem")
    server = {
        "max_connections": 3,
        "tls_cert": tmp_path / "tls.pem",
        "tls_key": tmp_path / "tls.pem",
    }
    async with running_service(make_settings(server=server)) as caller, AsyncExitStack() as stack:
        url = caller.server.url
        silent = [await stack.enter_async_context(connection(url)) for _ in range(3)]
        async with connection(url) as (reader, _):
            assert await until_closed(reader) == b""
        assert not any(reader.at_eof() for reader, _ in silent)


@pytest.mark.parametrize(
    ("files", "room"),
    [
        (resource.RLIM_INFINITY, 4096),
        (1_000_000, 4096),
        (1024, (1024 - OTHER_FILES) // 2),
        (64, 1),
    ],
)
def test_a_low_limit_of_open_files_leaves_fewer_connections(
    monkeypatch: pytest.MonkeyPatch, files: int, room: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files, files))
    assert room_for_connections(4096) == room


@pytest.fixture
async def impatient(make_settings: Callable[..., Settings]) -> AsyncIterator[Caller]:
    """Run a server that waits for readers only for a moment."""
    async with running_service(make_settings(server={"send_timeout": 0.3})) as caller:
        yield caller


async def until_cut_off(caller: Caller, target: str, *headers: str) -> None:
    """Ask for something, read nothing, and return when the system knows of no connection."""
    loop, url = asyncio.get_running_loop(), URL(caller.server.url)
    with socket.socket() as lazy:
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lazy.setblocking(False)
        await loop.sock_connect(lazy, (url.host, url.port))
        lines = [f"GET {target} HTTP/1.1", "Host: x", *headers, "", ""]
        await loop.sock_sendall(lazy, "\r\n".join(lines).encode())
        try:
            while True:
                await loop.sock_sendall(lazy, b"\r\n")  # fails once there is no connection
                await asyncio.sleep(0.05)
        except ConnectionError:
            pass


async def test_who_does_not_read_an_answer_is_cut_off(impatient: Caller) -> None:
    bucket = impatient.files / "output"
    (bucket / "noise.png").write_bytes(os.urandom(8_000_000))
    storage = impatient.server.service.app[CONTEXT].storage
    file = await storage.presign("output", "noise.png", expires_in=60)
    with structlog.testing.capture_logs() as lines:
        await asyncio.gather(
            until_cut_off(impatient, "/openapi.json?full=1"),
            until_cut_off(impatient, "/openapi.json?full=1", "Connection: close"),
            until_cut_off(impatient, file.removeprefix(impatient.server.url)),
        )
    assert (await impatient.get("/health"))[0] == 200
    assert set(events(lines)) == {"request_finished", "slow_connections_dropped"}


async def test_who_does_not_read_a_large_result_is_cut_off(impatient: Caller) -> None:
    picture = encoded(Image.frombytes("RGB", (400, 400), os.urandom(400 * 400 * 3)), "PNG")
    body: dict[str, Any] = {"prompt": "resize to 1600x1600", "image_base64": as_base64(picture)}
    job_id = (await impatient.run("/process-image-async-b64", body))["job_id"]
    with structlog.testing.capture_logs() as lines:
        await until_cut_off(impatient, f"/jobs/{job_id}/result")
        while "request_finished" not in events(lines):  # noqa: ASYNC110 - the log has no event
            await asyncio.sleep(0.01)
    assert "request_crashed" not in events(lines)


async def test_who_reads_slowly_gets_all_of_it(impatient: Caller) -> None:
    content = os.urandom(8_000_000)
    (impatient.files / "output" / "noise.png").write_bytes(content)
    storage = impatient.server.service.app[CONTEXT].storage
    url = await storage.presign("output", "noise.png", expires_in=60)
    async with impatient.session.get(url) as answer:
        received = b""
        async for chunk in answer.content.iter_chunked(800_000):
            received += chunk
            await asyncio.sleep(0.1)  # the whole takes much longer than a moment
    assert received == content
