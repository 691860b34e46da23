"""A record that an earlier version has written."""

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

from imgsvc.jobs.items import ItemEnd, ItemState, Progress
from imgsvc.jobs.ledger import Bill, Limits
from imgsvc.jobs.models import BatchSpec, CallbackState, JobFilter, JobState
from imgsvc.jobs.spent import Spent
from imgsvc.jobs.sqlite import SqliteConfig
from imgsvc.web.job_view import job_view
from jobs.backends import accept, claim
from jobs.calls import new_call
from jobs.parts import new_job

VERSION_1 = "version_1.sql"
"""Four jobs as version 1 has kept them: one completed, one failed, one waiting, one in work."""

VERSION_3 = "version_3.sql"
"""A batch in work: an image is done, one failed, one in work, one waiting, a file is no image."""


def write(version: str, folder: Path) -> None:
    connection = sqlite3.connect(folder / "jobs.db")
    connection.executescript((Path(__file__).parent / version).read_text())
    connection.close()


async def test_the_jobs_of_version_1_are_all_there_and_go_on(tmp_path: Path) -> None:
    write(VERSION_1, tmp_path)
    async with SqliteConfig().open(tmp_path) as backend:
        jobs = await backend.list(JobFilter(), before=None, limit=10)
        in_work, waiting, failed, completed = jobs
        states = [job.state for job in jobs]
        assert states == [JobState.QUEUED, JobState.QUEUED, JobState.FAILED, JobState.COMPLETED]
        assert in_work.attempt == 1  # it was running, and waits again
        assert isinstance(waiting.spec, BatchSpec)
        assert (waiting.priority, waiting.spec.max_cost) == (8, None)
        assert (failed.client, failed.callback_state) == ("ann", CallbackState.PENDING)
        assert len(await backend.attempts(completed.id)) == 1
        again = new_job(request_id="req-1", idempotency_key="key-1", digest="d1")
        assert (await backend.accept(again)).job.id == completed.id

        # What calls cost was not kept then, only that one may have been billed.
        assert {job.spent for job in jobs} == {Spent()}
        shown = job_view(completed, "")
        assert (shown["cost_unknown"], "cost_usd" in shown) == (True, False)

        job = (await claim(backend, in_work)).job
        call = new_call(job)
        assert await backend.ledger.reserve(call, Limits(job=10)) is None
        backend.ledger.settle(call.id, Bill(cost=7))
        assert (await backend.get(job.id)).spent == Spent(calls=1, cost=7)
        assert (await accept(backend)).seq == 5
        await backend.forget(before=datetime.now(UTC), limit=10)


async def test_the_images_of_a_batch_that_version_3_has_begun_are_counted(tmp_path: Path) -> None:
    write(VERSION_3, tmp_path)
    async with SqliteConfig().open(tmp_path) as backend:
        [job] = await backend.list(JobFilter(), before=None, limit=10)
        counted = await backend.items.progress(job.id)
        assert counted == Progress(done=2, failed=1, total=4, total_is_final=False)
        claimed = (await claim(backend, job)).job
        item = await backend.items.take(claimed)
        assert item is not None
        end = ItemEnd(state=ItemState.FAILED)
        counted = await backend.items.end(claimed, item.number, end)
        assert counted == Progress(done=3, failed=2, total=4, total_is_final=False)


async def test_a_record_is_brought_up_once(tmp_path: Path) -> None:
    write(VERSION_1, tmp_path)
    for _ in range(2):
        async with SqliteConfig().open(tmp_path) as backend:
            assert len(await backend.list(JobFilter(), before=None, limit=10)) == 4
