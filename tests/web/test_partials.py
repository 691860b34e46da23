"""Unfinished versions of a picture, shown to whoever follows its job."""

import asyncio
import base64
import io
import os
import signal
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio
from PIL import Image

from imgsvc.config import Settings
from standins.openai import OpenAIStandin, openai_standin
from standins.pictures import as_base64, picture
from standins.processes import children_of_this_process
from standins.service import Caller, running_service, service_settings
from web.refusals import PATHS, PHOTO, assert_problem
from web.submitting import Event, accepted, read_events, story, stream, submit, types

pytestmark = pytest.mark.asyncio(loop_scope="package")

LARGE = {"prompt": "x", "image_base64": as_base64(picture(640, 320))}
SHOWN = LARGE | {"stream_partials": 2}


@pytest_asyncio.fixture(scope="module", loop_scope="package")
async def api() -> AsyncIterator[OpenAIStandin]:
    async with openai_standin() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="package")
async def caller(
    api: OpenAIStandin, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Caller]:
    """Run a service with this image API, and a second provider that does not stream."""
    access = {"api_key": api.api_key, "base_url": api.base_url}
    still = {"name": "still", "models": [{"name": "gpt-image-2.6-flare", "partial_images": 0}]}
    settings = service_settings(
        tmp_path_factory.mktemp("partials"),
        openai=access,
        providers=[still | access],
        routing={"first_wait": 1e-3, "open_seconds": 1e-6, "max_open_seconds": 1e-6},
    )
    async with running_service(Settings.model_validate(settings)) as running:
        yield running


async def result(caller: Caller, job_id: str) -> bytes:
    async with caller.session.get(f"{caller.server.url}/jobs/{job_id}/result") as answer:
        assert answer.status == 200
        return await answer.read()


async def until(events: AsyncIterator[Event], kind: str) -> None:
    """Read on to the next event of this type."""
    while (await anext(events)).type != kind:
        pass


def shown(event: Event) -> tuple[str, tuple[int, int]]:
    """Return format and size of an event's thumbnail, after a look at what is said of it."""
    content = base64.b64decode(event.data["thumbnail_base64"], validate=True)
    with Image.open(io.BytesIO(content)) as image:
        image.load()
    assert image.format is not None
    assert event.data["media_type"] == f"image/{image.format.lower()}"
    assert image.size == (event.data["width"], event.data["height"])
    return image.format, image.size


@pytest.mark.parametrize("path", PATHS[:2])
async def test_who_follows_a_job_sees_thumbnails_before_the_result(
    caller: Caller, api: OpenAIStandin, path: str
) -> None:
    with api.streams.held():
        job_id = await accepted(caller, SHOWN, path)
        async with stream(caller, job_id) as answer:
            events = read_events(answer)
            assert [(await anext(events)).type for _ in range(2)] == ["queued", "started"]
            for index in range(2):
                api.streams.let_go()
                event = await anext(events)
                assert (event.type, event.data["index"]) == ("partial_image", index)
                assert shown(event) == ("JPEG", (256, 128))
            api.streams.let_go()
            assert types([event async for event in events])[0] == "provider_called"
    again = types(await story(caller, job_id))
    assert again[2:5] == ["partial_image", "partial_image", "provider_called"]


async def test_the_result_is_that_of_a_job_that_shows_nothing(caller: Caller) -> None:
    jobs = [await accepted(caller, body) for body in (LARGE, SHOWN)]
    stories = [await story(caller, job_id) for job_id in jobs]
    assert [types(events)[-1] for events in stories] == ["finished", "finished"]
    plain, streamed = [await result(caller, job_id) for job_id in jobs]
    assert plain == streamed


async def test_without_the_field_or_with_0_nothing_is_streamed(
    caller: Caller, api: OpenAIStandin
) -> None:
    for body in (PHOTO, PHOTO | {"stream_partials": 0}):
        assert "partial_image" not in types(await story(caller, await accepted(caller, body)))
    assert all("stream" not in call.fields for call in list(api.calls)[-2:])


async def test_a_call_that_fails_once_it_has_shown_an_image_is_not_made_again(
    caller: Caller, api: OpenAIStandin
) -> None:
    api.fail_next("mid_stream_server_error")
    with api.streams.held():
        job_id = await accepted(caller, SHOWN)
        async with stream(caller, job_id) as answer:
            seen: list[tuple[str, Any]] = []
            api.streams.let_go()
            async for event in read_events(answer):
                seen.append((event.type, event.data.get("provider")))
                if event.type == "partial_image":
                    api.streams.let_go()
    assert seen[2:5] == [
        ("partial_image", None),
        ("provider_called", "openai"),
        ("provider_called", "still"),
    ]


async def test_a_provider_that_cannot_stream_still_steps_in(
    caller: Caller, api: OpenAIStandin
) -> None:
    api.fail_next("insufficient_quota")
    events = await story(caller, await accepted(caller, SHOWN))
    [told] = [event.data for event in events if event.type == "fallback"]
    assert (told["provider"], told["reason"]) == ("still", "provider_out_of_credit")
    assert "partial_image" not in types(events)


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
async def test_a_process_that_hangs_or_dies_delays_no_result(
    api: OpenAIStandin, make_settings: Callable[..., Settings], number: signal.Signals
) -> None:
    openai = {"api_key": api.api_key, "base_url": api.base_url}
    async with running_service(make_settings(openai=openai)) as caller:
        before = children_of_this_process()
        with api.streams.held():
            job_id = await accepted(caller, SHOWN)
            async with stream(caller, job_id) as answer:
                events = read_events(answer)
                api.streams.let_go()
                await until(events, "partial_image")
                [pid] = children_of_this_process() - before
                os.kill(pid, number)
                api.streams.let_go(2)
                last = [event async for event in events][-1]
        assert (last.type, last.data["state"]) == ("finished", "completed")
        # Nor is it one that another job's edit waits for.
        await story(caller, await accepted(caller, PHOTO | {"model": "local", "prompt": "grey"}))


async def test_partial_images_that_are_none_do_no_harm(caller: Caller, api: OpenAIStandin) -> None:
    api.fail_next("bad_partials")
    events = await story(caller, await accepted(caller, SHOWN))
    assert "partial_image" not in types(events)
    assert events[-1].data["state"] == "completed"


async def test_a_job_that_is_cancelled_mid_stream_shows_no_more(
    caller: Caller, api: OpenAIStandin
) -> None:
    with api.streams.held():
        job_id = await accepted(caller, SHOWN)
        async with stream(caller, job_id) as answer:
            events = read_events(answer)
            api.streams.let_go()
            await until(events, "partial_image")
            assert (await submit(caller, None, f"/jobs/{job_id}/cancel")).status in {200, 202}
            rest = [event async for event in events]
        await api.given_up.wait()
    assert "partial_image" not in types(rest)
    assert rest[-1].data["state"] == "cancelled"


async def test_a_service_that_stops_mid_stream_stops(
    api: OpenAIStandin, make_settings: Callable[..., Settings]
) -> None:
    before = children_of_this_process()
    openai = {"api_key": api.api_key, "base_url": api.base_url}
    settings = make_settings(openai=openai, server={"port": 0, "drain_timeout": 0})
    with api.streams.held():
        async with running_service(settings) as caller:
            job_id = await accepted(caller, SHOWN)
            async with stream(caller, job_id) as answer:
                api.streams.let_go()
                await until(read_events(answer), "partial_image")
    assert children_of_this_process() == before


# -- what is refused ----------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [-1, 4, 1.5, "2", True])
async def test_from_0_to_3_images_can_be_asked_for(caller: Caller, wrong: Any) -> None:
    answer = await submit(
        caller, PHOTO | {"stream_partials": wrong}, headers={"Prefer": "respond-async"}
    )
    assert_problem(answer.status, answer.body, "invalid_request")
    assert answer.body["errors"][0]["field"] == "stream_partials"


@pytest.mark.parametrize("model", ["still", "local"])
async def test_a_model_that_cannot_stream_refuses_at_once(caller: Caller, model: str) -> None:
    answer = await submit(caller, SHOWN | {"model": model}, headers={"Prefer": "respond-async"})
    assert_problem(answer.status, answer.body, "not_offered_by_model")
    [error] = answer.body["errors"]
    assert error["field"] == "stream_partials"
    assert error["message"].endswith("takes none: leave it out")


async def test_a_batch_shows_nothing(caller: Caller) -> None:
    body = {"prompt": "x", "stream_partials": 1}
    answer = await submit(caller, body, PATHS[2], headers={"Prefer": "respond-async"})
    assert_problem(answer.status, answer.body, "invalid_request")


async def test_another_number_of_images_is_another_request(caller: Caller) -> None:
    key = {"Idempotency-Key": "partials"}
    await asyncio.gather(accepted(caller, SHOWN, **key), accepted(caller, SHOWN, **key))
    headers = {"Prefer": "respond-async"} | key
    answer = await submit(caller, LARGE | {"stream_partials": 1}, headers=headers)
    assert_problem(answer.status, answer.body, "idempotency_key_reused")
