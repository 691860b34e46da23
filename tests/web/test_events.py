"""A job's story as server-sent events."""

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from multidict import CIMultiDict

from imgsvc.config import Settings
from standins.openai import OpenAIStandin, openai_standin
from standins.pictures import picture
from standins.receiver import reply
from standins.service import Caller, running_service
from web.refusals import PATHS, PHOTO, assert_problem
from web.submitting import accepted, read_events, story, stream, tell, types

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def called(caller: Caller, path: str, **fields: Any) -> str:
    """Submit a job with a callback, and return its id."""
    status, answer = await caller.post(path, PHOTO | fields)
    assert status == 202
    return str(answer["job_id"])


# -- stories ----------------------------------------------------------------------------


async def test_the_story_of_an_edit_is_told_from_its_start_to_its_callback(
    remote: Caller,
) -> None:
    events = await story(remote, await called(remote, PATHS[1]))
    assert types(events) == [
        "queued",
        "started",
        "provider_called",
        "stored",
        "finished",
        "callback_attempt",
        "callback_delivered",
    ]
    assert [event.id for event in events] == list(range(1, len(events) + 1))
    assert events[1].data["attempt"] == 1
    assert events[2].data["provider"] == "openai"
    assert events[4].data["state"] == "completed"
    assert events[5].data["status"] == 200
    times = [event.data["at"] for event in events]
    assert times == sorted(times)
    assert all(time.endswith("Z") for time in times)


async def test_the_story_tells_why_the_local_engine_stepped_in(
    remote: Caller, standin: OpenAIStandin
) -> None:
    standin.fail_next("insufficient_quota")
    events = await story(remote, await called(remote, PATHS[0]))
    assert types(events) == [
        "queued",
        "started",
        "provider_called",
        "fallback",
        "finished",
        "callback_attempt",
        "callback_delivered",
    ]
    assert events[2].data["error"] == "provider_out_of_credit"
    assert events[3].data["reason"] == "provider_out_of_credit"


async def test_every_attempt_to_deliver_the_callback_is_in_the_story(remote: Caller) -> None:
    remote.receiver.answer_with(reply(500), reply(503))
    events = await story(remote, await called(remote, PATHS[0]))
    attempts = [event.data["status"] for event in events if event.type == "callback_attempt"]
    assert attempts == [500, 503, 200]
    assert events[-1].type == "callback_delivered"


async def test_a_batch_tells_how_far_it_is(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings()
    folder = settings.data_dir / "files" / "input" / "input"
    async with running_service(settings) as caller:
        fill(folder)
        job_id = await accepted(caller, {"prompt": "x", "concurrency": 1}, PATHS[2])
        events = await story(caller, job_id)
    items = [event.data for event in events if event.type == "item_done"]
    # The second one is not told if the third one ends soon after it.
    assert [item["done"] for item in items] in ([1, 2, 3], [1, 3])
    assert (items[-1]["total"], items[-1]["total_is_final"]) == (3, True)
    assert (items[0]["key"], items[-1]["key"]) == ("input/a.png", "input/c.png")
    assert events[-1].type == "finished"


def fill(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in "abc":
        (folder / f"{name}.png").write_bytes(picture())


async def test_the_story_survives_a_restart(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings()
    async with running_service(settings) as caller:
        job_id = await called(caller, PATHS[1])
        before = await story(caller, job_id)
    async with running_service(settings) as caller:
        assert await story(caller, job_id) == before


async def test_events_come_while_the_job_is_in_work(
    make_settings: Callable[..., Settings],
) -> None:
    async with openai_standin() as sleeper:
        sleeper.fail_next("hang")
        openai = {"api_key": sleeper.api_key, "base_url": sleeper.base_url}
        async with running_service(make_settings(openai=openai)) as caller:
            job_id = await accepted(caller, PHOTO)
            async with stream(caller, job_id) as answer:
                events = read_events(answer)
                assert [(await anext(events)).type for _ in range(2)] == ["queued", "started"]
                await sleeper.arrived.wait()
                tell(caller, job_id, done=1)
                assert (await anext(events)).data["done"] == 1
                sleeper.close()  # the provider call fails now
                assert types([event async for event in events])[-1] == "finished"


# -- resuming ---------------------------------------------------------------------------


async def test_a_reader_goes_on_behind_the_event_it_has_read_last(remote: Caller) -> None:
    job_id = await called(remote, PATHS[1])
    whole = await story(remote, job_id)
    for number in range(len(whole)):
        assert await story(remote, job_id, number) == whole[number:]


async def test_a_reader_who_has_it_all_is_told_not_to_come_again(remote: Caller) -> None:
    job_id = await called(remote, PATHS[0])
    whole = await story(remote, job_id)
    async with stream(remote, job_id, whole[-1].id) as answer:
        assert (answer.status, await answer.read()) == (204, b"")


async def test_a_reader_is_told_how_soon_to_come_again(remote: Caller) -> None:
    job_id = await called(remote, PATHS[0])
    async with stream(remote, job_id) as answer:
        assert (await answer.content.readline()).startswith(b"retry: ")
        assert answer.headers["Cache-Control"] == "no-store"


async def test_events_that_were_removed_are_told_as_a_gap(
    local: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgsvc.jobs.sqlite.events.MAX_EVENTS", 10)
    job_id = await accepted(local, PHOTO)
    end = (await story(local, job_id))[-1].id
    for done in range(1, 21):
        tell(local, job_id, done=done)  # the first ten go: only items do
    numbers = [*range(1, end + 1), end + 10, *range(end + 11, end + 21)]
    whole = await story(local, job_id)
    assert [event.id for event in whole] == numbers
    assert types(whole)[end] == "gap"
    assert whole[end].data == {"from": end + 1, "to": end + 10}
    gap, *rest = await story(local, job_id, end + 3)
    assert (gap.id, gap.type, gap.data) == (end + 10, "gap", {"from": end + 4, "to": end + 10})
    assert rest == whole[end + 1 :]
    assert await story(local, job_id, end + 10) == rest  # it knows of the gap


async def test_a_number_that_the_job_has_not_reached_is_a_gap_before_the_whole_story(
    local: Caller,
) -> None:
    job_id = await accepted(local, PHOTO)
    whole = await story(local, job_id)
    gap, *rest = await story(local, job_id, 999)
    assert (gap.id, gap.type, gap.data) == (0, "gap", {"from": 1, "to": 999})
    assert rest == whole


@pytest.mark.parametrize("last", ["x", "-1", "1.5", "1 2", "9" * 19, "\N{ARABIC-INDIC DIGIT ONE}"])
async def test_a_number_that_is_none_is_refused(local: Caller, last: str) -> None:
    async with stream(local, str(uuid.uuid4()), last) as answer:
        assert_problem(answer.status, await answer.json(content_type=None), "invalid_event_id")
        assert answer.status == 400


async def test_two_numbers_are_refused(local: Caller) -> None:
    headers = CIMultiDict([("Last-Event-ID", "1"), ("Last-Event-ID", "2")])
    url = f"{local.server.url}/jobs/{uuid.uuid4()}/events"
    async with local.session.get(url, headers=headers) as answer:
        assert_problem(answer.status, await answer.json(content_type=None), "invalid_event_id")


@pytest.mark.parametrize("job_id", ["x", "7d3a1c52-8f0b-4a6e-9d21-5c8e4b7f6a10"])
async def test_a_job_that_is_not_there_has_no_story(local: Caller, job_id: str) -> None:
    status, problem = await local.get(f"/jobs/{job_id}/events")
    assert status == 404
    assert_problem(status, problem, "job_not_found")
