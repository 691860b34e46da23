"""The header progressUrl: what is sent there, and what is sent to callbackUrl all the same."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from imgsvc.config import Settings
from imgsvc.jobs.models import CallbackState
from standins.openai import OpenAIStandin, openai_standin
from standins.pictures import picture
from standins.receiver import Received, hang, reply
from standins.service import Caller, running_service, service_settings
from web.refusals import PATHS, PHOTO, assert_problem
from web.submitting import story
from web.test_metrics import figures, key

pytestmark = pytest.mark.asyncio(loop_scope="package")

BATCH = PATHS[2]
IMAGES = 5
ASKED = {"prompt": "x", "concurrency": 1}


@pytest_asyncio.fixture(loop_scope="package")
async def api() -> AsyncIterator[OpenAIStandin]:
    async with openai_standin() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="package")
async def caller(tmp_path: Path, api: OpenAIStandin) -> AsyncIterator[Caller]:
    """Run a service with a few images, that posts progress as often as there is any."""
    settings = service_settings(
        tmp_path / "data",
        openai={"api_key": api.api_key, "base_url": api.base_url},
        callbacks={
            "progress_interval": 0.001,
            "signing_secrets": ["whsec_" + "a" * 32],
            "schedule": [0],
        },
    )
    folder = tmp_path / "data" / "files" / "input" / "input"
    folder.mkdir(parents=True)
    for number in range(IMAGES):
        (folder / f"{number}.png").write_bytes(picture())
    async with running_service(Settings.model_validate(settings)) as running:
        yield running


def progress_url(caller: Caller) -> str:
    return f"http://{caller.receiver.authority}/progress?token=secret"


async def begun(caller: Caller, **headers: str) -> str:
    """Begin a batch with both URLs on one receiver."""
    return await caller.submit(BATCH, ASKED, **{"progressUrl": progress_url(caller), **headers})


async def posted(caller: Caller, done: int) -> Received:
    """Wait for the post that tells of so many images."""
    while (got := await caller.receiver.next()).json["done"] != done:
        assert got.target == "/progress?token=secret"
    return got


async def cancel(caller: Caller, job_id: str) -> Any:
    """End a batch whose images hang, and return its callback."""
    status, _ = await caller.post(f"/jobs/{job_id}/cancel", {})
    assert status == 200
    await caller.until(job_id, lambda job: job.callback_state is CallbackState.DELIVERED)
    *_, last = caller.receiver.received
    return last.json


async def test_a_batch_in_work_is_posted_to_progress_url_and_its_end_alone_to_callback_url(
    caller: Caller, api: OpenAIStandin
) -> None:
    api.fail_next("moderation_blocked")
    api.fail_after(2, "hang")
    job_id = await begun(caller)
    got = await posted(caller, 3)
    assert {
        "event": "progress",
        "job_id": job_id,
        "status": "running",
        "done": 3,
        "failed": 1,
        "total": IMAGES,
    }.items() <= got.json.items()
    assert not [name for name in got.headers if name.lower().startswith("webhook")]

    callback = await cancel(caller, job_id)

    assert (callback["status"], callback["total_files"]) == ("cancelled", IMAGES)
    *before, last = caller.receiver.received
    assert {each.target for each in before} == {"/progress?token=secret"}
    assert {each.json["event"] for each in before} == {"progress"}
    done = [each.json["done"] for each in before]
    assert done == sorted(set(done))  # only what is new
    assert last.target == "/callback"
    assert "webhook-signature" in last.headers
    assert "event" not in last.json
    delivered = key("imgsvc_progress_posts_total", outcome="delivered")
    assert (await figures(caller))[delivered] == len(before)


async def test_no_progress_is_posted_once_a_batch_has_ended(caller: Caller) -> None:
    for _ in range(3):
        await story(caller, await begun(caller))
    ends: dict[str, int] = {}
    for number, got in enumerate(caller.receiver.received):
        if got.target == "/callback":
            ends[got.json["job_id"]] = number
    assert len(ends) == 3
    for number, got in enumerate(caller.receiver.received):
        assert number <= ends[got.json["job_id"]]


async def test_a_receiver_that_never_answers_holds_up_neither_the_batch_nor_its_callback(
    caller: Caller, api: OpenAIStandin
) -> None:
    caller.receiver.answer_with(hang)
    api.fail_after(2, "hang")
    job_id = await begun(caller)
    await caller.receiver.next()
    while len(api.calls) < 3:
        await api.arrived.wait()
        api.arrived.clear()
    callback = await cancel(caller, job_id)
    assert callback["processed"] == 2
    assert [got.target.partition("?")[0] for got in caller.receiver.received] == [
        "/progress",  # one at a time, and none after the end
        "/callback",
    ]


async def test_a_receiver_that_answers_410_gets_no_more_progress_but_the_callback(
    caller: Caller, api: OpenAIStandin
) -> None:
    caller.receiver.answer_with(reply(410))
    api.fail_after(3, "hang")
    job_id = await begun(caller)
    await caller.receiver.next()
    while len(api.calls) < 4:
        await api.arrived.wait()
        api.arrived.clear()
    await cancel(caller, job_id)
    assert len(caller.receiver.received) == 2


async def test_a_batch_that_is_done_again_is_posted_to_the_same_url(
    caller: Caller, api: OpenAIStandin
) -> None:
    api.fail_after(2, "hang")
    job_id = await begun(caller)
    await posted(caller, 2)
    await cancel(caller, job_id)
    caller.receiver.forget()
    api.fail_after(1, "hang")
    status, answer = await caller.post(f"/jobs/{job_id}/retry", {})
    assert status == 202
    got = await posted(caller, 3)
    assert got.json["job_id"] == answer["job_id"]
    await cancel(caller, answer["job_id"])


async def test_nobody_sees_where_progress_is_posted(caller: Caller) -> None:
    job_id = await begun(caller)
    await story(caller, job_id)
    for path in (f"/jobs/{job_id}", "/jobs", f"/jobs/{job_id}/events"):
        async with caller.session.get(caller.server.url + path) as answer:
            assert "secret" not in await answer.text()


# -- what is refused ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("ftp://example.com/", "invalid_url"),
        ("http://user@example.com/", "invalid_url"),
        ("http://10.0.0.1/", "forbidden_url"),
        ("http://169.254.169.254/latest", "forbidden_url"),
    ],
)
async def test_a_progress_url_that_cannot_work_is_refused_at_once(
    local: Caller, url: str, code: str
) -> None:
    status, problem = await local.post(BATCH, ASKED, progressUrl=url)
    assert status == 400
    assert_problem(status, problem, code)


@pytest.mark.parametrize(
    ("url", "same"),
    [
        ("http://a.example/x", "HTTP://A.EXAMPLE/x"),
        ("http://a.example/x", "http://a.example:80/x"),
        ("https://a.example:443/x", "https://a.example/x"),
        ("http://a.example./x", "http://a.example/x"),
        ("http://a.example/x", "http://a.example/y/../x"),
        ("http://a.example/~x%2f", "http://a.example/%7Ex%2F"),
        ("http://a.example/x?y=%7e", "http://a.example/x?y=~"),
        ("http://a.example", "http://a.example/?"),
    ],
)
async def test_progress_cannot_be_posted_to_the_callback_url_in_another_spelling(
    local: Caller, url: str, same: str
) -> None:
    status, problem = await local.post(BATCH, ASKED, callbackUrl=url, progressUrl=same)
    assert_problem(status, problem, "invalid_url")


@pytest.mark.parametrize("change", [str, str.upper, lambda url: f"{url}#x"], ids=range(3))
async def test_progress_cannot_be_posted_to_the_callback_url(local: Caller, change: Any) -> None:
    url = f"http://{local.receiver.authority}/CALLBACK"
    status, problem = await local.post(BATCH, ASKED, callbackUrl=url, progressUrl=change(url))
    assert status == 400
    assert_problem(status, problem, "invalid_url")
    assert "progressUrl and callbackUrl are the same" in problem["detail"]


async def test_two_progress_urls_are_refused(local: Caller) -> None:
    headers = [
        ("callbackUrl", local.receiver.url),
        ("progressUrl", "http://a.example/"),
        ("progressUrl", "http://b.example/"),
    ]
    async with local.session.post(local.server.url + BATCH, json=ASKED, headers=headers) as answer:
        assert answer.status == 400
        problem = await answer.json(content_type=None)
        assert problem["detail"] == "The header progressUrl was sent 2 times."


async def test_a_single_image_has_no_progress_to_post(local: Caller) -> None:
    callback = await local.run(PATHS[0], PHOTO, progressUrl="http://10.0.0.1/")
    assert callback["status"] == "completed"
