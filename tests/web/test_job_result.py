"""Results of jobs, fetched in place of waiting for the callback."""

import asyncio
import base64
import json
import os
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio
from PIL import Image
from structlog.testing import capture_logs
from structlog.typing import EventDict, WrappedLogger

from imgsvc.config import Settings
from imgsvc.jobs.models import CallbackState
from standins.openai import OpenAIStandin, openai_standin
from standins.pictures import as_base64, encoded, picture
from standins.service import Caller, running_service, service_settings
from web.refusals import PATHS, assert_problem

pytestmark = pytest.mark.asyncio(loop_scope="package")

TO_BASE64, TO_STORAGE, BATCH = PATHS
PHOTO = {"prompt": "Blur it", "image_base64": as_base64(picture()), "filename": "photo.png"}


@pytest_asyncio.fixture(loop_scope="package")
async def answering(standin: OpenAIStandin) -> AsyncIterator[Callable[[bytes], None]]:
    """Let the image API answer with a given file."""

    def answer_with(file: bytes) -> None:
        standin.answer = file

    yield answer_with
    standin.answer = None


def noise(side: int) -> bytes:
    """Return a picture that takes three bytes a pixel."""
    return encoded(Image.frombytes("RGB", (side, side), os.urandom(side * side * 3)), "PNG")


async def result(caller: Caller, job_id: str) -> tuple[int, Any]:
    return await caller.get(f"/jobs/{job_id}/result")


@pytest.mark.parametrize("more", [0, 1, 2], ids=lambda more: f"{more} bytes more")
@pytest.mark.parametrize("side", [8, 700], ids=["one chunk", "several chunks"])
async def test_an_inline_result_is_the_image_of_the_callback_byte_by_byte(
    remote: Caller, answering: Callable[[bytes], None], side: int, more: int
) -> None:
    file = noise(side) + bytes(more)  # base64 pads each in another way
    answering(file)
    callback = await remote.run(TO_BASE64, PHOTO)
    url = f"{remote.server.url}/jobs/{callback['job_id']}/result"
    async with remote.session.get(url) as answer:
        assert (answer.status, answer.content_type) == (200, "image/png")
        assert answer.content_length == len(file)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        body = await answer.read()
    assert body == file == base64.b64decode(callback["result_image_base64"])


@pytest.mark.parametrize("output_format", ["jpeg", "webp"])
async def test_an_inline_result_has_the_type_of_its_picture(
    remote: Caller, output_format: str
) -> None:
    callback = await remote.run(TO_BASE64, PHOTO | {"output_format": output_format})
    async with remote.session.get(
        f"{remote.server.url}/jobs/{callback['job_id']}/result"
    ) as answer:
        assert answer.content_type == f"image/{output_format}"
        assert await answer.read() == base64.b64decode(callback["result_image_base64"])


async def test_a_head_request_tells_type_and_length_of_an_inline_result(local: Caller) -> None:
    callback = await local.run(TO_BASE64, PHOTO)
    async with local.session.head(f"{local.server.url}/jobs/{callback['job_id']}/result") as answer:
        assert (answer.status, answer.content_type) == (200, "image/png")
        assert answer.content_length == len(base64.b64decode(callback["result_image_base64"]))


async def test_a_stored_result_is_a_new_link_to_the_same_object(local: Caller) -> None:
    callback = await local.run(TO_STORAGE, PHOTO)
    status, stored = await result(local, callback["job_id"])
    assert status == 200
    assert stored == {
        "object_key": callback["object_key"],
        "result_url": stored["result_url"],
        "expires_in": 3600,
    }
    async with local.session.get(stored["result_url"]) as answer:
        assert (answer.status, answer.content_type) == (200, "image/png")


async def test_the_result_of_a_batch_is_a_link_to_its_manifest(local: Caller) -> None:
    callback = await local.run(BATCH, {"prompt": "x", "input_prefix": "nothing/"})
    _, stored = await result(local, callback["job_id"])
    async with local.session.get(stored["result_url"]) as answer:
        assert json.loads(await answer.read())["job_id"] == callback["job_id"]


async def test_results_outlive_the_server_and_the_links_that_it_gave(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    settings = service_settings(tmp_path_factory.mktemp("restarted"))
    async with running_service(Settings.model_validate(settings)) as caller:
        inline = await caller.run(TO_BASE64, PHOTO)
        stored = await caller.run(TO_STORAGE, PHOTO)
        for callback in (inline, stored):
            await caller.until(
                callback["job_id"], lambda job: job.callback_state is CallbackState.DELIVERED
            )
        first_url = caller.server.url
    async with running_service(Settings.model_validate(settings)) as caller:
        url = f"{caller.server.url}/jobs/{inline['job_id']}/result"
        async with caller.session.get(url) as answer:
            assert await answer.read() == base64.b64decode(inline["result_image_base64"])
        _, again = await result(caller, stored["job_id"])
        assert stored["result_url"].startswith(first_url)
        assert again["result_url"].startswith(caller.server.url)
        async with caller.session.get(again["result_url"]) as answer:
            assert answer.status == 200


async def test_a_job_that_has_not_ended_has_no_result_yet(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async with openai_standin() as standin:
        standin.fail_always("hang")
        settings = service_settings(
            tmp_path_factory.mktemp("hanging"),
            openai={"api_key": standin.api_key, "base_url": standin.base_url},
        )
        async with running_service(Settings.model_validate(settings)) as caller:
            job_id = await caller.submit(TO_BASE64, PHOTO)
            await standin.arrived.wait()
            status, problem = await result(caller, job_id)
            assert status == 409
            assert_problem(status, problem, "job_not_finished")


async def test_a_failed_job_has_no_result(remote: Caller, standin: OpenAIStandin) -> None:
    standin.fail_next("moderation_blocked")
    callback = await remote.run(TO_BASE64, PHOTO)
    assert callback["status"] == "failed"
    status, problem = await result(remote, callback["job_id"])
    assert status == 409
    assert_problem(status, problem, "job_has_no_result")


async def test_a_batch_without_a_manifest_leads_to_its_items(local: Caller) -> None:
    (local.files / "output" / "blocked").touch()  # no folder can be here
    body = {"prompt": "x", "input_prefix": "nothing/", "output_prefix": "blocked/"}
    callback = await local.run(BATCH, body)
    assert callback["status"] == "completed_with_errors"
    assert callback["errors"]
    status, problem = await result(local, callback["job_id"])
    assert_problem(status, problem, "job_has_no_result")
    items = f"/jobs/{callback['job_id']}/items"
    assert items in problem["detail"]
    assert await local.get(items) == (200, {"items": []})


async def test_a_result_that_is_gone_from_the_disk_is_said_to_be_gone(local: Caller) -> None:
    callback = await local.run(TO_BASE64, PHOTO)
    job = await local.until(
        callback["job_id"], lambda job: job.callback_state is CallbackState.DELIVERED
    )
    assert job.callback_body is not None
    blobs = local.files.parent / "spool" / "blobs"
    (blobs / job.callback_body.key).unlink()
    status, problem = await result(local, job.id)
    assert status == 410
    assert_problem(status, problem, "result_gone")


async def test_a_client_that_goes_away_in_the_middle_of_a_result_is_no_error(
    remote: Caller, answering: Callable[[bytes], None]
) -> None:
    answering(noise(2000))
    callback = await remote.run(TO_BASE64, PHOTO)
    path = f"/jobs/{callback['job_id']}/result"
    finished = asyncio.Event()

    def note_the_end(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
        if event["event"] == "request_finished" and event["path"] == path:
            finished.set()
        return event

    with capture_logs(processors=[note_the_end]) as lines, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # most of it has to wait
        client.setblocking(False)
        host, port = remote.server.url.removeprefix("http://").split(":")
        loop = asyncio.get_running_loop()
        await loop.sock_connect(client, (host, int(port)))
        await loop.sock_sendall(client, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert (await loop.sock_recv(client, 1000)).startswith(b"HTTP/1.1 200")
        client.close()
        await finished.wait()
    assert "request_crashed" not in {line["event"] for line in lines}
