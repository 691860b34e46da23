"""Readers of a job's story: idle ones, lazy ones, and those who leave."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest
import structlog

from imgsvc.config import Settings
from imgsvc.jobs.sqlite.backend import SqliteBackend
from standins.openai import openai_standin
from standins.service import Caller, running_service
from web.refusals import PHOTO
from web.submitting import accepted, read_events, story, stream, tell, types

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def test_a_silent_stream_shows_that_it_is_alive(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgsvc.web.events.HEARTBEAT", 0.05)
    async with openai_standin() as sleeper:
        sleeper.fail_next("hang")
        openai = {"api_key": sleeper.api_key, "base_url": sleeper.base_url}
        async with running_service(make_settings(openai=openai)) as caller:
            job_id = await accepted(caller, PHOTO)
            async with stream(caller, job_id) as answer:
                seen = 0
                async for line in answer.content:
                    seen += line.startswith(b":")
                    if seen == 3:
                        break


async def test_streams_end_when_the_server_drains(make_settings: Callable[..., Settings]) -> None:
    async with openai_standin() as sleeper:
        sleeper.fail_next("hang")
        openai = {"api_key": sleeper.api_key, "base_url": sleeper.base_url}
        async with running_service(make_settings(openai=openai)) as caller:
            job_id = await accepted(caller, PHOTO)
            async with stream(caller, job_id) as answer:
                events = read_events(answer)
                assert [(await anext(events)).type for _ in range(2)] == ["queued", "started"]
                caller.server.service.readiness.drain()
                assert [event async for event in events] == []
            # Also one that begins only now, after all there is to tell.
            assert types(await story(caller, job_id)) == ["queued", "started"]


@pytest.mark.slow
async def test_a_reader_who_does_not_read_is_dropped_while_others_go_on(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgsvc.web.events.WRITE_TIMEOUT", 0.5)
    async with openai_standin() as sleeper:
        sleeper.fail_next("hang")
        openai = {"api_key": sleeper.api_key, "base_url": sleeper.base_url}
        async with running_service(make_settings(openai=openai)) as caller:
            job_id = await accepted(caller, PHOTO)
            await sleeper.arrived.wait()
            with (
                structlog.testing.capture_logs() as lines,
                socket.socket() as lazy,
            ):
                lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                lazy.setblocking(False)
                await open_stream(lazy, caller, job_id)
                async with stream(caller, job_id) as answer:
                    events = read_events(answer)
                    assert [(await anext(events)).type for _ in range(2)] == ["queued", "started"]
                    for done in range(400):
                        tell(caller, job_id, done=done, key="x" * 50_000)
                    assert [(await anext(events)).data["done"] for _ in range(400)] == list(
                        range(400)
                    )
                    while "slow_reader_dropped" not in [line["event"] for line in lines]:
                        tell(caller, job_id, done=-1)
                        assert (await anext(events)).data["done"] == -1
                # Only what was in the sockets' buffers is left, and no end of the answer.
                received = await read_all(lazy)
                assert len(received) < 400 * 50_000
                assert not received.endswith(b"0\r\n\r\n")


async def open_stream(sock: socket.socket, caller: Caller, job_id: str) -> None:
    """Ask for a stream, and read nothing of it."""
    loop = asyncio.get_running_loop()
    host, _, port = caller.server.url.removeprefix("http://").partition(":")
    await loop.sock_connect(sock, (host, int(port)))
    head = f"GET /jobs/{job_id}/events HTTP/1.1\r\nHost: {host}\r\n\r\n"
    await loop.sock_sendall(sock, head.encode())


async def read_all(sock: socket.socket) -> bytes:
    received = bytearray()
    while part := await asyncio.get_running_loop().sock_recv(sock, 65_536):
        received += part
    return bytes(received)


async def test_many_readers_look_no_more_often_than_a_few_and_miss_nothing(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgsvc.web.events.LOOKS", 4)
    looks = 0
    look = SqliteBackend.events

    async def counted(*given: Any, **named: Any) -> Any:
        nonlocal looks
        looks += 1
        return await look(*given, **named)

    async with openai_standin() as sleeper:
        sleeper.fail_next("hang")
        openai = {"api_key": sleeper.api_key, "base_url": sleeper.base_url}
        async with running_service(make_settings(openai=openai)) as caller:
            job_id = await accepted(caller, PHOTO)
            backend = caller.server.service.backend
            async with AsyncExitStack() as stack:
                answers = [
                    await stack.enter_async_context(stream(caller, job_id)) for _ in range(4)
                ]
                readers = [read_events(answer) for answer in answers]
                for reader in readers:
                    assert [(await anext(reader)).type for _ in range(2)] == ["queued", "started"]
                monkeypatch.setattr(SqliteBackend, "events", counted)
                for number in range(100):
                    tell(caller, job_id, number=number)
                    await backend.get(job_id)  # so that each wakes up the readers
                for reader in readers:
                    told = [(await anext(reader)).data["number"] for _ in range(100)]
                    assert told == list(range(100))
                assert looks < 4 * 100 / 2  # one a second and reader, or two
                await caller.post(f"/jobs/{job_id}/cancel", None)


async def test_a_reader_who_leaves_does_no_harm(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgsvc.web.events.HEARTBEAT", 0.05)
    async with openai_standin() as sleeper:
        sleeper.fail_next("hang")
        openai = {"api_key": sleeper.api_key, "base_url": sleeper.base_url}
        with structlog.testing.capture_logs() as lines:
            async with running_service(make_settings(openai=openai)) as caller:
                job_id = await accepted(caller, PHOTO)
                async with aiohttp.ClientSession(trust_env=False) as session:
                    url = f"{caller.server.url}/jobs/{job_id}/events"
                    async with session.get(url) as answer:
                        await anext(read_events(answer))
                async with stream(caller, job_id) as answer:
                    while not any(
                        line["event"] == "request_finished" and line["path"].endswith("/events")
                        for line in lines
                    ):
                        await answer.content.readline()
        assert "request_crashed" not in [line["event"] for line in lines]


async def test_a_head_request_is_no_stream(local: Caller) -> None:
    async with local.session.head(f"{local.server.url}/jobs/any/events") as answer:
        assert answer.status == 405
