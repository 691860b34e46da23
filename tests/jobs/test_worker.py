import asyncio
import errno
import json
import os
from pathlib import Path

import pytest
from structlog.typing import EventDict

from imgsvc.errors import ProviderRefusedContent, describe
from imgsvc.imaging.encoded import EncodedImage
from imgsvc.imaging.formats import ImageFormat
from imgsvc.jobs import BlobFolder, freezing, worker
from imgsvc.jobs.models import BatchSpec, JobKind, JobState, Outcome
from imgsvc.providers import EditRequest
from jobs.backends import FAILED, claim, frozen, until_settled
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
from jobs.runners import (
    PNG,
    MakeDeliverer,
    MakeRunner,
    RecordingBackend,
    accept,
    run_one,
    running,
)
from standins.disk import full_disk
from standins.pictures import picture
from standins.receiver import Receiver

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("logs")]


@pytest.fixture
def quick_disk_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (freezing, worker):
        monkeypatch.setattr(module, "DISK_RETRY", 0.01)


@pytest.mark.parametrize(
    ("spec", "state"),
    [(None, JobState.COMPLETED), (batch_spec(), JobState.COMPLETED)],
    ids=["image", "batch"],
)
async def test_a_job_that_worked_is_completed_and_told_once(
    make_runner: MakeRunner,
    make_deliverer: MakeDeliverer,
    receiver: Receiver,
    backend: RecordingBackend,
    spec: BatchSpec | None,
    state: JobState,
) -> None:
    body = await run_one(make_runner(), make_deliverer(), receiver, spec=spec)

    assert body["status"] == state.value
    assert backend.finished == [(body["job_id"], 1, state)]
    outcome = (await backend.get(body["job_id"])).outcome
    assert outcome is not None
    assert (outcome.state, outcome.provider) == (state, body["provider"])


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
    make_runner: MakeRunner,
    make_deliverer: MakeDeliverer,
    receiver: Receiver,
    error: Exception,
    line: str,
) -> None:
    runner = make_runner(ScriptedProvider(default=fails(error)))
    body = await run_one(runner, make_deliverer(), receiver)

    assert body == {
        "status": "failed",
        "job_id": body["job_id"],
        "filename": "a.png",
        "provider": "scripted",
        "fallback": False,
        "error": line,
        "cost_usd": 0.0,
    } | ({} if isinstance(error, ProviderRefusedContent) else {"cost_unknown": True})


async def test_a_crash_is_called_an_internal_error(
    make_runner: MakeRunner,
    make_deliverer: MakeDeliverer,
    receiver: Receiver,
    logs: list[EventDict],
) -> None:
    runner = make_runner(ScriptedProvider(default=fails(LookupError())))
    body = await run_one(runner, make_deliverer(), receiver)

    assert body["error"].startswith("InternalError: ")
    [crash] = [line for line in logs if line["event"] == "job_crashed"]
    assert crash["log_level"] == "error"


async def test_a_batch_that_cannot_list_its_bucket_fails_with_all_counters(
    make_runner: MakeRunner,
    make_deliverer: MakeDeliverer,
    receiver: Receiver,
    buckets: Buckets,
) -> None:
    buckets.input.rmdir()
    body = await run_one(make_runner(), make_deliverer(), receiver, spec=batch_spec())

    assert body["status"] == "failed"
    assert body["error"].startswith("BucketNotFound: ")
    assert (body["total_files"], body["processed"], body["failed"]) == (0, 0, 0)


async def test_a_job_that_takes_too_long_is_stopped(
    make_runner: MakeRunner, make_deliverer: MakeDeliverer, receiver: Receiver
) -> None:
    runner = make_runner(ScriptedProvider(default=hangs), job_timeout=0.05)
    body = await run_one(runner, make_deliverer(), receiver)

    assert body["status"] == "failed"
    assert body["error"].startswith("JobTimeout: The image took longer than the 0.05 s")


async def test_a_crash_leaves_the_other_jobs_alone(
    make_runner: MakeRunner, make_deliverer: MakeDeliverer, receiver: Receiver
) -> None:
    crashes = iter([True, False] * 5)

    async def every_other(request: EditRequest) -> EncodedImage:
        if next(crashes):
            raise LookupError
        return await edited(request)

    runner = make_runner(ScriptedProvider(default=every_other))
    jobs = [await accept(runner, receiver) for _ in range(10)]
    async with running(runner, make_deliverer(), workers=3):
        await until_settled(runner.backend, *jobs)

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


# -- jobs that are stopped, or never end ----------------------------------------------------


@pytest.mark.parametrize("spec", [None, batch_spec()], ids=["image", "batch"])
async def test_a_running_job_that_is_cancelled_stops_its_edit_and_is_told_once(
    make_runner: MakeRunner,
    make_deliverer: MakeDeliverer,
    receiver: Receiver,
    backend: RecordingBackend,
    buckets: Buckets,
    spec: BatchSpec | None,
) -> None:
    buckets.add("input/a.png", PNG)
    asked = asyncio.Event()

    async def tell_and_hang(request: EditRequest) -> EncodedImage:
        asked.set()
        return await hangs(request)

    provider = ScriptedProvider(default=tell_and_hang)
    runner = make_runner(provider)
    job = await accept(runner, receiver, spec=spec)
    async with running(runner, make_deliverer()):
        await asked.wait()
        outcome = Outcome(state=JobState.CANCELLED)
        for _ in range(2):
            told = await backend.cancel(job.id, outcome, frozen(job.id))
            assert (told.state, told.cancel_requested) == (JobState.RUNNING, True)
        [ended] = await until_settled(backend, job)

    assert (ended.state, provider.in_flight) == (JobState.CANCELLED, 0)
    [request] = receiver.received
    assert request.json["status"] == "cancelled"
    assert request.json["error"].startswith("JobCancelled: ")


async def test_a_job_that_was_begun_too_often_is_given_up_without_another_try(
    make_runner: MakeRunner,
    make_deliverer: MakeDeliverer,
    receiver: Receiver,
    backend: RecordingBackend,
) -> None:
    provider = ScriptedProvider()
    runner = make_runner(provider)
    job = await accept(runner, receiver)
    for _ in range(3):
        await claim(backend, job)
        await backend.recover()  # as a process does that starts after a crash
    async with running(runner, make_deliverer()):
        [ended] = await until_settled(backend, job)

    assert (ended.state, ended.attempt, provider.requests) == (JobState.FAILED, 4, [])
    assert receiver.received[0].json["error"].startswith("JobPoisoned: ")


async def test_orderly_stops_do_not_count_as_attempts(
    make_runner: MakeRunner,
    make_deliverer: MakeDeliverer,
    receiver: Receiver,
    backend: RecordingBackend,
) -> None:
    provider = ScriptedProvider(default=hangs)
    job = await accept(make_runner(provider), receiver)
    for attempt in range(1, 6):
        async with running(make_runner(provider)):
            with backend.watch(job.id) as happened:
                while True:
                    happened.clear()
                    if (await backend.get(job.id)).attempt == attempt:
                        break
                    await happened.wait()

    async with running(make_runner(), make_deliverer()):
        [ended] = await until_settled(backend, job)
    assert (ended.state, ended.attempt, ended.interruptions) == (JobState.COMPLETED, 6, 5)


# -- files --------------------------------------------------------------------------------


@pytest.mark.parametrize("behaviour", [edited, fails(LookupError())], ids=["works", "fails"])
async def test_inputs_go_with_the_end_of_the_job_unless_it_can_be_done_again(
    make_runner: MakeRunner,
    receiver: Receiver,
    backend: RecordingBackend,
    kept: Path,
    scratch: Path,
    behaviour: Behaviour,
) -> None:
    runner = make_runner(ScriptedProvider(default=behaviour))
    image = await runner.blobs.put([PNG], content_type="image/png")
    mask = await runner.blobs.put([picture(mode="RGBA")], content_type="image/png")
    job = await accept(runner, receiver, spec=image_spec(image=stored(image), mask=mask))
    assert len(files(kept)) == 2

    await runner.process(job.id)

    body = (await backend.get(job.id)).callback_body
    assert body is not None
    inputs = [] if behaviour is edited else [image, mask]
    assert files(kept) == sorted(runner.blobs.path(blob) for blob in [body, *inputs])
    assert files(scratch) == []
    assert await backend.unknown_blobs([image.key, mask.key, body.key]) == (
        frozenset({image.key, mask.key}) if behaviour is edited else frozenset()
    )


async def test_a_worker_that_lost_its_job_discards_its_result_and_keeps_the_inputs(
    make_runner: MakeRunner,
    receiver: Receiver,
    backend: RecordingBackend,
    blobs: BlobFolder,
    kept: Path,
    logs: list[EventDict],
) -> None:
    async def lose_the_job(request: EditRequest) -> EncodedImage:
        assert await backend.finish(job.id, 1, FAILED, frozen(job.id))
        return await edited(request)

    runner = make_runner(ScriptedProvider(default=lose_the_job))
    job = await accept(runner, receiver)
    await runner.process(job.id)

    assert backend.finished == [(job.id, 1, JobState.FAILED)]
    [image] = job.spec.blobs
    assert files(kept) == [blobs.path(image)]
    events = ["job_started", "provider_billed", "job_superseded"]
    assert [line["event"] for line in logs] == events


@pytest.mark.usefixtures("quick_disk_retries")
async def test_a_result_waits_until_the_disk_has_room_for_it(
    make_runner: MakeRunner,
    make_deliverer: MakeDeliverer,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    logs: list[EventDict],
) -> None:
    provider = ScriptedProvider()
    runner = make_runner(provider)
    job = await accept(runner, receiver)
    fsync, refusals = os.fsync, iter(range(3))

    def full_three_times(descriptor: int) -> None:
        if next(refusals, None) is not None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full_three_times)
    async with running(runner, make_deliverer()):
        await until_settled(runner.backend, job)

    assert receiver.received[0].json["status"] == "completed"
    assert len(provider.requests) == 1  # the edit is paid for once
    waits = [line for line in logs if line["event"] == "disk_refuses"]
    assert [line["errno"] for line in waits] == [errno.ENOSPC] * 3


@pytest.mark.usefixtures("quick_disk_retries")
async def test_a_result_that_finds_no_room_is_given_up_and_the_job_fails(
    make_runner: MakeRunner, make_deliverer: MakeDeliverer, receiver: Receiver
) -> None:
    async def enlarged(_request: EditRequest) -> EncodedImage:
        return EncodedImage(format=ImageFormat.PNG, content=bytes(1 << 20))

    runner = make_runner(ScriptedProvider(default=enlarged))
    job = await accept(runner, receiver)
    with full_disk(1 << 19):
        async with running(runner, make_deliverer()):
            await until_settled(runner.backend, job)

    body = receiver.received[0].json
    assert body["status"] == "failed"
    assert body["error"].startswith("DiskRefuses: ")


# -- what is logged -----------------------------------------------------------------------


async def test_every_line_says_which_job_and_which_request_it_is_about(
    make_runner: MakeRunner,
    make_deliverer: MakeDeliverer,
    receiver: Receiver,
    buckets: Buckets,
    logs: list[EventDict],
) -> None:
    buckets.add("input/a.png", PNG)
    runner = make_runner()
    first = await accept(runner, receiver, request_id="req-1")
    second = await accept(runner, receiver, request_id="req-2", spec=batch_spec())
    async with running(runner, make_deliverer()):
        await until_settled(runner.backend, first, second)

    told = {(line["job_id"], line["request_id"]) for line in logs}
    assert told == {(first.id, "req-1"), (second.id, "req-2")}
    events = {line["event"] for line in logs}
    assert events >= {"job_started", "item_done", "job_finished", "callback_delivered"}


async def test_the_end_of_a_job_is_logged_with_its_state_but_not_its_contents(
    make_runner: MakeRunner,
    make_deliverer: MakeDeliverer,
    receiver: Receiver,
    logs: list[EventDict],
) -> None:
    body = await run_one(make_runner(), make_deliverer(), receiver)

    [line] = [line for line in logs if line["event"] == "job_finished"]
    assert (line["kind"], line["state"]) == (JobKind.IMAGE_TO_BASE64, JobState.COMPLETED)
    assert line["callback_bytes"] == len(receiver.received[0].body)
    assert body["result_image_base64"] not in json.dumps(logs, default=repr)
    assert "Make it night" not in json.dumps(logs, default=repr)
