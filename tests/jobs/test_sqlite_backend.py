"""What only a record in a file of this machine has to promise."""

from pathlib import Path

import pytest

from imgsvc.errors import DiskRefuses
from imgsvc.jobs.models import Job, JobState
from imgsvc.jobs.sqlite import SqliteConfig, changes
from imgsvc.jobs.sqlite import backend as sqlite_backend
from imgsvc.jobs.sqlite.writer import Transaction
from jobs.backends import accept, claim, running, until_settled


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
