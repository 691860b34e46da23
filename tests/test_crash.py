"""A server that is killed keeps its promises: at every point, in a real process."""

import signal
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from imgsvc.jobs.models import CallbackState, JobState
from imgsvc.killpoints import KillPoint
from standins import killable
from standins.ledger import PATHS, audit, fill_input_bucket, submit, submit_one_of_each
from standins.openai import OpenAIStandin, openai_standin
from standins.receiver import Receiver
from standins.record import read_record
from standins.server_process import server_process, settle

IMAGES = 2
"""In the input bucket, for the batch."""

QUICK = {(KillPoint.ACCEPT_COMMITTED, "after")}

STEPS = [
    pytest.param(
        point,
        side,
        id=f"{side}-{point}",
        marks=() if (point, side) in QUICK else pytest.mark.slow,
    )
    for point in KillPoint
    for side in ("before", "after")
]


@pytest.fixture
async def standin() -> AsyncIterator[OpenAIStandin]:
    async with openai_standin() as running:
        yield running


@pytest.mark.parametrize(("point", "side"), STEPS)
async def test_every_promise_survives_a_kill(
    tmp_path: Path, standin: OpenAIStandin, receiver: Receiver, point: KillPoint, side: str
) -> None:
    data_dir = tmp_path / "data"
    fill_input_bucket(data_dir, images=IMAGES)
    async with server_process(
        data_dir,
        program=killable.program(point, side, nth=2),
        environment=standin.environment,
    ) as server:
        promised = await submit_one_of_each(server.url, receiver.url)
        assert await server.process.wait() == -signal.SIGKILL

    record = await settle(data_dir, standin.environment)

    found = audit(promised, receiver.received, record)
    assert found.lost == []
    assert found.differing == []
    assert sorted(record.submitted) == sorted(record.jobs)  # none without the other
    assert set(found.states) <= {JobState.COMPLETED}
    assert max(found.executions.values(), default=0) <= 1
    assert max(found.deliveries.values(), default=0) <= 1
    edits = Counter((call.fields["prompt"], call.image.filename) for call in standin.calls)
    assert max(edits.values(), default=0) <= 2
    assert list((data_dir / "spool" / "scratch").iterdir()) == []


@pytest.mark.slow
async def test_a_job_that_takes_the_server_along_each_time_fails_in_the_end(
    tmp_path: Path, standin: OpenAIStandin, receiver: Receiver
) -> None:
    deadly = killable.program(KillPoint.PROVIDER_CALLED, "before")
    for attempt in range(3):
        async with server_process(
            tmp_path / "data", program=deadly, environment=standin.environment
        ) as server:
            if attempt == 0:
                async with aiohttp.ClientSession() as session:
                    await submit(session, server.url, PATHS[0], "x", receiver.url)
            assert await server.process.wait() == -signal.SIGKILL
    async with server_process(
        tmp_path / "data", program=deadly, environment=standin.environment
    ) as server:
        await server.event("callback_delivered")
        server.process.send_signal(signal.SIGTERM)
        assert await server.process.wait() == 0
    [callback] = receiver.received
    assert callback.json["status"] == "failed"
    assert callback.json["error"].startswith("JobPoisoned: ")
    [job] = read_record(tmp_path / "data").jobs.values()
    assert (job.state, job.callback_state) == (JobState.FAILED, CallbackState.DELIVERED)
    assert not standin.calls


@pytest.mark.slow
async def test_a_call_that_a_kill_cut_off_is_of_unknown_cost_and_counts_as_spent(
    tmp_path: Path, standin: OpenAIStandin, receiver: Receiver
) -> None:
    data_dir = tmp_path / "data"
    standin.fail_next("hang")
    async with server_process(data_dir, environment=standin.environment) as server:
        async with aiohttp.ClientSession() as session:
            job_id = await submit(session, server.url, PATHS[0], "x", receiver.url)
        assert job_id is not None
        await standin.arrived.wait()
        server.process.kill()
        await server.process.wait()

    record = await settle(data_dir, standin.environment)

    job = record.jobs[job_id]
    assert (job.state, job.attempt, len(standin.calls)) == (JobState.COMPLETED, 2, 2)
    assert (job.spent.calls, job.spent.unknown_calls, job.spent.usd) == (2, 1, 0.034213)
    [callback] = receiver.received
    assert (callback.json["provider"], callback.json["fallback"]) == ("openai", False)
    assert (callback.json["cost_usd"], callback.json["cost_unknown"]) == (0.034213, True)
    assert job.outcome is not None
    assert job.outcome.cost_unknown
