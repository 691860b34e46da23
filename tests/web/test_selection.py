"""What a batch takes: refusals, dry runs, and how it is kept; on a folder."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from imgsvc.config import Settings
from imgsvc.jobs.models import JobFilter, JobState
from imgsvc.storage import FilesystemStorage, ObjectInfo
from imgsvc.web import dry_run
from standins.openai import OpenAIStandin
from standins.pictures import picture
from standins.service import Caller, running_service, service_settings
from web.refusals import PATHS, assert_problem
from web.submitting import submit

pytestmark = pytest.mark.asyncio(loop_scope="package")

BATCH = PATHS[2]
PNG = picture()


@pytest.fixture
def folder(local: Caller, request: pytest.FixtureRequest) -> str:
    """Return a prefix of the input bucket with images of this test alone."""
    prefix = f"input/{request.node.name}/"
    for name in ("a.png", "b.png", "notes.txt", "trip/c.jpg", "trip/raw"):
        path = local.files / "input" / prefix / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(PNG)
    return prefix


async def jobs(caller: Caller) -> int:
    return len(await caller.server.service.backend.list(JobFilter(), before=None, limit=10_000))


async def would_do(caller: Caller, **fields: Any) -> Any:
    answer = await submit(caller, {"prompt": "x", "dry_run": True, **fields}, BATCH)
    return answer.body


def blob_keys(caller: Caller) -> set[str]:
    return {path.name for path in (caller.files.parent / "spool" / "blobs").iterdir()}


# -- refusals ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "name", "message"),
    [
        ({"keys": []}, "keys", "should have 1 or more entries"),
        ({"keys": ["k"] * 10_001}, "keys", "should have at most 10000 entries"),
        ({"keys": "a.png"}, "keys", "should be a list"),
        ({"keys": ["a.png", 7]}, "keys.1", "should be a text"),
        ({"keys": ["a.png", ["b.png"]]}, "keys.1", "should be a text"),
        ({"keys": ["a.png", "x/../b.png"]}, "keys", "'x/../b.png' cannot be an object's key"),
        ({"keys": ["a/"]}, "keys", "'a/' cannot be an object's key"),
        ({"keys": ["é" * 600]}, "keys", "longer than 1024 bytes"),
        ({"keys": ["a.png"], "input_prefix": "x"}, "body", "give keys or input_prefix, not both"),
        ({"keys": ["a.png"], "include": ["*"]}, "body", "give keys or include, not both"),
        ({"keys": ["a.png"], "exclude": ["*"]}, "body", "give keys or exclude, not both"),
        ({"keys": ["a.png"], "since": "2026-11-25T00:00:00Z"}, "body", "give keys or since"),
        ({"include": []}, "include", "should have 1 or more entries"),
        ({"include": ["*"] * 51}, "include", "should have at most 50 entries"),
        ({"include": ["x" * 201]}, "include.0", "at most 200"),
        ({"exclude": ["*.png", "[z-a]"]}, "exclude.1", "write a-z"),
        ({"since": "2026-11-25"}, "since", "must be a time with its offset"),
        ({"since": "2026-11-25T00:00:00"}, "since", "must be a time with its offset"),
        ({"since": "2026-02-30T00:00:00Z"}, "since", "must be a time with its offset"),
        ({"since": 1795478400}, "since", "must be a time with its offset"),
        ({"limit": 0}, "limit", "should be 1 at least"),
        ({"limit": "7"}, "limit", "should be a whole number"),
        ({"input_bucket": ""}, "input_bucket", "must not be empty"),
        ({"output_bucket": "x" * 64}, "output_bucket", "at most 63"),
        ({"dry_run": "yes"}, "dry_run", "should be true or false"),
        ({"inculde": ["*"]}, "inculde", "unknown field"),
    ],
)
async def test_a_selection_that_makes_no_sense_is_refused_by_name(
    local: Caller, fields: dict[str, Any], name: str, message: str
) -> None:
    before = await jobs(local)
    status, problem = await local.post(BATCH, {"prompt": "x", **fields})
    assert_problem(status, problem, "invalid_request")
    [error] = problem["errors"]
    assert error["field"] == name
    assert message in error["message"]
    assert await jobs(local) == before


@pytest.mark.parametrize("name", ["input_bucket", "output_bucket"])
@pytest.mark.parametrize("dry", [False, True])
async def test_a_bucket_that_is_not_allowed_is_refused_with_403(
    local: Caller, name: str, dry: bool
) -> None:
    for bucket in ("other", "..", "input/x", "INPUT"):
        status, problem = await local.post(BATCH, {"prompt": "x", name: bucket, "dry_run": dry})
        assert_problem(status, problem, "bucket_not_allowed")
        assert (status, repr(bucket) in problem["detail"]) == (403, True)


async def test_without_a_callback_url_only_a_dry_run_is_taken(local: Caller, folder: str) -> None:
    body = {"prompt": "x", "input_prefix": folder}
    for given in (body, body | {"dry_run": False}, body | {"dry_run": "true"}):
        answer = await submit(local, given, BATCH)
        assert_problem(answer.status, answer.body, "missing_callback_url")
    assert (await submit(local, body | {"dry_run": True}, BATCH)).status == 200


# -- what is kept --------------------------------------------------------------------------


async def test_keys_count_for_repetitions_whatever_their_order_and_are_kept_no_longer_than_needed(
    local: Caller, folder: str
) -> None:
    keys = [f"{folder}b.png", f"{folder}a.png", f"{folder}b.png"]
    headers = {"Idempotency-Key": folder}
    first = await local.run(BATCH, {"prompt": "x", "keys": keys}, **headers)
    same = {"prompt": "x", "keys": sorted(set(keys)), "dry_run": False}
    assert await local.submit(BATCH, same, **headers) == first["job_id"]
    for other in ({"keys": keys[:1]}, {"keys": keys, "limit": 1}, {"input_prefix": folder}):
        status, problem = await local.post(BATCH, {"prompt": "x", **other}, **headers)
        assert_problem(status, problem, "idempotency_key_reused")
    assert first["total_files"] == 2
    job = await local.server.service.backend.get(first["job_id"])
    await local.quiet()
    # Without an image API the local engine has stepped in: the batch can be done again.
    assert job.state is JobState.COMPLETED_WITH_ERRORS
    [kept] = job.spec.blobs
    assert kept.key in blob_keys(local)


async def test_the_keys_of_a_batch_that_is_complete_are_removed(remote: Caller) -> None:
    (remote.files / "input" / "named.png").write_bytes(PNG)
    done = await remote.run(BATCH, {"prompt": "x", "keys": ["named.png"]})
    assert done["status"] == "completed"
    job = await remote.server.service.backend.get(done["job_id"])
    [keys] = job.spec.blobs
    await remote.quiet()
    assert keys.key not in blob_keys(remote)


async def test_a_batch_that_was_cancelled_in_the_queue_is_done_again_with_its_keys(
    make_settings: Callable[..., Settings], standin: OpenAIStandin
) -> None:
    api = {"api_key": standin.api_key, "base_url": standin.base_url}
    async with running_service(make_settings(openai=api, workers={"batches": 1})) as caller:
        for name in ("a.png", "b.png"):
            (caller.files / "input" / name).write_bytes(PNG)
        standin.fail_next("hang")
        first = await caller.submit(BATCH, {"prompt": "x", "keys": ["a.png"]})
        await caller.until(first, lambda job: job.state is JobState.RUNNING)
        second = await caller.submit(BATCH, {"prompt": "x", "keys": ["b.png", "gone.png"]})
        for job_id in (second, first):
            status, _ = await caller.post(f"/jobs/{job_id}/cancel", None)
            assert status in {200, 202}
        status, accepted = await caller.post(f"/jobs/{second}/retry", None)
        assert status == 202
        while (body := (await caller.receiver.next()).json)["job_id"] != accepted["job_id"]:
            pass
        assert (body["total_files"], body["processed"], body["failed"]) == (2, 1, 1)

        # And once more, when what was not there is.
        (caller.files / "input" / "gone.png").write_bytes(PNG)
        status, again = await caller.post(f"/jobs/{body['job_id']}/retry", None)
        assert status == 202
        while (body := (await caller.receiver.next()).json)["job_id"] != again["job_id"]:
            pass
        assert (body["status"], body["total_files"], body["processed"]) == ("completed", 2, 2)


# -- dry runs ------------------------------------------------------------------------------


async def test_a_dry_run_tells_what_would_be_done_and_does_nothing(
    local: Caller, folder: str
) -> None:
    before = await jobs(local)
    found = await would_do(local, input_prefix=folder)
    assert found == {
        "dry_run": True,
        "complete": True,
        "images": 4,
        "skipped": 1,
        "failed": 0,
        "bytes": 4 * len(PNG),
        "first_keys": [f"{folder}{name}" for name in ("a.png", "b.png", "trip/c.jpg", "trip/raw")],
        "errors": [],
        "estimated_cost_usd": 0.0,
    }
    assert await jobs(local) == before
    named = await would_do(
        local, keys=[f"{folder}a.png", f"{folder}gone.png", f"{folder}notes.txt"]
    )
    assert (named["images"], named["skipped"], named["failed"]) == (1, 1, 1)
    assert named["errors"] == [
        f"{folder}gone.png: ObjectNotFound: The object does not exist, or no longer."
    ]


async def test_a_dry_run_tells_which_objects_are_too_large(local: Caller, folder: str) -> None:
    os.truncate(local.files / "input" / folder / "b.png", 1 << 31)
    found = await would_do(local, input_prefix=folder)
    assert (found["images"], found["failed"], found["bytes"]) == (3, 1, 3 * len(PNG))
    [error] = found["errors"]
    assert error.startswith(f"{folder}b.png: ObjectTooLarge: ")


async def test_a_dry_run_selects_as_the_batch_does(local: Caller, folder: str) -> None:
    times = {"a.png": -10, "b.png": 0, "trip/c.jpg": 10}
    noon = datetime(2026, 11, 24, 12, tzinfo=UTC)
    for name, seconds in times.items():
        time = noon.timestamp() + seconds
        os.utime(local.files / "input" / folder / name, (time, time))
    for selection in (
        {"include": ["*.png"]},
        {"exclude": ["trip/**", "a*"]},
        {"since": "2026-11-24T13:00:00+01:00", "exclude": ["**/raw"]},
        {"since": "2026-11-24t11:59:51z", "exclude": ["**/raw"]},
        {"limit": 2},
        {"limit": 9},
    ):
        fields = {"input_prefix": folder, **selection}
        found = await would_do(local, **fields)
        done = await local.run(BATCH, {"prompt": "x", **fields})
        assert found["images"] == done["total_files"], selection
        _, page = await local.get(f"/jobs/{done['job_id']}/items")
        keys = [row["input_key"] for row in page["items"] if row["state"] != "skipped"]
        assert found["first_keys"] == keys


async def test_a_dry_run_estimates_what_budgets_set_aside(remote: Caller) -> None:
    folder = remote.files / "input" / "input" / "dry"
    folder.mkdir(parents=True)
    for number in range(25):
        (folder / f"{number:02}.png").write_bytes(PNG)
    found = await would_do(remote, input_prefix="input/dry", quality="low")
    dearer = await would_do(remote, input_prefix="input/dry", quality="high")
    assert 0 < found["estimated_cost_usd"] < dearer["estimated_cost_usd"]
    assert (found["images"], len(found["first_keys"])) == (25, 20)
    one = await would_do(remote, input_prefix="input/dry", quality="low", limit=1)
    assert found["estimated_cost_usd"] == pytest.approx(25 * one["estimated_cost_usd"], abs=1e-5)
    local = await would_do(remote, input_prefix="input/dry", model="local")
    assert local["estimated_cost_usd"] == 0


async def test_a_dry_run_makes_all_the_checks_of_a_real_one(local: Caller) -> None:
    for fields, code in (
        ({"model": "local", "size": "1024x1024"}, "not_offered_by_model"),
        ({"concurrency": 5000}, "invalid_request"),
        ({"input_prefix": "a/../b"}, "invalid_request"),
    ):
        assert (await would_do(local, **fields))["code"] == code
    answer = await submit(
        local, {"prompt": "x", "dry_run": True}, BATCH, {"callbackUrl": "ftp://x/"}
    )
    assert_problem(answer.status, answer.body, "invalid_url")


@dataclass
class Endless:
    """Listings of an object that go on until they are told to stop."""

    begun: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    stops: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> Endless:
    """Make every listing of a folder endless."""
    endless = Endless()

    async def listing(
        _storage: FilesystemStorage, _bucket: str, prefix: str, **_: Any
    ) -> AsyncIterator[ObjectInfo]:
        try:
            yield ObjectInfo(key=f"{prefix}a.png", size=7, modified=datetime.now(UTC))
            endless.begun.release()
            await endless.stops.wait()
        finally:
            endless.ended.set()

    monkeypatch.setattr(FilesystemStorage, "list", listing)
    return endless


async def test_a_dry_run_without_the_time_for_all_objects_says_so(
    local: Caller, endless: Endless, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dry_run, "TIME_LIMIT", 0.2)
    found = await would_do(local)
    assert (found["complete"], found["images"]) == (False, 1)
    assert found["note"].startswith("Not all objects were looked at: ")
    assert endless.ended.is_set()


async def test_a_caller_who_leaves_ends_the_dry_run(
    local: Caller, endless: Endless, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dry_run, "CALLER_CHECK", 0.01)
    asking = asyncio.create_task(would_do(local))
    await endless.begun.acquire()
    endless.ended.clear()  # the look at the storage before it has ended too
    asking.cancel()
    await endless.ended.wait()


async def test_more_than_a_few_dry_runs_at_once_are_told_to_come_again(
    local: Caller, endless: Endless
) -> None:
    asking = [asyncio.create_task(would_do(local)) for _ in range(dry_run.AT_ONCE)]
    for _ in asking:
        await endless.begun.acquire()
    answer = await submit(local, {"prompt": "x", "dry_run": True}, BATCH)
    assert_problem(answer.status, answer.body, "too_many_dry_runs")
    assert (answer.status, "Retry-After" in answer.headers) == (503, True)
    endless.stops.set()
    assert [(await each)["images"] for each in asking] == [1] * dry_run.AT_ONCE
    assert (await would_do(local))["images"] == 1


async def test_a_bucket_that_is_not_there_is_a_problem_document(tmp_path: Path) -> None:
    settings = service_settings(tmp_path / "data")
    async with running_service(Settings.model_validate(settings)) as caller:
        shutil.rmtree(caller.files / "input")
        answer = await submit(caller, {"prompt": "x", "dry_run": True}, BATCH)
        assert_problem(answer.status, answer.body, "bucket_not_found")
        assert answer.status == 502
