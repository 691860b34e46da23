import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import pytest

from imgsvc.errors import DiskRefuses
from imgsvc.jobs.backend import Frozen, RunLimits
from imgsvc.jobs.fairness import FairOrder
from imgsvc.jobs.models import BatchSpec, BlobRef, Job, JobState, NewJob, Outcome
from imgsvc.jobs.sqlite import SqliteConfig, hand_out
from imgsvc.jobs.sqlite.writer import Database, Transaction

LANE = (5, "10.0.0.1")
T = TypeVar("T")


def test_a_job_that_is_cancelled_while_it_is_picked_leaves_nothing_to_pick() -> None:
    order = FairOrder()
    order.join(LANE)
    assert order.pick() == LANE
    order.leave(LANE, handed=False)  # cancelled; the record then finds no job to hand out
    order.give_back(LANE)
    assert order.pick() is None


def test_a_job_that_comes_while_a_cancelled_one_is_given_back_is_picked_once() -> None:
    order = FairOrder()
    order.join(LANE)
    assert order.pick() == LANE
    order.leave(LANE, handed=False)
    order.join(LANE)
    order.give_back(LANE)
    assert order.pick() == LANE
    assert order.pick() is None


async def test_a_callback_that_is_due_while_the_disk_refuses_is_delivered_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hand_out, "RETRY", 0)
    refusals = 3

    async with SqliteConfig(kind="sqlite").open(tmp_path) as backend:
        spec = BatchSpec(prompt="x", input_prefix="i/", output_prefix="o/", concurrency=1)
        new = NewJob(spec=spec, request_id="r", callback_url="http://127.0.0.1:9/")
        job_id = (await backend.accept(new)).job.id
        assert await backend.start(job_id)
        body = BlobRef(key="k", size=1, sha256="", content_type="application/json")
        frozen = Frozen(body=body, due_at=datetime.now(UTC))
        await backend.finish(job_id, 1, Outcome(state=JobState.FAILED), frozen)

        call = Database.call

        async def refuse(self: Database, run: Callable[[Transaction], T]) -> T:
            nonlocal refusals
            if refusals:
                refusals -= 1
                raise DiskRefuses
            return await call(self, run)

        monkeypatch.setattr(Database, "call", refuse)
        delivered: asyncio.Queue[Job] = asyncio.Queue()

        async def process(_job_id: str) -> None:
            raise AssertionError("no job is queued")

        running = asyncio.create_task(
            backend.run(process, delivered.put, RunLimits(workers=1)), name="run"
        )
        assert (await delivered.get()).id == job_id
        running.cancel()
        await asyncio.wait([running])
