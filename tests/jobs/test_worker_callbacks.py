import json

import pytest
from structlog.typing import EventDict

from imgsvc.callbacks import Verdict
from imgsvc.jobs.models import JobKind, JobState
from jobs.batches import Buckets
from jobs.parts import batch_spec
from jobs.runners import PNG, MakeRunner, RecordingBackend, accept, run_one, running
from standins.receiver import Receiver, reply

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("logs")]


async def test_the_same_body_is_delivered_again_until_it_is_taken(
    make_runner: MakeRunner, receiver: Receiver, backend: RecordingBackend
) -> None:
    runner = make_runner(schedule=[0, 0, 0])
    job = await accept(runner, receiver)
    receiver.answer_with(reply(500), reply(503), reply(204))
    async with running(runner):
        await runner.backend.drain()

    assert len(receiver.received) == 3
    assert len({request.body for request in receiver.received}) == 1
    assert {request.headers["webhook-id"] for request in receiver.received} == {job.webhook_id}
    assert backend.verdicts == {job.id: Verdict.DELIVERED}


@pytest.mark.parametrize("statuses", [[500, 500], [410]])
async def test_a_failed_delivery_does_not_change_how_the_job_ended(
    make_runner: MakeRunner,
    receiver: Receiver,
    backend: RecordingBackend,
    statuses: list[int],
) -> None:
    runner = make_runner()
    job = await accept(runner, receiver)
    receiver.answer_with(*[reply(status) for status in statuses])
    async with running(runner):
        await runner.backend.drain()

    assert [request.json["status"] for request in receiver.received] == ["completed"] * len(
        statuses
    )
    assert backend.finished == [(job.id, 1, JobState.COMPLETED)]
    assert backend.verdicts == {job.id: Verdict.DEAD}
    assert backend.stats().callbacks_pending == 0


# -- what is logged -----------------------------------------------------------------------


async def test_every_line_says_which_job_and_which_request_it_is_about(
    make_runner: MakeRunner, receiver: Receiver, buckets: Buckets, logs: list[EventDict]
) -> None:
    buckets.add("input/a.png", PNG)
    runner = make_runner()
    first = await accept(runner, receiver, request_id="req-1")
    second = await accept(runner, receiver, request_id="req-2", spec=batch_spec())
    async with running(runner):
        await runner.backend.drain()

    told = {(line["job_id"], line["request_id"]) for line in logs}
    assert told == {(first.id, "req-1"), (second.id, "req-2")}
    events = {line["event"] for line in logs}
    assert events >= {"job_started", "item_done", "job_finished", "callback_delivered"}


async def test_the_end_of_a_job_is_logged_with_its_state_but_not_its_contents(
    make_runner: MakeRunner, receiver: Receiver, logs: list[EventDict]
) -> None:
    body = await run_one(make_runner(), receiver)

    [line] = [line for line in logs if line["event"] == "job_finished"]
    assert (line["kind"], line["state"]) == (JobKind.IMAGE_TO_BASE64, JobState.COMPLETED)
    assert line["callback_bytes"] == len(receiver.received[0].body)
    assert body["result_image_base64"] not in json.dumps(logs, default=repr)
    assert "Make it night" not in json.dumps(logs, default=repr)
