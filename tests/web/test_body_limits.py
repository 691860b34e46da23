"""Bodies that are too large, too many, or not wanted: refused before they are sent, if possible."""

import asyncio
import io
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from PIL import Image
from yarl import URL

from imgsvc.config import Settings
from imgsvc.web.keys import CONTEXT
from imgsvc.web.routes import ROUTES
from standins.pictures import as_base64
from standins.processes import resident_bytes
from standins.server_process import server_process
from standins.service import Caller, running_service
from web.auth.callers import guarded_service
from web.raw_sockets import connection, until_closed
from web.refusals import PATHS, PHOTO, raw

BODY = json.dumps(PHOTO).encode()


def head(caller: Caller, path: str = PATHS[0], **headers: Any) -> bytes:
    """Return a head that announces a body."""
    given = {
        "Host": URL(caller.server.url).authority,
        "callbackUrl": caller.receiver.url,
        "Content-Type": "application/json",
    } | {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items())]
    return "\r\n".join([*lines, "", ""]).encode()


@pytest.fixture
async def caller(make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("imgsvc.web.connection.LINGERING_TIME", 0.05)
    server = {"max_body_bytes": 100_000, "max_bodies_bytes": 150_000}
    async with running_service(make_settings(server=server)) as caller:
        yield caller


@pytest.mark.parametrize(
    "path", [PATHS[0], *(pytest.param(path, marks=pytest.mark.slow) for path in PATHS[1:])]
)
@pytest.mark.parametrize("expect", [{}, {"Expect": "100-continue"}], ids=["at-once", "expects"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Length": 100_001}, 413),
        ({"Content-Length": 10**15}, 413),
        ({"Content-Length": 1000, "Content-Encoding": "gzip"}, 415),
        ({"Content-Length": 1000, "Content-Encoding": "identity, br"}, 415),
        ({"Content-Length": 1000, "Content-Encoding": "identity\r\nContent-Encoding: gzip"}, 415),
        ({"Content-Length": 1000, "Content-Type": "text/plain"}, 415),
        ({"Content-Length": 1000, "callbackUrl": "ftp://x"}, 400),
    ],
    ids=["byte-too-many", "petabyte", "gzip", "two-encodings", "two-headers", "text", "callback"],
)
async def test_what_is_refused_by_its_head_is_not_asked_for(
    caller: Caller, path: str, expect: dict[str, str], headers: dict[str, Any], status: int
) -> None:
    async with connection(caller.server.url) as (reader, writer):
        writer.write(head(caller, path, **headers, **expect))
        answer = await until_closed(reader)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"\r\nConnection: close\r\n" in answer
    assert b"100 Continue" not in answer


async def test_nobody_is_asked_for_a_body_that_no_route_takes_or_before_who_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgsvc.web.connection.LINGERING_TIME", 0.05)
    async with guarded_service(tmp_path / "data") as caller:

        async def answer(route: web.RouteDef) -> bytes:
            path = re.sub(r"{[^}]*}+", "x", route.path)
            async with connection(caller.server.url) as (reader, writer):
                request = head(caller, path, Content_Length=9, Expect="100-continue")
                writer.write(request.replace(b"POST", route.method.encode(), 1))
                return await until_closed(reader)

        answers = await asyncio.gather(*(answer(route) for route, _ in ROUTES))
    assert {each[:9] for each in answers} == {b"HTTP/1.1 "}
    assert not any(b" 100 Continue" in each for each in answers)


async def test_an_expectation_of_two_is_none(caller: Caller) -> None:
    async with connection(caller.server.url) as (reader, writer):
        request = head(caller, Content_Length=len(BODY), Expect="100-continue\r\nExpect: 200-ok")
        writer.write(request)
        assert b" 417 " in await reader.readline()


async def test_whoever_waits_for_a_100_gets_it_when_the_body_is_wanted(caller: Caller) -> None:
    async with connection(caller.server.url) as (reader, writer):
        writer.write(head(caller, Content_Length=len(BODY), Expect="100-continue"))
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(BODY)
        assert b" 202 " in await reader.readline()


async def test_chunks_are_refused_once_they_are_too_many(caller: Caller) -> None:
    async with connection(caller.server.url) as (reader, writer):
        chunk = b"2710\r\n" + b" " * 10_000 + b"\r\n"
        writer.write(head(caller, Transfer_Encoding="chunked") + chunk * 11)
        assert b" 413 " in await reader.readline()


def used(caller: Caller) -> int:
    return caller.server.service.app[CONTEXT].intake.budget.used


async def arrived(caller: Caller, count: int) -> None:
    while used(caller) < count:  # noqa: ASYNC110 - a counter has no event
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("chunked", [False, True])
async def test_bodies_that_find_no_room_are_put_off_until_there_is_some(
    caller: Caller, chunked: bool
) -> None:
    async with connection(caller.server.url) as (first, writer):
        writer.write(head(caller, Content_Length=99_000) + b" " * 90_000)
        await arrived(caller, 90_000)
        body = b" " * 70_000 + BODY
        async with connection(caller.server.url) as (reader, other):
            if chunked:
                other.write(head(caller, Transfer_Encoding="chunked"))
                other.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
            else:
                other.write(head(caller, Content_Length=len(body)))
            answer = await reader.readuntil(b"}")
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nRetry-After: 5\r\n" in answer
        assert b'"code":"server_busy"' in answer
        writer.write(b" " * 9_000)
        assert b" 400 " in await first.readline()
    assert (await raw(caller, body))[0] == 202
    assert used(caller) == 0


async def test_bodies_that_are_announced_and_do_not_come_take_no_room(caller: Caller) -> None:
    async with connection(caller.server.url) as (_, one), connection(caller.server.url) as (_, two):
        for writer in (one, two):
            writer.write(head(caller, Content_Length=99_000) + b" " * 10_000)
        await arrived(caller, 20_000)
        assert (await raw(caller, BODY))[0] == 202
    while used(caller):  # noqa: ASYNC110 - as above; what was cut off is given back
        await asyncio.sleep(0.01)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_50_bodies_of_20_mb_at_once_need_less_than_a_gibibyte(tmp_path: Path) -> None:
    file = io.BytesIO()
    noise = Image.frombytes("RGB", (2240, 2240), os.urandom(2240 * 2240 * 3))
    noise.save(file, "PNG", compress_level=0)
    body = json.dumps(PHOTO | {"image_base64": as_base64(file.getvalue())}).encode()
    assert len(body) > 20_000_000
    peak = 0
    async with server_process(tmp_path / "data") as server, aiohttp.ClientSession() as session:

        async def post() -> int:
            headers = {"Prefer": "respond-async", "Content-Type": "application/json"}
            sent = io.BytesIO(body)
            async with session.post(server.url + PATHS[0], data=sent, headers=headers) as answer:
                return answer.status

        posts = asyncio.gather(*(post() for _ in range(50)))
        while not posts.done():
            peak = max(peak, await asyncio.to_thread(resident_bytes, server.process.pid))
            await asyncio.wait({posts}, timeout=0.05)
        assert set(posts.result()) == {202}
    print(f"peak of 50 bodies: {peak / 2**20:.0f} MiB")  # noqa: T201 - the figure is the point
    assert peak < 2**30
