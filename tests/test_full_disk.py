"""A disk that takes no more: nothing is accepted, nothing is lost, and it passes by itself."""

import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import aiohttp
import pytest

from standins.disk import full_disk
from standins.ledger import PATHS, audit, fill_input_bucket, request_body, submit
from standins.openai import OpenAIStandin, openai_standin
from standins.receiver import Receiver
from standins.record import read_record
from standins.server_process import ServerProcess, server_process

Fill = Callable[[ServerProcess, Path], AbstractContextManager[None]]
"""Fills the disk under the data folder of a server, for as long as the context lasts."""


@contextmanager
def nothing_fits(server: ServerProcess, _data_dir: Path) -> Iterator[None]:
    with full_disk(0, pid=server.process.pid):
        yield


@contextmanager
def the_record_cannot_grow(server: ServerProcess, data_dir: Path) -> Iterator[None]:
    """Leave room for requests and bodies, which are smaller."""
    size = (data_dir / "jobs.db-wal").stat().st_size
    with full_disk(size, pid=server.process.pid):
        yield


@contextmanager
def no_block_is_free(_server: ServerProcess, data_dir: Path) -> Iterator[None]:
    filler = data_dir / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
    yield
    filler.unlink()


@pytest.fixture
async def standin() -> AsyncIterator[OpenAIStandin]:
    async with openai_standin() as running:
        yield running


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def small_disk(data_dir: Path) -> Iterator[Path]:
    """Mount a file system of 4 MiB as the data folder; only root may."""
    data_dir.mkdir()
    mount = ["/bin/mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(data_dir)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("this user may not mount a file system")
    yield data_dir
    subprocess.run(["/bin/umount", str(data_dir)], check=True)


async def check(
    data_dir: Path, standin: OpenAIStandin, receiver: Receiver, fill: Fill, refusal: str
) -> None:
    """Fill the disk while one job runs and one waits, and make room again."""
    fill_input_bucket(data_dir, images=1)
    standin.latency = 0.5
    variables = standin.environment | {"IMGSVC_WORKERS__COUNT": "1"}
    async with (
        server_process(data_dir, environment=variables) as server,
        aiohttp.ClientSession() as session,
    ):

        async def accepted(path: str) -> str:
            job_id = await submit(session, server.url, path, path, receiver.url)
            assert job_id is not None
            return job_id

        promised = {await accepted(PATHS[0])}
        await standin.arrived.wait()
        promised.add(await accepted(PATHS[1]))
        with fill(server, data_dir):
            await server.event(refusal)  # the running job's end finds no room
            for path in PATHS:
                async with session.post(
                    server.url + path,
                    json=request_body(path, "too much"),
                    headers={"callbackUrl": receiver.url},
                ) as answer:
                    assert answer.status == 503
                    assert int(answer.headers["Retry-After"]) > 0
                    assert (await answer.json(content_type=None))["code"] == "disk_refuses"
            async with session.get(f"{server.url}/health/ready") as answer:
                assert answer.status == 503
            async with session.get(f"{server.url}/health/live") as answer:
                assert answer.status == 200
            assert not receiver.received
        async with session.get(f"{server.url}/health/ready") as answer:
            assert answer.status == 200
        promised.add(await accepted(PATHS[2]))
        for _ in promised:
            await server.event("callback_delivered")
        server.process.send_signal(signal.SIGTERM)
        assert await server.process.wait() == 0
    found = audit(promised, receiver.received, read_record(data_dir))
    assert found.is_clean, found
    assert (found.unanswered, found.states) == (0, {"completed": len(promised)})
    assert not found.executions
    assert not found.deliveries


@pytest.mark.slow
async def test_while_no_file_can_be_written_jobs_are_refused_and_those_in_work_wait(
    data_dir: Path, standin: OpenAIStandin, receiver: Receiver
) -> None:
    await check(data_dir, standin, receiver, nothing_fits, "disk_refuses")


@pytest.mark.slow
async def test_while_only_the_record_cannot_grow_it_is_the_same(
    data_dir: Path, standin: OpenAIStandin, receiver: Receiver
) -> None:
    await check(data_dir, standin, receiver, the_record_cannot_grow, "record_refuses")


@pytest.mark.slow
async def test_a_file_system_that_is_really_full_is_no_different(
    small_disk: Path, standin: OpenAIStandin, receiver: Receiver
) -> None:
    await check(small_disk, standin, receiver, no_block_is_free, "disk_refuses")
