"""A request that is sent again is done once."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
import structlog
from multidict import CIMultiDict

from imgsvc.config import Settings
from imgsvc.jobs.models import JobFilter
from standins.pictures import as_base64, picture
from standins.service import Caller, running_service
from web.refusals import PATHS, PHOTO, assert_problem
from web.submitting import Answer, submit

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def keyed(
    caller: Caller, key: str, body: Any = PHOTO, path: str = PATHS[0], prefer: str = "respond-async"
) -> Answer:
    return await submit(caller, body, path, {"Idempotency-Key": key, "Prefer": prefer})


@pytest.mark.parametrize(
    ("path", "body"), [(PATHS[0], PHOTO), (PATHS[1], PHOTO), (PATHS[2], {"prompt": "x"})]
)
async def test_a_repetition_gets_the_first_answer_again(
    local: Caller, path: str, body: Any
) -> None:
    first = await keyed(local, f"again {path}", body, path)
    with structlog.testing.capture_logs() as lines:
        second = await keyed(local, f"again {path}", body, path)
    assert (first.status, second.status) == (202, 202)
    assert first.body == second.body
    assert first.headers["Location"] == second.headers["Location"]
    assert "Idempotent-Replayed" not in first.headers
    assert second.headers["Idempotent-Replayed"] == "true"
    events = [line["event"] for line in lines]
    assert "job_repeated" in events
    assert "job_accepted" not in events


async def test_who_repeats_and_waits_gets_the_result_of_the_first(local: Caller) -> None:
    first = await keyed(local, "result")
    second = await keyed(local, "result", prefer="wait=60")
    third = await keyed(local, "result", prefer="wait=0")
    assert (second.status, third.status) == (200, 200)
    assert second.body == third.body
    assert second.body["job_id"] == first.body["job_id"]
    assert third.headers["Idempotent-Replayed"] == "true"


async def test_a_hundred_repetitions_at_once_make_one_job(
    make_settings: Callable[..., Settings],
) -> None:
    settings = make_settings()
    async with running_service(settings) as caller:
        unlimited = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=unlimited, trust_env=False) as session:
            caller.session, before = session, caller.session
            answers = await asyncio.gather(*(keyed(caller, "many") for _ in range(100)))
            caller.session = before
        assert {answer.status for answer in answers} == {202}
        assert len({answer.body["job_id"] for answer in answers}) == 1
        assert [answer.headers.get("Idempotent-Replayed") for answer in answers].count(None) == 1
        jobs = await caller.server.service.backend.list(JobFilter(), before=None, limit=10)
        assert [job.id for job in jobs] == [answers[0].body["job_id"]]
        await keyed(caller, "many", prefer="wait=60")
        # What the repetitions brought along is gone: only the body of the callback is left.
        blobs = {path.name for path in (settings.data_dir / "spool" / "blobs").iterdir()}
        ended = await caller.server.service.backend.get(jobs[0].id)
        assert ended.callback_body is not None
        assert blobs <= {ended.callback_body.key, *(blob.key for blob in ended.spec.blobs)}


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"prompt": "y"}, PATHS[0]),
        ({"filename": "a.png"}, PATHS[0]),
        ({"priority": 9}, PATHS[0]),
        ({"fallback": "never"}, PATHS[0]),
        ({"image_base64": as_base64(picture(65))}, PATHS[0]),
        ({"mask_base64": as_base64(picture(mode="RGBA"))}, PATHS[0]),
        ({"image_base64": None, "image_url": "https://example.com/a.png"}, PATHS[0]),
        ({}, PATHS[1]),
    ],
)
async def test_the_same_key_with_another_request_is_refused(
    local: Caller, change: dict[str, Any], path: str
) -> None:
    key = f"other {change.keys()} {path}"
    await keyed(local, key)
    answer = await keyed(local, key, PHOTO | change, path)
    assert answer.status == 422
    assert_problem(answer.status, answer.body, "idempotency_key_reused")


async def test_how_the_json_is_written_makes_no_other_request(local: Caller) -> None:
    first = await keyed(local, "written")
    text = json.dumps({"filename": None} | dict(reversed(PHOTO.items())), indent=4)
    image = PHOTO["image_base64"].rstrip("=")
    text = text.replace(PHOTO["image_base64"], f"data:image/png;base64,{image}")
    headers = {
        "Idempotency-Key": "written",
        "Prefer": "respond-async",
        "Content-Type": "application/json; charset=utf-8",
    }
    async with local.session.post(
        local.server.url + PATHS[0], data=text, headers=headers
    ) as answer:
        assert await answer.json(content_type=None) == first.body
        assert answer.status == 202


async def test_the_first_callback_url_stands(local: Caller) -> None:
    first = await local.run(PATHS[0], PHOTO, **{"Idempotency-Key": "called"})
    headers = {"Idempotency-Key": "called", "callbackUrl": f"{local.receiver.url}/other"}
    answer = await submit(local, PHOTO, headers=headers)
    assert answer.status == 202
    assert answer.body["job_id"] == first["job_id"]


async def test_without_a_key_every_request_is_a_job(local: Caller) -> None:
    answers = [await submit(local, PHOTO, headers={"Prefer": "respond-async"}) for _ in range(2)]
    assert answers[0].body["job_id"] != answers[1].body["job_id"]


@pytest.mark.parametrize("key", ["", " ", "x" * 256, "schlüssel", "a\tb"])
async def test_a_key_that_is_none_is_refused(local: Caller, key: str) -> None:
    answer = await keyed(local, key)
    assert answer.status == 400
    assert_problem(answer.status, answer.body, "invalid_idempotency_key")


@pytest.mark.parametrize("key", ["x", "~" * 255, '"quoted, with a comma"'])
async def test_any_printable_key_is_taken(local: Caller, key: str) -> None:
    assert (await keyed(local, key)).status == 202


async def test_two_keys_are_refused(local: Caller) -> None:
    headers = CIMultiDict([("Idempotency-Key", "a"), ("Idempotency-Key", "a")])
    headers["Prefer"] = "respond-async"
    answer = await submit(local, PHOTO, headers=headers)
    assert_problem(answer.status, answer.body, "invalid_idempotency_key")


async def test_a_key_works_across_a_restart(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings()
    async with running_service(settings) as caller:
        first = await keyed(caller, "restart", prefer="wait=60")
    async with running_service(settings) as caller:
        second = await keyed(caller, "restart", prefer="wait=60")
    assert (first.status, second.status) == (200, 200)
    assert first.body == second.body
