"""What callers see of a spool that is full."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable

import pytest
from aiohttp import web
from yarl import URL

from imgsvc.config import Settings
from imgsvc.jobs import BlobFolder
from imgsvc.web.keys import CONTEXT
from standins.pictures import as_base64, picture
from standins.receiver import Receiver
from standins.service import Caller, running_service

LIMIT = 10_000_000
BODY = {"prompt": "x", "image_base64": as_base64(picture())}


@pytest.fixture
async def caller(make_settings: Callable[..., Settings]) -> AsyncIterator[Caller]:
    async with running_service(make_settings(backend={"max_spool_bytes": LIMIT})) as caller:
        yield caller


def blobs_of(caller: Caller) -> BlobFolder:
    return caller.server.service.app[CONTEXT].intake.blobs


async def fill(caller: Caller) -> str:
    """Take up all the room there is, and return the key of the blob that does."""
    blob = await blobs_of(caller).put([bytes(LIMIT)], content_type="image/png")
    return blob.key


@pytest.mark.parametrize(
    "path", ["/process-image-async-b64", "/process-image-async", "/batch-process-images"]
)
async def test_a_job_that_finds_no_room_is_refused_before_its_body_is_read(
    caller: Caller, path: str
) -> None:
    await fill(caller)
    url = URL(caller.server.url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    # A body is announced, and never sent.
    writer.write(
        f"POST {path} HTTP/1.1\r\nHost: {url.authority}\r\nContent-Type: application/json\r\n"
        f"callbackUrl: {caller.receiver.url}\r\nContent-Length: 1000\r\n\r\n".encode()
    )
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    problem = json.loads(await reader.readuntil(b"}"))
    writer.close()

    assert head.startswith("http/1.1 503 ")
    assert "retry-after: 60\r\n" in head
    assert problem["code"] == "spool_full"


async def test_readiness_says_so_and_health_goes_on_to_answer(caller: Caller) -> None:
    await fill(caller)
    status, problem = await caller.get("/health/ready")
    assert (status, problem["code"]) == (503, "spool_full")
    status, health = await caller.get("/health")
    assert status == 200
    assert health["spool_bytes"] >= LIMIT


async def test_jobs_are_taken_again_once_there_is_room(caller: Caller) -> None:
    key = await fill(caller)
    assert (await caller.post("/process-image-async-b64", BODY))[0] == 503

    await blobs_of(caller).delete_keys([key])
    assert (await caller.run("/process-image-async-b64", BODY))["status"] == "completed"
    assert await caller.get("/health/ready") == (200, {"ok": True, "breakers": []})


async def test_an_accepted_job_brings_its_result_although_the_spool_is_full(
    caller: Caller, receiver: Receiver
) -> None:
    fetched, full = asyncio.Event(), asyncio.Event()

    async def once_it_is_full(_request: web.Request) -> web.Response:
        fetched.set()
        await full.wait()
        return web.Response(body=picture(), content_type="image/png")

    receiver.answer_with(once_it_is_full)
    body = {"prompt": "x", "image_url": receiver.url}
    assert (await caller.post("/process-image-async-b64", body))[0] == 202
    await fetched.wait()
    await fill(caller)
    full.set()

    callback = (await caller.receiver.next()).json
    assert callback["status"] == "completed"
    assert callback["result_image_base64"]
