"""Callers that take their time with the head of a request."""

import asyncio
import re
from collections.abc import Callable

import pytest

from imgsvc.config import Settings
from standins.service import Caller, running_service
from web.raw_sockets import connection, until_closed

pytestmark = pytest.mark.timeout(60)


async def drip(caller: Caller, data: bytes) -> bytes:
    """Send these bytes again and again, and return what the server says before it hangs up."""
    async with connection(caller.server.url) as (reader, writer):
        writer.write(b"GET /health HTTP/1.1\r\n")
        closed = asyncio.create_task(until_closed(reader))
        while not closed.done():
            writer.write(data)
            await asyncio.wait({closed}, timeout=0.01)
        return closed.result()


@pytest.mark.parametrize("data", [b"", b"a: b\r\n", b"x"])
async def test_a_head_that_does_not_end_is_cut_off_however_it_drips(
    make_settings: Callable[..., Settings], data: bytes
) -> None:
    async with running_service(make_settings(server={"header_timeout": 0.3})) as caller:
        answer = await drip(caller, data)
    assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert b"Connection: close\r\n" in answer
    assert b'"code":"request_head_timeout"' in answer
    head, _, body = answer.partition(b"\r\n\r\n")
    [request_id] = re.findall(rb"X-Request-Id: ([0-9a-f]{32})", head)
    assert request_id in body


async def test_a_connection_that_says_nothing_is_closed_without_a_word(
    make_settings: Callable[..., Settings],
) -> None:
    async with (
        running_service(make_settings(server={"header_timeout": 0.1})) as caller,
        connection(caller.server.url) as (reader, _),
    ):
        assert await until_closed(reader) == b""


async def test_the_second_head_of_a_connection_has_the_same_time(
    make_settings: Callable[..., Settings],
) -> None:
    async with (
        running_service(make_settings(server={"header_timeout": 0.3})) as caller,
        connection(caller.server.url) as (reader, writer),
    ):
        writer.write(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"}")
        writer.write(b"GET /health/live HTT")
        assert b" 408 " in await reader.readline()


@pytest.mark.parametrize("rest", [b"GET /health/live HTT", b"GET / HTTP/1.1\r\nA: b"])
async def test_a_head_that_begins_behind_a_request_has_the_same_time(
    make_settings: Callable[..., Settings], rest: bytes
) -> None:
    async with (
        running_service(make_settings(server={"header_timeout": 0.3})) as caller,
        connection(caller.server.url) as (reader, writer),
    ):
        writer.write(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n" + rest)
        answers = await until_closed(reader)
    assert answers.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"HTTP/1.1 408 Request Timeout\r\n" in answers


MANY = b"".join(b"A%d: %b\r\n" % (number, b"a" * 30_000) for number in range(100))


@pytest.mark.parametrize("end", [b"", b"\r\n"], ids=["endless", "whole"])
@pytest.mark.parametrize("before", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"], ids=["", "second"])
async def test_headers_that_are_too_large_together_are_refused(
    make_settings: Callable[..., Settings], before: bytes, end: bytes
) -> None:
    async with (
        running_service(make_settings()) as caller,
        connection(caller.server.url) as (reader, writer),
    ):
        writer.write(before)
        if before:
            assert b" 302 " in await reader.readuntil(b"\r\n\r\n")
        writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n" + MANY + end)
        assert b" 431 " in await reader.readline()


async def test_a_head_that_is_whole_and_a_little_too_large_is_refused_too(
    make_settings: Callable[..., Settings],
) -> None:
    async with (
        running_service(make_settings()) as caller,
        connection(caller.server.url) as (reader, writer),
    ):
        for size, status in ((60_000, 200), (66_000, 431)):
            half = b"a" * (size // 2)
            head = b"GET /health/live HTTP/1.1\r\nHost: x\r\nA: %b\r\nB: %b\r\n\r\n"
            writer.write(head % (half, half))
            assert b" %d " % status in await reader.readline()
            await reader.readuntil(b"}")


async def test_a_connection_between_two_requests_may_be_silent_for_longer(
    make_settings: Callable[..., Settings],
) -> None:
    async with (
        running_service(make_settings(server={"header_timeout": 0.1})) as caller,
        connection(caller.server.url) as (reader, writer),
        connection(caller.server.url) as (silent, _),
    ):
        for _ in range(2):
            writer.write(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b" 200 OK" in await reader.readline()
            await reader.readuntil(b"}")
            await until_closed(silent)  # as long as a head may take, at the first turn


async def assert_slow_ones_leave_good_ones_alone(
    make_settings: Callable[..., Settings], many: int, *, seconds: float
) -> None:
    async with running_service(make_settings(server={"header_timeout": seconds})) as caller:
        there = asyncio.Semaphore(0)
        slow = [asyncio.create_task(drip_slowly(caller, there)) for _ in range(many)]
        for _ in slow:
            await there.acquire()
        for _ in range(20):
            assert (await caller.get("/health/live"))[0] == 200
        answers = await asyncio.gather(*slow)
        assert all(b" 408 " in answer for answer in answers)
        assert (await caller.get("/health/live"))[0] == 200


async def drip_slowly(caller: Caller, there: asyncio.Semaphore) -> bytes:
    async with connection(caller.server.url) as (reader, writer):
        writer.write(b"POST /process-image-async HTTP/1.1\r\n")
        there.release()
        closed = asyncio.create_task(until_closed(reader))
        while not closed.done():
            writer.write(b"x")
            await asyncio.wait({closed}, timeout=1)
        return closed.result()


async def test_100_slow_connections_leave_good_ones_alone(
    make_settings: Callable[..., Settings],
) -> None:
    await assert_slow_ones_leave_good_ones_alone(make_settings, 100, seconds=1)


@pytest.mark.slow
async def test_2000_slow_connections_leave_good_ones_alone(
    make_settings: Callable[..., Settings],
) -> None:
    await assert_slow_ones_leave_good_ones_alone(make_settings, 2000, seconds=5)
