"""How far a batch is: in the job, and in its events."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from imgsvc.config import Settings
from standins.openai import OpenAIStandin, openai_standin
from standins.pictures import picture
from standins.service import Caller, running_service, service_settings
from web.refusals import PATHS, PHOTO
from web.submitting import Event, accepted, read_events, story, stream

pytestmark = pytest.mark.asyncio(loop_scope="package")

BATCH = PATHS[2]
IMAGES = 5
NOTHING = {"done": 0, "failed": 0, "total": 0, "total_is_final": False}


@pytest_asyncio.fixture(loop_scope="package")
async def api() -> AsyncIterator[OpenAIStandin]:
    """Run an image API that can be told to hang."""
    async with openai_standin() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="package")
async def caller(tmp_path: Path, api: OpenAIStandin) -> AsyncIterator[Caller]:
    """Run a service with images of one folder, and a file that is none, for one batch at a time."""
    settings = service_settings(
        tmp_path / "data",
        openai={"api_key": api.api_key, "base_url": api.base_url},
        workers={"batches": 1},
        server={"drain_timeout": 0},  # some images hang
    )
    folder = tmp_path / "data" / "files" / "input" / "input"
    folder.mkdir(parents=True)
    for number in range(IMAGES):
        (folder / f"{number}.png").write_bytes(picture())
    (folder / "notes.txt").write_bytes(b"no image")
    async with running_service(Settings.model_validate(settings)) as running:
        yield running


async def progress(caller: Caller, job_id: str) -> Any:
    status, job = await caller.get(f"/jobs/{job_id}")
    assert status == 200
    return job.get("progress")


async def begun(caller: Caller, **fields: Any) -> str:
    return await accepted(caller, {"prompt": "x", "concurrency": 1, **fields}, BATCH)


async def item_done(caller: Caller, job_id: str, done: int) -> Event:
    """Wait until the story tells that so many images are done."""
    async with stream(caller, job_id) as answer:
        async for event in read_events(answer):
            if event.type == "item_done" and event.data["done"] == done:
                return event
    raise AssertionError("it was not told")


def numbers(event: Event) -> dict[str, Any]:
    """Return what an event tells of the whole batch."""
    return {name: value for name, value in event.data.items() if name not in {"at", "key", "state"}}


async def test_a_running_batch_shows_the_same_as_its_newest_event(
    caller: Caller, api: OpenAIStandin
) -> None:
    api.fail_next("moderation_blocked")
    api.fail_after(1, "hang")
    job_id = await begun(caller)

    event = await item_done(caller, job_id, 2)

    shown = await progress(caller, job_id)
    assert shown == numbers(event)
    assert (event.data["key"], event.data["state"]) == ("input/1.png", "processed")
    assert (shown["done"], shown["failed"], shown["total"]) == (2, 1, IMAGES)
    assert shown["total_is_final"]
    assert shown["seconds_left"] == pytest.approx(3 / shown["rate"], abs=0.1)


async def test_a_batch_that_waits_has_done_nothing(caller: Caller, api: OpenAIStandin) -> None:
    api.fail_always("hang")
    await begun(caller)
    await api.arrived.wait()  # the one worker for batches is busy
    waiting = await begun(caller)
    assert await progress(caller, waiting) == NOTHING
    status, job = await caller.post(f"/jobs/{waiting}/cancel", {})
    assert (status, job["progress"]) == (200, NOTHING | {"total_is_final": True})


async def test_a_batch_that_has_ended_is_done_whatever_became_of_its_images(
    caller: Caller, api: OpenAIStandin
) -> None:
    api.fail_next("moderation_blocked", times=2)
    job_id = await begun(caller)
    *_, last = [event for event in await story(caller, job_id) if event.type == "item_done"]
    ended = {"done": IMAGES, "failed": 2, "total": IMAGES, "total_is_final": True}
    assert await progress(caller, job_id) == ended
    told = numbers(last)
    assert told.pop("rate") > 0
    assert told == ended


async def test_a_batch_that_was_cancelled_is_done_too(caller: Caller, api: OpenAIStandin) -> None:
    api.fail_after(1, "hang")
    job_id = await begun(caller)
    await item_done(caller, job_id, 1)
    status, job = await caller.post(f"/jobs/{job_id}/cancel", {})
    ended = {"done": IMAGES, "failed": IMAGES - 1, "total": IMAGES, "total_is_final": True}
    assert (status, job["progress"]) == (200, ended)
    events = await story(caller, job_id)
    assert [event.type for event in events][-2:] == ["item_done", "finished"]
    assert ended.items() <= events[-2].data.items()


async def test_a_batch_that_is_done_again_counts_what_the_first_one_has_done(
    caller: Caller, api: OpenAIStandin
) -> None:
    api.fail_next("moderation_blocked", times=2)
    first = await begun(caller)
    await story(caller, first)
    api.fail_always("hang")
    api.arrived.clear()
    status, answer = await caller.post(f"/jobs/{first}/retry", {})
    assert status == 202
    await api.arrived.wait()
    again = {"done": IMAGES - 2, "failed": 0, "total": IMAGES, "total_is_final": True}
    assert await progress(caller, answer["job_id"]) == again


async def test_neither_a_single_image_nor_a_list_of_jobs_has_progress(caller: Caller) -> None:
    assert await progress(caller, await accepted(caller, PHOTO)) is None
    await story(caller, await begun(caller))
    _, page = await caller.get("/jobs")
    assert len(page["jobs"]) == 2
    assert not any("progress" in job for job in page["jobs"])
