import errno
import os
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.typing import EventDict

from imgsvc.callbacks import Verdict
from imgsvc.errors import ProviderRefusedContent, describe
from imgsvc.imaging.encoded import EncodedImage
from imgsvc.jobs import BlobFolder, worker
from imgsvc.jobs.models import BatchSpec, JobState
from imgsvc.providers import EditRequest
from jobs.batches import Buckets
from jobs.parts import (
    Behaviour,
    ScriptedProvider,
    batch_spec,
    edited,
    fails,
    files,
    hangs,
    image_spec,
    stored,
)
from jobs.runners import PNG, MakeRunner, RecordingBackend, accept, run_one, running
from standins.disk import full_disk
from standins.pictures import picture
from standins.receiver import Receiver, reply

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("logs")]


@pytest.mark.parametrize(
    ("spec", "state"),
    [(None, JobState.COMPLETED), (batch_spec(), JobState.COMPLETED)],
    ids=["image", "batch"],
)
async def test_a_job_that_worked_is_completed_and_told_once(
    make_runner: MakeRunner,
    receiver: Receiver,
    backend: RecordingBackend,
    spec: BatchSpec | None,
    state: JobState,
) -> None:
    body = await run_one(make_runner(), receiver, spec=spec)

    assert body["status"] == state.value
    assert backend.finished == [(body["job_id"], 1, state)]
    assert backend.verdicts == {body["job_id"]: Verdict.DELIVERED}


async def test_the_callback_carries_the_ids_of_job_and_request(
    make_runner: MakeRunner, receiver: Receiver
) -> None:
    runner = make_runner()
    job = await accept(runner, receiver, request_id="req-42")
    async with running(runner):
        request = await receiver.next()
        await runner.backend.drain()

    assert request.headers["webhook-id"] == job.webhook_id
    assert request.headers["X-Request-Id"] == "req-42"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ProviderRefusedContent(), describe(ProviderRefusedContent())),
        (LookupError("/srv/secret"), describe(LookupError())),
        (OSError(errno.ENOSPC, "No space", "/srv/secret"), describe(LookupError())),
        (TimeoutError("/srv/secret"), describe(LookupError())),
        (ExceptionGroup("/srv/secret", [ValueError()]), describe(LookupError())),
    ],
)
async def test_an_error_fails_the_job_with_a_line_that_gives_nothing_away(
    make_runner: MakeRunner, receiver: Receiver, error: Exception, line: str
) -> None:
    body = await run_one(make_runner(ScriptedProvider(default=fails(error))), receiver)

    assert body == {
        "status": "failed",
        "job_id": body["job_id"],
        "filename": "a.png",
        "provider": "scripted",
        "fallback": False,
        "error": line,
    }


async def test_a_crash_is_called_an_internal_error(
    make_runner: MakeRunner, receiver: Receiver, logs: list[EventDict]
) -> None:
    body = await run_one(make_runner(ScriptedProvider(default=fails(LookupError()))), receiver)

    assert body["error"].startswith("InternalError: ")
    [crash] = [line for line in logs if line["event"] == "job_crashed"]
    assert crash["log_level"] == "error"


async def test_a_batch_that_cannot_list_its_bucket_fails_with_all_counters(
    make_runner: MakeRunner, receiver: Receiver, buckets: Buckets
) -> None:
    buckets.input.rmdir()
    body = await run_one(make_runner(), receiver, spec=batch_spec())

    assert body["status"] == "failed"
    assert body["error"].startswith("BucketNotFound: ")
    assert (body["total_files"], body["processed"], body["failed"]) == (0, 0, 0)


async def test_a_job_that_takes_too_long_is_stopped(
    make_runner: MakeRunner, receiver: Receiver
) -> None:
    runner = make_runner(ScriptedProvider(default=hangs), job_timeout=0.05)
    body = await run_one(runner, receiver)

    assert body["status"] == "failed"
    assert body["error"].startswith("JobTimeout: The image took longer than the 0.05 s")


async def test_a_crash_leaves_the_other_jobs_alone(
    make_runner: MakeRunner, receiver: Receiver
) -> None:
    crashes = iter([True, False] * 5)

    async def every_other(request: EditRequest) -> EncodedImage:
        if next(crashes):
            raise LookupError
        return await edited(request)

    runner = make_runner(ScriptedProvider(default=every_other))
    jobs = [await accept(runner, receiver) for _ in range(10)]
    async with running(runner, workers=3):
        await runner.backend.drain()

    assert {request.json["job_id"] for request in receiver.received} == {job.id for job in jobs}
    states = [request.json["status"] for request in receiver.received]
    assert (states.count("completed"), states.count("failed")) == (5, 5)


@pytest.mark.parametrize("job_id", ["unknown", None])
async def test_a_job_that_cannot_be_claimed_is_left_alone(
    make_runner: MakeRunner,
    receiver: Receiver,
    backend: RecordingBackend,
    job_id: str | None,
) -> None:
    provider = ScriptedProvider()
    runner = make_runner(provider)
    job = await accept(runner, receiver)
    await backend.start(job.id)

    await runner.process(job_id or job.id)

    assert provider.requests == []
    assert backend.stats().running == 1


# -- files --------------------------------------------------------------------------------


@pytest.mark.parametrize("behaviour", [edited, fails(LookupError())])
@pytest.mark.parametrize("status", [200, 410])
async def test_inputs_go_with_the_end_of_the_job_and_the_body_with_its_delivery(
    make_runner: MakeRunner,
    receiver: Receiver,
    backend: RecordingBackend,
    kept: Path,
    scratch: Path,
    behaviour: Behaviour,
    status: int,
) -> None:
    runner = make_runner(ScriptedProvider(default=behaviour))
    image = await runner.blobs.put([PNG], content_type="image/png")
    mask = await runner.blobs.put([picture(mode="RGBA")], content_type="image/png")
    job = await accept(runner, receiver, spec=image_spec(image=stored(image), mask=mask))
    assert len(files(kept)) == 2

    await runner.process(job.id)
    assert backend.frozen is not None
    assert files(kept) == [runner.blobs.path(backend.frozen)]

    receiver.answer_with(reply(status))
    await runner.deliver(replace(job, callback_body=backend.frozen))
    assert files(kept) == files(scratch) == []


async def test_a_worker_that_lost_its_job_discards_its_result_and_keeps_the_inputs(
    make_runner: MakeRunner,
    receiver: Receiver,
    backend: RecordingBackend,
    blobs: BlobFolder,
    kept: Path,
    logs: list[EventDict],
) -> None:
    other = await blobs.put([b"{}"], content_type="application/json")

    async def lose_the_job(request: EditRequest) -> EncodedImage:
        assert await backend.finish(job.id, 1, JobState.FAILED, other)
        return await edited(request)

    runner = make_runner(ScriptedProvider(default=lose_the_job))
    job = await accept(runner, receiver)
    await runner.process(job.id)

    assert backend.finished == [(job.id, 1, JobState.FAILED)]
    [image] = job.spec.blobs
    assert files(kept) == sorted([blobs.path(other), blobs.path(image)])
    assert [line["event"] for line in logs] == ["job_started", "job_superseded"]


async def test_a_result_waits_until_the_disk_has_room_for_it(
    make_runner: MakeRunner,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    logs: list[EventDict],
) -> None:
    provider = ScriptedProvider()
    runner = make_runner(provider)
    await accept(runner, receiver)
    monkeypatch.setattr(worker, "DISK_RETRY", 0.01)
    fsync, refusals = os.fsync, iter(range(3))

    def full_three_times(descriptor: int) -> None:
        if next(refusals, None) is not None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full_three_times)
    async with running(runner):
        body = (await receiver.next()).json
        await runner.backend.drain()

    assert body["status"] == "completed"
    assert len(provider.requests) == 1  # the edit is paid for once
    waits = [line for line in logs if line["event"] == "disk_refuses"]
    assert [line["errno"] for line in waits] == [errno.ENOSPC] * 3


async def test_a_result_that_finds_no_room_is_given_up_and_the_job_fails(
    make_runner: MakeRunner, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = make_runner(ScriptedProvider())
    job = await accept(runner, receiver)
    monkeypatch.setattr(worker, "DISK_RETRY", 0.01)
    with full_disk(1000):
        async with running(runner):
            body = (await receiver.next()).json
            await runner.backend.drain()

    assert body["status"] == "failed"
    assert body["error"].startswith("DiskRefuses: ")
    assert [path for blob in job.spec.blobs if (path := runner.blobs.path(blob)).exists()] == []
