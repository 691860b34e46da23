import asyncio
import os
from pathlib import Path

import pytest

from imgsvc.imaging import handing
from imgsvc.imaging.config import ImagesConfig
from imgsvc.imaging.handing import held_as_file
from imgsvc.imaging.pool import open_image_pool


def open_files() -> list[str]:
    """Return what descriptors of this process are files of ours in memory."""
    folder = Path("/proc/self/fd")
    links = [file.readlink() for file in folder.iterdir() if file.is_symlink()]
    return [str(link) for link in links if "imgsvc-picture" in str(link)]


async def test_an_image_process_reads_what_is_in_memory() -> None:
    content = bytes(range(256)) * 20_000
    async with open_image_pool(ImagesConfig(processes=1)) as pool, held_as_file(content) as file:
        assert await pool.run(Path.read_bytes, file) == content
        assert len(open_files()) == 1
    await asyncio.sleep(0)
    assert open_files() == []


async def test_a_cancelled_one_is_closed_when_its_thread_is_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = asyncio.get_running_loop()
    reading, writing = os.pipe()
    begun, closed = asyncio.Event(), asyncio.Event()
    close = os.close

    def write(descriptor: int, content: bytes) -> None:
        loop.call_soon_threadsafe(begun.set)
        os.read(reading, 1)
        os.write(descriptor, content)

    def close_and_tell(descriptor: int) -> None:
        close(descriptor)
        closed.set()

    async def hold() -> None:
        async with held_as_file(b"content"):
            raise AssertionError("it is cancelled before")

    monkeypatch.setattr(handing, "_write", write)
    monkeypatch.setattr(os, "close", close_and_tell)
    task = asyncio.create_task(hold(), name="hold")
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(open_files()) == 1
    os.write(writing, b"x")
    await closed.wait()
    assert open_files() == []
    close(reading)
    close(writing)
