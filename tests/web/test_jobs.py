"""What callers see of one job, and what they can do with it."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from imgsvc.config import Settings
from imgsvc.jobs.models import CallbackState, Job, JobState
from imgsvc.web import jobs
from standins.openai import OpenAIStandin, openai_standin
from standins.pictures import as_base64, picture
from standins.receiver import reply
from standins.service import Caller, running_service, service_settings
from web.refusals import PATHS, assert_problem

pytestmark = pytest.mark.asyncio(loop_scope="package")

TO_BASE64, TO_STORAGE, BATCH = PATHS
PHOTO = {"prompt": "Blur it", "image_base64": as_base64(picture()), "filename": "photo.png"}
NOBODYS = "0b9f6d5e-8a5c-4c55-9c0f-6a1d3f0f7f11"  # an id as a job could have it


@pytest_asyncio.fixture(loop_scope="package")
async def slow() -> AsyncIterator[OpenAIStandin]:
    """Run an image API that can be told to hang."""
    async with openai_standin() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="package")
async def alone(tmp_path: Path, slow: OpenAIStandin) -> AsyncIterator[Caller]:
    """Run a service with one worker that edits with that API."""
    settings = service_settings(
        tmp_path / "data",
        openai={"api_key": slow.api_key, "base_url": slow.base_url},
        workers={"count": 1},
        callbacks={"schedule": [0]},
    )
    async with running_service(Settings.model_validate(settings)) as caller:
        yield caller


def is_delivered(job: Job) -> bool:
    return job.callback_state is CallbackState.DELIVERED


def is_dead(job: Job) -> bool:
    return job.callback_state is CallbackState.DEAD


async def view(caller: Caller, job_id: str) -> Any:
    status, job = await caller.get(f"/jobs/{job_id}")
    assert status == 200, job
    return job


async def do(caller: Caller, job_id: str, action: str) -> tuple[int, Any]:
    async with caller.session.post(f"{caller.server.url}/jobs/{job_id}/{action}") as answer:
        return answer.status, await answer.json(content_type=None)


async def begin_one_that_hangs(caller: Caller, slow: OpenAIStandin, path: str = TO_BASE64) -> str:
    """Submit a job, and wait until its provider has it and keeps it."""
    slow.fail_next("hang")
    job_id = await caller.submit(path, PHOTO)
    await slow.arrived.wait()
    return job_id


# -- one job ------------------------------------------------------------------------------


async def test_a_finished_job_tells_how_it_ended_and_how_its_callback_was_delivered(
    remote: Caller,
) -> None:
    remote.receiver.answer_with(reply(500, body=b"not now"), reply(200, body=b"thanks"))
    callback = await remote.run(TO_STORAGE, PHOTO)
    job = await remote.until(callback["job_id"], is_delivered)
    shown = await view(remote, job.id)
    url = f"{remote.server.url}/jobs/{job.id}"
    first, second = shown["callback"].pop("attempts")
    assert shown == {
        "job_id": job.id,
        "kind": "image_to_storage",
        "state": "completed",
        "priority": 5,
        "attempts": 1,
        "accepted_at": shown["accepted_at"],
        "started_at": shown["started_at"],
        "finished_at": shown["finished_at"],
        "filename": "photo.png",
        "provider": "openai",
        "model": "gpt-image-2",
        "fallback": False,
        "cost_usd": 0.034213,
        "callback": {"state": "delivered", "host": "127.0.0.1"},
        "links": {
            "self": url,
            "events": f"{url}/events",
            "result": f"{url}/result",
            "redeliver": f"{url}/callback/redeliver",
        },
    }
    assert shown["accepted_at"] <= shown["started_at"] <= shown["finished_at"] <= first["at"]
    expected = {"number": 1, "verdict": "retry", "status": 500, "answer": "not now"}
    assert expected.items() <= first.items()
    assert first["error"]
    expected = {"number": 2, "verdict": "delivered", "status": 200, "answer": "thanks"}
    assert expected.items() <= second.items()
    assert "error" not in second


async def test_a_job_never_shows_its_prompt_nor_where_its_callback_goes(remote: Caller) -> None:
    url = f"{remote.receiver.url}/secret-path?token=secret-token"
    prompt = {"prompt": "secret-prompt"}
    callback = await remote.run(TO_BASE64, PHOTO | prompt, callbackUrl=url)
    for path in (f"/jobs/{callback['job_id']}", "/jobs"):
        async with remote.session.get(remote.server.url + path) as answer:
            assert "secret" not in await answer.text()


async def test_an_edit_that_fell_back_says_why(remote: Caller, standin: OpenAIStandin) -> None:
    standin.fail_next("insufficient_quota")
    callback = await remote.run(TO_BASE64, PHOTO)
    shown = await view(remote, callback["job_id"])
    assert shown["provider"] == callback["provider"]
    assert shown["fallback"] is True
    assert shown["fallback_reason"] == callback["fallback_reason"] == "provider_out_of_credit"


async def test_a_failed_job_says_why_and_offers_to_be_done_again(
    remote: Caller, standin: OpenAIStandin
) -> None:
    standin.fail_next("moderation_blocked")
    callback = await remote.run(TO_BASE64, PHOTO)
    shown = await view(remote, callback["job_id"])
    assert shown["state"] == "failed"
    assert shown["error"] == callback["error"]
    assert shown["links"]["retry"] == f"{remote.server.url}/jobs/{callback['job_id']}/retry"
    assert "result" not in shown["links"]


@pytest.mark.parametrize("state", ["queued", "running"])
async def test_a_job_that_has_not_ended_has_no_end_to_tell(
    alone: Caller, slow: OpenAIStandin, state: str
) -> None:
    job_id = await begin_one_that_hangs(alone, slow)
    if state == "queued":
        job_id = await alone.submit(TO_BASE64, PHOTO)
    shown = await view(alone, job_id)
    assert shown["state"] == state
    assert shown["callback"] == {"state": "none", "host": "127.0.0.1", "attempts": []}
    assert set(shown["links"]) == {"self", "events", "cancel"}
    ends = {"finished_at", "provider", "fallback", "fallback_reason", "error", "cancel_requested"}
    assert not shown.keys() & ends


@pytest.mark.parametrize(
    "job_id",
    [
        NOBODYS,
        "1",
        "%20",
        "%ED%A0%80",
        "%7Bjob_id%7D",
        "x" * 3000,
        NOBODYS.replace("-", ""),
        f"{NOBODYS}x",
        "' OR 1=1 --",
    ],
)
@pytest.mark.parametrize(
    ("method", "action"),
    [
        ("GET", ""),
        ("GET", "/result"),
        ("POST", "/cancel"),
        ("POST", "/retry"),
        ("POST", "/callback/redeliver"),
    ],
)
async def test_an_unknown_or_malformed_id_is_no_job(
    local: Caller, method: str, action: str, job_id: str
) -> None:
    url = f"{local.server.url}/jobs/{job_id}{action}"
    async with local.session.request(method, url) as answer:
        assert answer.status == 404
        assert_problem(404, await answer.json(content_type=None), "job_not_found")


async def test_the_case_of_an_id_does_not_matter(local: Caller) -> None:
    callback = await local.run(TO_BASE64, PHOTO)
    shown = await view(local, callback["job_id"].upper())
    assert shown["job_id"] == callback["job_id"]


# -- cancel -------------------------------------------------------------------------------


async def test_a_queued_job_is_cancelled_at_once(alone: Caller, slow: OpenAIStandin) -> None:
    running = await begin_one_that_hangs(alone, slow)
    queued = await alone.submit(TO_BASE64, PHOTO)
    status, shown = await do(alone, queued, "cancel")
    assert (status, shown["job_id"], shown["state"]) == (200, queued, "cancelled")
    callback = (await alone.receiver.next()).json
    assert (callback["job_id"], callback["status"]) == (queued, "cancelled")
    assert callback["error"].startswith("JobCancelled: ")
    assert (await view(alone, running))["state"] == "running"


async def test_a_running_job_is_cancelled_and_its_call_of_the_provider_given_up(
    alone: Caller, slow: OpenAIStandin
) -> None:
    job_id = await begin_one_that_hangs(alone, slow)
    status, shown = await do(alone, job_id, "cancel")
    assert (status, shown["state"]) == (200, "cancelled")
    await slow.given_up.wait()
    assert (await alone.receiver.next()).json["status"] == "cancelled"


async def test_a_cancelled_batch_begins_no_further_image_and_counts_what_is_there(
    alone: Caller, slow: OpenAIStandin
) -> None:
    for name in ("a", "b", "c", "d"):
        (alone.files / "input" / f"{name}.png").write_bytes(picture())
    slow.fail_next("escaped_json")  # which is an answer as good as any
    slow.fail_next("hang")
    body = {"prompt": "Blur it", "input_prefix": "", "concurrency": 1}
    job_id = await alone.submit(BATCH, body)
    while len(slow.calls) < 2:
        slow.arrived.clear()
        await slow.arrived.wait()
    status, shown = await do(alone, job_id, "cancel")
    assert (status, shown["state"]) == (200, "cancelled")
    await slow.given_up.wait()
    callback = (await alone.receiver.next()).json
    assert callback["status"] == "cancelled"
    counters = ("processed", "failed", "fallback_local", "total_files_processed")
    assert [callback[name] for name in counters] == [1, 3, 0, 1]
    assert len(slow.calls) == 2
    _, stored = await alone.get(f"/jobs/{job_id}/result")
    async with alone.session.get(stored["result_url"]) as answer:
        manifest = await answer.json(content_type=None)
    states = {item["input_key"]: item["state"] for item in manifest["items"]}
    begun = {"a.png": "processed", "b.png": "failed"}
    assert states == begun | {"c.png": "not_started", "d.png": "not_started"}


async def test_a_job_that_is_cancelled_several_times_has_one_callback(
    alone: Caller, slow: OpenAIStandin
) -> None:
    job_id = await begin_one_that_hangs(alone, slow)
    for _ in range(3):
        status, shown = await do(alone, job_id, "cancel")
        assert (status, shown["state"]) == (200, "cancelled")
    await alone.run(TO_BASE64, PHOTO)  # its callback comes behind all of the others
    assert [received.json["status"] for received in alone.receiver.received] == [
        "cancelled",
        "completed",
    ]


async def test_a_job_that_takes_its_time_to_stop_is_said_to_run_still(
    alone: Caller, slow: OpenAIStandin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "CANCEL_WAIT", 0)
    job_id = await begin_one_that_hangs(alone, slow)
    status, shown = await do(alone, job_id, "cancel")
    assert (status, shown["state"], shown["cancel_requested"]) == (202, "running", True)
    job = await alone.until(job_id, lambda job: job.state is JobState.CANCELLED)
    assert "cancel_requested" not in await view(alone, job.id)


async def test_a_finished_job_cannot_be_cancelled_and_says_how_it_ended(local: Caller) -> None:
    callback = await local.run(TO_BASE64, PHOTO)
    status, problem = await do(local, callback["job_id"], "cancel")
    assert status == 409
    assert_problem(status, problem, "job_finished")
    assert problem["state"] == "completed"


# -- retry --------------------------------------------------------------------------------


async def test_a_failed_job_can_be_done_again_with_the_image_that_came_with_it(
    remote: Caller, standin: OpenAIStandin
) -> None:
    standin.fail_next("moderation_blocked")
    failed = await remote.run(TO_BASE64, PHOTO)
    status, accepted = await do(remote, failed["job_id"], "retry")
    assert status == 202
    new = accepted["job_id"]
    assert accepted == {"accepted": True, "job_id": new, "retry_of": failed["job_id"]}
    assert new != failed["job_id"]
    callback = (await remote.receiver.next()).json
    assert (callback["job_id"], callback["status"]) == (new, "completed")
    assert standin.calls[-1].image.data == standin.calls[-2].image.data
    assert (await view(remote, new))["retry_of"] == failed["job_id"]


async def test_a_job_that_went_well_cannot_be_done_again(remote: Caller) -> None:
    callback = await remote.run(TO_BASE64, PHOTO)
    status, problem = await do(remote, callback["job_id"], "retry")
    assert status == 409
    assert_problem(status, problem, "job_not_retryable")


async def test_a_cancelled_job_has_dropped_its_image_and_cannot_be_done_again(
    alone: Caller, slow: OpenAIStandin
) -> None:
    job_id = await begin_one_that_hangs(alone, slow)
    _, shown = await do(alone, job_id, "cancel")
    assert "retry" not in shown["links"]
    await alone.run(TO_BASE64, PHOTO)  # by the same worker: it has tidied up by then
    status, problem = await do(alone, job_id, "retry")
    assert status == 410
    assert_problem(status, problem, "payload_lost")


async def test_a_cancelled_batch_can_be_done_again(alone: Caller, slow: OpenAIStandin) -> None:
    (alone.files / "input" / "a.png").write_bytes(picture())
    slow.fail_next("hang")
    job_id = await alone.submit(BATCH, {"prompt": "Blur it", "input_prefix": ""})
    await slow.arrived.wait()
    _, shown = await do(alone, job_id, "cancel")
    async with alone.session.post(shown["links"]["retry"]) as answer:
        assert answer.status == 202
    assert (await alone.receiver.next()).json["status"] == "cancelled"
    assert (await alone.receiver.next()).json["processed"] == 1


# -- redeliver ----------------------------------------------------------------------------


@pytest.mark.parametrize("first", [200, 410], ids=["delivered", "dead"])
async def test_a_settled_callback_is_sent_again_as_it_was(remote: Caller, first: int) -> None:
    remote.receiver.answer_with(reply(first))
    job_id = await remote.submit(TO_BASE64, PHOTO)
    before = await remote.receiver.next()
    await remote.until(job_id, is_delivered if first == 200 else is_dead)
    status, shown = await do(remote, job_id, "callback/redeliver")
    assert (status, shown["callback"]["state"]) == (202, "pending")
    assert "redeliver" not in shown["links"]
    again = await remote.receiver.next()
    assert again.body == before.body
    assert again.headers["webhook-id"] == before.headers["webhook-id"]
    await remote.until(job_id, is_delivered)
    attempts = (await view(remote, job_id))["callback"]["attempts"]
    assert [(each["number"], each["status"]) for each in attempts] == [(1, first), (2, 200)]


async def test_a_callback_that_is_not_there_yet_cannot_be_sent_again(
    alone: Caller, slow: OpenAIStandin
) -> None:
    job_id = await begin_one_that_hangs(alone, slow)
    status, problem = await do(alone, job_id, "callback/redeliver")
    assert status == 409
    assert_problem(status, problem, "callback_not_settled")


# -- while the server drains --------------------------------------------------------------


async def test_a_draining_server_shows_and_cancels_jobs_but_does_none_again(
    alone: Caller, slow: OpenAIStandin
) -> None:
    slow.fail_next("moderation_blocked")
    failed = await alone.run(TO_BASE64, PHOTO)
    slow.arrived.clear()
    running = await begin_one_that_hangs(alone, slow)
    alone.server.service.readiness.drain()
    assert (await view(alone, running))["state"] == "running"
    status, page = await alone.get("/jobs")
    assert (status, len(page["jobs"])) == (200, 2)
    status, shown = await do(alone, running, "cancel")
    assert (status, shown["state"]) == (200, "cancelled")
    status, problem = await do(alone, failed["job_id"], "retry")
    assert status == 503
    assert_problem(status, problem, "shutting_down")
