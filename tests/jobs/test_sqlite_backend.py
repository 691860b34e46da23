"""What only a record in a file of this machine has to promise."""

import itertools
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from imgsvc.errors import DiskRefuses
from imgsvc.jobs.ledger import Grouping, Limits, UsageFilter
from imgsvc.jobs.models import Job, JobState
from imgsvc.jobs.sqlite import SqliteConfig, changes, ledger
from imgsvc.jobs.sqlite import backend as sqlite_backend
from imgsvc.jobs.sqlite.writer import Transaction, open_database
from jobs.backends import accept, claim, running, until_settled
from jobs.calls import DAY, new_call


async def test_a_start_on_a_full_disk_queues_what_was_running_once_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with SqliteConfig().open(tmp_path) as backend:
        job = await accept(backend)
        await claim(backend, job)
    refusals = iter(range(2))
    put_back = changes.put_back

    def refuses_twice(tx: Transaction, *, orderly: bool) -> list[Job]:
        if next(refusals, None) is not None:
            raise DiskRefuses
        return put_back(tx, orderly=orderly)

    monkeypatch.setattr(changes, "put_back", refuses_twice)
    monkeypatch.setattr(sqlite_backend, "RETRY", 0.01)
    async with SqliteConfig().open(tmp_path) as backend:
        assert backend.stats().running == 1
        async with running(backend):
            [ended] = await until_settled(backend, job)
    assert (ended.state, ended.attempt) == (JobState.COMPLETED, 2)


def modes(folder: Path) -> dict[str, int]:
    return {file.name: file.stat().st_mode & 0o777 for file in folder.iterdir()}


async def test_only_its_owner_can_read_the_record(tmp_path: Path) -> None:
    async with SqliteConfig().open(tmp_path) as backend:
        await accept(backend)
        assert modes(tmp_path) == {"jobs.db": 0o600, "jobs.db-wal": 0o600, "jobs.db-shm": 0o600}


def steps(tx: Transaction, run: Callable[[Transaction], object]) -> int:
    """Return how many instructions of SQLite's virtual machine something takes."""
    counted = itertools.count()
    tx.connection.set_progress_handler(lambda: next(counted) < 0, 1)
    try:
        run(tx)
    finally:
        tx.connection.set_progress_handler(None, 1)
    return next(counted)


async def test_the_costs_of_one_client_are_found_past_those_of_all_others(tmp_path: Path) -> None:
    days = [(DAY + timedelta(days=number)).isoformat() for number in range(100)]
    wanted = UsageFilter(
        first=DAY, last=DAY + timedelta(days=100), group_by=Grouping.DAY, client="7"
    )

    def fill(tx: Transaction) -> None:
        for day in days:
            tx.execute("INSERT INTO days VALUES (?, 0)", (day,))
            for client in range(200):
                tx.execute(
                    "INSERT INTO usage_days (day, client, provider, model, calls)"
                    " VALUES (?, ?, 'openai', 'model-1', 1)",
                    (day, str(client)),
                )

    async with open_database(tmp_path / "jobs.db") as database:
        await database.call(fill)
        report = await database.call(lambda tx: ledger.usage(tx, wanted))
        assert [row.day for row in report.rows] == days
        assert report.total.calls == len(days)
        taken = await database.call(lambda tx: steps(tx, lambda tx: ledger.usage(tx, wanted)))
    assert taken < 20_000  # of the 20,000 rows each would take more than one


async def test_a_spent_budget_does_not_look_through_all_jobs_of_a_client(tmp_path: Path) -> None:
    async with SqliteConfig().open(tmp_path) as backend:
        job = await accept(backend, client="ann")
    call, limits = new_call(job, estimate=10), Limits(client_day=1)

    def fill(tx: Transaction) -> None:
        for number in range(5000):
            tx.execute(
                "INSERT INTO jobs (id, kind, state, spec, client, priority, request_id,"
                " webhook_id, digest, accepted_at) SELECT ?, kind, state, spec, client, priority,"
                " request_id, webhook_id, digest, accepted_at FROM jobs WHERE id = ?",
                (str(number), job.id),
            )

    async with open_database(tmp_path / "jobs.db") as database:
        await database.call(fill)
        assert (await database.call(lambda tx: ledger.reserve(tx, call, limits))) is not None
        taken = await database.call(
            lambda tx: steps(tx, lambda tx: ledger.reserve(tx, call, limits))
        )
    assert taken < 5000
