"""A data folder that a crash, or something worse, has left in pieces."""

import shutil
import signal
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from imgsvc.errors import ConfigurationError
from imgsvc.jobs.sqlite import SqliteConfig
from standins.ledger import PATHS, audit, submit
from standins.openai import OpenAIStandin, openai_standin
from standins.receiver import Receiver
from standins.record import read_record
from standins.server_process import server_process, settle

JOBS = 6


@pytest.fixture
async def standin() -> AsyncIterator[OpenAIStandin]:
    async with openai_standin() as running:
        yield running


async def kill_with_jobs(data_dir: Path, standin: OpenAIStandin, receiver: Receiver) -> list[str]:
    """Kill a server that has accepted jobs and ended none; return their ids in order."""
    standin.fail_next("hang")
    async with (
        server_process(
            data_dir, environment=standin.environment | {"IMGSVC_WORKERS__COUNT": "1"}
        ) as server,
        aiohttp.ClientSession() as session,
    ):
        promised = [
            await submit(session, server.url, PATHS[0], "x", receiver.url) for _ in range(JOBS)
        ]
        await standin.arrived.wait()
    assert None not in promised
    return [str(job_id) for job_id in promised]


async def open_damaged(data_dir: Path) -> str:
    """Return what the start of the record complains of."""
    with pytest.raises(ConfigurationError) as caught:
        async with SqliteConfig(kind="sqlite").open(data_dir):
            pytest.fail("it was opened")
    [problem] = caught.value.problems
    return problem


@pytest.mark.slow
@pytest.mark.parametrize("kept", [0.0, 0.3, 0.75, 0.999])
async def test_a_cut_log_loses_the_jobs_behind_the_cut_and_no_others(
    tmp_path: Path, standin: OpenAIStandin, receiver: Receiver, kept: float
) -> None:
    data_dir = tmp_path / "data"
    promised = await kill_with_jobs(data_dir, standin, receiver)
    log = data_dir / "jobs.db-wal"
    with log.open("r+b") as file:
        file.truncate(int(kept * log.stat().st_size))
    left = list(read_record(data_dir).jobs)
    assert left == promised[: len(left)]

    record = await settle(data_dir, standin.environment)

    assert set(record.jobs) == set(left)
    found = audit(left, receiver.received, record)
    assert found.is_clean, found
    assert found.states.total() == found.states["completed"] == len(left)


@pytest.mark.slow
async def test_a_log_with_a_flipped_bit_is_read_up_to_there(
    tmp_path: Path, standin: OpenAIStandin, receiver: Receiver
) -> None:
    data_dir = tmp_path / "data"
    promised = await kill_with_jobs(data_dir, standin, receiver)
    with (data_dir / "jobs.db-wal").open("r+b") as file:
        file.seek(-5000, 2)
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 1]))
    left = list(read_record(data_dir).jobs)
    assert left == promised[: len(left)]

    record = await settle(data_dir, standin.environment)

    found = audit(left, receiver.received, record)
    assert found.is_clean, found
    assert found.states.total() == found.states["completed"] == len(left) > 0


@pytest.mark.slow
async def test_a_request_that_was_cut_off_by_a_crash_leaves_no_file_and_no_job(
    tmp_path: Path, receiver: Receiver
) -> None:
    data_dir = tmp_path / "data"
    async with server_process(data_dir) as server:
        host, port = server.url.removeprefix("http://").split(":")
        async with aiohttp.ClientSession() as session:

            async def half_a_body() -> AsyncIterator[bytes]:
                yield b'{"prompt": "x", "image_base64": "' + 300_000 * b"A"
                await server.requests_under_way(data_dir)
                server.process.kill()

            with pytest.raises(aiohttp.ClientError):
                await session.post(
                    f"http://{host}:{port}{PATHS[0]}",
                    data=half_a_body(),
                    headers={"callbackUrl": receiver.url, "Content-Type": "application/json"},
                )
        await server.process.wait()
    assert list((data_dir / "spool" / "scratch").iterdir()) != []
    async with server_process(data_dir) as server:
        assert list((data_dir / "spool" / "scratch").iterdir()) == []
        server.process.send_signal(signal.SIGTERM)
        assert await server.process.wait() == 0
    assert read_record(data_dir).jobs == {}
    assert list((data_dir / "spool" / "blobs").iterdir()) == []


async def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "jobs.db").write_bytes(b"no database " * 1000)
    assert "jobs.db cannot be opened (file is not a database)" in await open_damaged(tmp_path)


async def test_a_database_whose_tables_are_damaged_is_named(tmp_path: Path) -> None:
    async with SqliteConfig(kind="sqlite").open(tmp_path):
        pass
    file = tmp_path / "jobs.db"
    head = file.read_bytes()[:4096]
    file.write_bytes(head + bytes(file.stat().st_size - len(head)))
    assert "jobs.db cannot be opened (database disk image is malformed)" in await open_damaged(
        tmp_path
    )


async def test_a_record_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    async with SqliteConfig(kind="sqlite").open(tmp_path):
        pass
    connection = sqlite3.connect(tmp_path / "jobs.db")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = (tmp_path / "jobs.db").read_bytes()
    assert "a newer imgsvc has written its jobs (version 99" in await open_damaged(tmp_path)
    assert (tmp_path / "jobs.db").read_bytes() == before


@pytest.mark.slow
async def test_a_server_does_not_start_on_a_record_it_cannot_read(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    (data_dir / "jobs.db").write_bytes(b"no database " * 1000)
    async with server_process(data_dir, started=False) as server:
        assert await server.process.wait() == 2
    output = "".join(server.output)
    assert "jobs.db cannot be opened" in output
    assert "Traceback" not in output
    shutil.rmtree(data_dir)
    async with server_process(data_dir) as server:
        assert server.url
