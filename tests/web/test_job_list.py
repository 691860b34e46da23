"""The list of jobs: its filters, and pages that stay correct while jobs are added."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio

from imgsvc.config import Settings
from imgsvc.jobs.models import CallbackState, Job, JobFilter, JobKind, JobState
from standins.openai import openai_standin
from standins.pictures import as_base64, picture
from standins.receiver import reply
from standins.service import Caller, running_service, service_settings
from web.refusals import PATHS, assert_problem

pytestmark = pytest.mark.asyncio(loop_scope="package")

TO_BASE64, TO_STORAGE, BATCH = PATHS
PHOTO = {"prompt": "Blur it", "image_base64": as_base64(picture()), "filename": "photo.png"}


@pytest_asyncio.fixture(scope="module", loop_scope="package")
async def busy(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Caller]:
    """Run a service whose one worker has done three jobs and is stuck in the fourth; two wait."""
    async with openai_standin() as standin:
        settings = service_settings(
            tmp_path_factory.mktemp("busy"),
            openai={"api_key": standin.api_key, "base_url": standin.base_url},
            workers={"count": 1},
            callbacks={"schedule": [0]},
        )
        async with running_service(Settings.model_validate(settings)) as caller:
            await caller.run(TO_BASE64, PHOTO)
            caller.receiver.answer_with(reply(410))
            await caller.run(TO_STORAGE, PHOTO)
            await caller.run(BATCH, {"prompt": "x", "input_prefix": "nothing/"})
            standin.fail_always("hang")
            standin.arrived.clear()
            await caller.submit(TO_BASE64, PHOTO)
            await standin.arrived.wait()
            for _ in range(2):
                await caller.submit(TO_STORAGE, PHOTO)
            for job in await recorded(caller):
                await caller.until(job.id, _is_quiet)
            yield caller


def _is_quiet(job: Job) -> bool:
    return job.callback_state is not CallbackState.PENDING


async def recorded(caller: Caller) -> Sequence[Job]:
    """Return all jobs as the record has them, the newest first."""
    return await caller.server.service.backend.list(JobFilter(), before=None, limit=1000)


async def listed(caller: Caller, query: str) -> list[str]:
    """Return the ids of the jobs on all pages of a list."""
    found: list[str] = []
    cursor = ""
    while True:
        status, page = await caller.get(f"/jobs?{query}{cursor}")
        assert status == 200, page
        found += [job["job_id"] for job in page["jobs"]]
        if "next_cursor" not in page:
            return found
        cursor = f"&cursor={page['next_cursor']}"


def _in_state(state: JobState) -> Callable[[Job], bool]:
    return lambda job: job.state is state


def _of_kind(kind: JobKind) -> Callable[[Job], bool]:
    return lambda job: job.spec.kind is kind


def _with_callback(state: CallbackState) -> Callable[[Job], bool]:
    return lambda job: job.callback_state is state


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("", lambda _job: True),
        *((f"state={state}", _in_state(state)) for state in JobState),
        *((f"kind={kind}", _of_kind(kind)) for kind in JobKind),
        *((f"callback={state}", _with_callback(state)) for state in CallbackState),
        (
            "kind=image_to_storage&state=queued&callback=none",
            lambda job: _in_state(JobState.QUEUED)(job) and _of_kind(JobKind.IMAGE_TO_STORAGE)(job),
        ),
    ],
)
@pytest.mark.parametrize("limit", [1, 2, 200])
async def test_a_list_has_exactly_the_jobs_that_its_filters_ask_for_the_newest_first(
    busy: Caller, query: str, wanted: Callable[[Job], bool], limit: int
) -> None:
    jobs = [job.id for job in await recorded(busy) if wanted(job)]
    assert await listed(busy, f"{query}&limit={limit}") == jobs


async def test_the_filters_of_the_test_above_tell_jobs_apart(busy: Caller) -> None:
    jobs = await recorded(busy)
    assert {job.state for job in jobs} == {JobState.COMPLETED, JobState.RUNNING, JobState.QUEUED}
    assert {job.spec.kind for job in jobs} == set(JobKind)
    assert {job.callback_state for job in jobs} == set(CallbackState) - {CallbackState.PENDING}


@pytest.mark.parametrize(
    "form",
    [
        lambda time: str(time.timestamp()),
        lambda time: time.isoformat(),
        lambda time: time.isoformat().replace("+00:00", "Z"),
        lambda time: time.replace(tzinfo=None).isoformat(),
    ],
    ids=["seconds", "iso", "iso-z", "iso-without-zone"],
)
async def test_since_takes_times_in_either_form(busy: Caller, form: Callable[[Any], str]) -> None:
    jobs = await recorded(busy)
    oldest_wanted = jobs[2].accepted_at
    expected = [job.id for job in jobs if job.accepted_at >= oldest_wanted]
    assert await listed(busy, f"limit=1&since={quote(form(oldest_wanted))}") == expected
    later = quote(form(jobs[0].accepted_at + timedelta(hours=1)))
    assert await listed(busy, f"since={later}") == []


async def test_pages_show_each_job_once_although_jobs_are_added_meanwhile(busy: Caller) -> None:
    before = [job.id for job in await recorded(busy)]
    found: list[str] = []
    cursor = ""
    while True:
        _, page = await busy.get(f"/jobs?limit=2{cursor}")
        found += [job["job_id"] for job in page["jobs"]]
        await busy.submit(TO_STORAGE, PHOTO)
        if "next_cursor" not in page:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert found == before


async def test_a_list_shows_jobs_without_the_attempts_to_deliver_their_callbacks(
    busy: Caller,
) -> None:
    _, page = await busy.get("/jobs?callback=dead")
    [job] = page["jobs"]
    assert job["callback"] == {"state": "dead", "host": "127.0.0.1"}
    _, alone = await busy.get(f"/jobs/{job['job_id']}")
    assert len(alone["callback"].pop("attempts")) == 1
    assert alone == job


async def test_a_list_without_a_limit_has_fifty_jobs(busy: Caller) -> None:
    missing = 51 - len(await recorded(busy))
    await asyncio.gather(*(busy.submit(TO_STORAGE, PHOTO) for _ in range(missing)))
    _, page = await busy.get("/jobs")
    assert len(page["jobs"]) == 50
    assert page["next_cursor"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("state=done", "state"),
        ("state=", "state"),
        ("state=queued&state=running", "state"),
        ("kind=video", "kind"),
        ("callback=lost", "callback"),
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=many", "limit"),
        ("since=yesterday", "since"),
        ("since=2026-13-01", "since"),
        ("since=-1", "since"),
        ("since=1e400", "since"),
        ("since=999999999999999999999", "since"),
        ("since=2026-11-24T12:00:00+01:00", "since"),  # the plus has become a space
        ("page=2", "page"),
        ("State=queued", "State"),
    ],
)
async def test_a_wrong_or_unknown_parameter_is_refused_by_name(
    local: Caller, query: str, field: str
) -> None:
    status, problem = await local.get(f"/jobs?{query}")
    assert status == 422
    assert_problem(status, problem, "invalid_request")
    assert [error["field"] for error in problem["errors"]] == [field]


async def test_a_cursor_is_good_for_its_own_list_alone(busy: Caller, local: Caller) -> None:
    _, page = await busy.get("/jobs?limit=1&kind=image_to_storage")
    cursor = page["next_cursor"]
    tampered = cursor[:-1] + ("A" if cursor[-1] != "A" else "B")
    for caller, query in (
        (busy, f"kind=batch&cursor={cursor}"),
        (busy, f"cursor={cursor}"),
        (busy, f"kind=image_to_storage&cursor={tampered}"),
        (busy, "kind=image_to_storage&cursor="),
        (local, f"kind=image_to_storage&cursor={cursor}"),
    ):
        status, problem = await caller.get(f"/jobs?{query}")
        assert status == 400
        assert_problem(status, problem, "invalid_cursor")
    status, _ = await busy.get(f"/jobs?limit=7&kind=image_to_storage&cursor={cursor}")
    assert status == 200
