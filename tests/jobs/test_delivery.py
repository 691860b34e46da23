import json

import pytest
import pytest_asyncio
from structlog.typing import EventDict

from imgsvc.jobs.models import CallbackState, Job
from jobs.backends import COMPLETED, claim, frozen, until_settled
from jobs.parts import image_spec, new_job
from jobs.runners import MakeDeliverer, MakeRunner, RecordingBackend, accept, running
from standins.receiver import Receiver, drop, reply

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("logs")]


@pytest_asyncio.fixture(loop_scope="session")
async def due(make_runner: MakeRunner, backend: RecordingBackend, receiver: Receiver) -> Job:
    """Return a job that has ended and whose callback is due."""
    runner = make_runner()
    job = await accept(runner, receiver)
    await runner.process(job.id)
    return await backend.get(job.id)


async def test_the_same_body_is_delivered_again_until_it_is_taken(
    make_runner: MakeRunner, make_deliverer: MakeDeliverer, receiver: Receiver
) -> None:
    runner = make_runner()
    job = await accept(runner, receiver, request_id="req-42")
    receiver.answer_with(reply(500), drop, reply(204))
    async with running(runner, make_deliverer([0, 0, 0])):
        [ended] = await until_settled(runner.backend, job)

    assert (ended.callback_state, ended.callback_attempts) == (CallbackState.DELIVERED, 3)
    assert len({request.body for request in receiver.received}) == 1
    assert [request.headers["webhook-id"] for request in receiver.received] == [job.webhook_id] * 3
    assert {request.headers["X-Request-Id"] for request in receiver.received} == {"req-42"}


@pytest.mark.parametrize("statuses", [[500, 500], [410]])
async def test_a_failed_delivery_does_not_change_how_the_job_ended(
    make_runner: MakeRunner,
    make_deliverer: MakeDeliverer,
    receiver: Receiver,
    statuses: list[int],
) -> None:
    runner = make_runner()
    job = await accept(runner, receiver)
    receiver.answer_with(*[reply(status) for status in statuses])
    async with running(runner, make_deliverer([0, 0])):
        [ended] = await until_settled(runner.backend, job)

    assert [request.json["status"] for request in receiver.received] == ["completed"] * len(
        statuses
    )
    assert ended.callback_state is CallbackState.DEAD
    assert ended.outcome is not None
    assert (ended.state, ended.outcome.state) == (COMPLETED.state, COMPLETED.state)


async def test_every_attempt_is_kept_with_how_it_went(
    make_deliverer: MakeDeliverer, backend: RecordingBackend, receiver: Receiver, due: Job
) -> None:
    receiver.answer_with(reply(503, body=b"x" * 3000), drop, reply(200, body=b"thanks"))
    for _ in range(3):
        await make_deliverer([0, 0, 0]).deliver(await backend.get(due.id))

    kept = await backend.attempts(due.id)
    assert [(a.number, a.verdict, a.status, a.error, a.answer) for a in kept] == [
        (1, "retry", 503, "status 503", "x" * 1024),
        (2, "retry", None, "connection lost", ""),
        (3, "delivered", 200, None, "thanks"),
    ]
    assert all(a.duration >= 0 for a in kept)
    assert kept[0].at < kept[1].at < kept[2].at


@pytest.mark.parametrize(
    ("attempts", "retry_after", "seconds"),
    [(0, None, 1), (1, None, 5), (2, None, 30), (1, "7", 7), (1, "3600", 10), (1, "2", 5)],
)
async def test_the_next_attempt_is_planned_by_the_schedule_and_what_the_receiver_asks_for(
    make_deliverer: MakeDeliverer,
    backend: RecordingBackend,
    receiver: Receiver,
    due: Job,
    attempts: int,
    retry_after: str | None,
    seconds: float,
) -> None:
    deliverer = make_deliverer([0, 1, 5, 30, 120])
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    receiver.answer_with(*[reply(500)] * attempts, reply(429, headers))
    for _ in range(attempts + 1):
        await deliverer.deliver(await backend.get(due.id))

    job = await backend.get(due.id)
    [*_, last] = await backend.attempts(due.id)
    assert job.callback_state is CallbackState.PENDING
    assert job.next_attempt_at is not None
    wait = (job.next_attempt_at - last.at).total_seconds() - last.duration
    assert wait == pytest.approx(seconds, abs=0.9)  # what the attempt and the record take


async def test_a_forbidden_address_is_dead_at_once(
    make_deliverer: MakeDeliverer, backend: RecordingBackend, make_runner: MakeRunner
) -> None:
    runner = make_runner()
    new = new_job(spec=image_spec(), callback_url="http://10.0.0.1/hook?token=hush")
    job = (await backend.accept(new)).job
    await runner.process(job.id)
    await make_deliverer().deliver(await backend.get(job.id))

    assert (await backend.get(job.id)).callback_state is CallbackState.DEAD
    [attempt] = await backend.attempts(job.id)
    assert (attempt.verdict, attempt.error) == ("dead", "forbidden address")


async def test_a_callback_that_is_delivered_once_more_has_the_whole_schedule_ahead(
    make_deliverer: MakeDeliverer, backend: RecordingBackend, receiver: Receiver, due: Job
) -> None:
    receiver.answer_with(reply(410), reply(500), reply(200))
    await make_deliverer([0, 60]).deliver(due)
    assert (await backend.redeliver(due.id)).callback_attempts == 0

    await make_deliverer([0, 60]).deliver(await backend.get(due.id))
    again = await backend.get(due.id)
    assert (again.callback_state, again.callback_attempts) == (CallbackState.PENDING, 1)
    await make_deliverer([0, 60]).deliver(again)

    assert (await backend.get(due.id)).callback_state is CallbackState.DELIVERED
    assert [a.number for a in await backend.attempts(due.id)] == [1, 2, 3]
    assert len({request.body for request in receiver.received}) == 1


async def test_a_job_that_nobody_wants_to_hear_of_has_no_callback(
    make_deliverer: MakeDeliverer, backend: RecordingBackend, receiver: Receiver
) -> None:
    job = (await backend.accept(new_job(callback_url=None))).job
    await backend.finish(job.id, (await claim(backend, job)).job.attempt, COMPLETED, frozen(job.id))

    ended = await backend.get(job.id)
    assert (ended.callback_state, ended.is_settled) == (CallbackState.NONE, True)
    await make_deliverer().deliver(ended)
    assert receiver.received == []


async def test_the_log_tells_each_attempt_and_the_end_without_the_path(
    make_deliverer: MakeDeliverer,
    backend: RecordingBackend,
    receiver: Receiver,
    logs: list[EventDict],
    due: Job,
) -> None:
    logs.clear()
    receiver.answer_with(reply(500), reply(500))
    for _ in range(2):
        await make_deliverer([0, 0]).deliver(await backend.get(due.id))

    assert [(entry["event"], entry["webhook_id"]) for entry in logs] == [
        ("callback_attempt", due.webhook_id),
        ("callback_attempt", due.webhook_id),
        ("callback_dead", due.webhook_id),
    ]
    assert (logs[-1]["attempts"], logs[-1]["error"]) == (2, "status 500")
    assert {entry["job_id"] for entry in logs} == {due.id}
    assert "/callback" not in json.dumps(logs, default=repr)
