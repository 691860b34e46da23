import asyncio
import errno
import hashlib
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from imgsvc.errors import DiskRefuses
from imgsvc.jobs import BlobFolder, open_blobs
from imgsvc.jobs.models import BlobRef
from jobs.parts import files
from standins.disk import full_disk


@pytest.fixture
async def blobs(tmp_path: Path) -> AsyncIterator[BlobFolder]:
    """Open the folder on the test's own event loop: one of them changes its threads."""
    async with open_blobs(tmp_path / "data") as folder:
        yield folder


async def put(blobs: BlobFolder, *parts: bytes) -> BlobRef:
    return await blobs.put(parts, content_type="image/png")


# -- put, path, delete --------------------------------------------------------------------


@pytest.mark.parametrize(
    "parts", [[], [b""], [b"one"], [b"one", b"", b"two"], [bytes(1 << 20)] * 3]
)
async def test_the_parts_are_written_one_behind_the_other(
    blobs: BlobFolder, parts: list[bytes]
) -> None:
    ref = await put(blobs, *parts)

    content = b"".join(parts)
    assert blobs.path(ref).read_bytes() == content
    assert ref.size == len(content)
    assert ref.sha256 == hashlib.sha256(content).hexdigest()
    assert ref.content_type == "image/png"


async def test_equal_contents_are_two_blobs(blobs: BlobFolder) -> None:
    first, second = await put(blobs, b"same"), await put(blobs, b"same")

    await blobs.delete([first])
    assert blobs.path(second).read_bytes() == b"same"


async def test_nothing_half_written_is_ever_to_be_seen(
    blobs: BlobFolder, kept: Path, scratch: Path
) -> None:
    asked, go_on = threading.Event(), threading.Event()

    def parts() -> Iterator[bytes]:
        yield b"first half, "
        asked.set()
        go_on.wait()
        yield b"second half"

    writing = asyncio.create_task(blobs.put(parts(), content_type="text/plain"))
    await asyncio.to_thread(asked.wait)
    seen = files(kept)
    go_on.set()

    ref = await writing
    assert seen == []
    assert [path.read_bytes() for path in files(kept)] == [b"first half, second half"]
    assert files(kept) == [blobs.path(ref)]
    assert files(scratch) == []


async def test_deleted_blobs_are_gone_and_the_others_stay(blobs: BlobFolder, kept: Path) -> None:
    refs = [await put(blobs, b"%d" % number) for number in range(4)]

    await blobs.delete(refs[:2])
    assert files(kept) == sorted(blobs.path(ref) for ref in refs[2:])


async def test_deleting_what_is_gone_is_no_error(blobs: BlobFolder) -> None:
    ref, other = await put(blobs, b"gone"), await put(blobs, b"other")
    await blobs.delete([ref])

    await blobs.delete([ref, other])
    assert not blobs.path(other).exists()
    await blobs.delete([])


async def test_a_blob_that_cannot_be_removed_is_logged_and_the_others_are_removed(
    blobs: BlobFolder,
) -> None:
    ref, other = await put(blobs, b"stuck"), await put(blobs, b"other")
    blobs.path(ref).unlink()
    blobs.path(ref).mkdir()  # a folder cannot be unlinked, not even by root

    with capture_logs() as logs:
        await blobs.delete([ref, other])

    assert [(line["event"], line["key"]) for line in logs] == [("blob_not_deleted", ref.key)]
    assert not blobs.path(other).exists()


# -- scratch ------------------------------------------------------------------------------


async def test_a_working_copy_lives_as_long_as_its_context(
    blobs: BlobFolder, scratch: Path
) -> None:
    async with blobs.scratch(b"picture") as path:
        assert path.read_bytes() == b"picture"
        assert files(scratch) == [path]
    assert files(scratch) == []


async def test_a_working_copy_goes_with_an_error(blobs: BlobFolder, scratch: Path) -> None:
    with pytest.raises(LookupError):
        async with blobs.scratch(b"picture"):
            raise LookupError
    assert files(scratch) == []


async def test_a_working_copy_that_was_removed_meanwhile_is_no_error(blobs: BlobFolder) -> None:
    async with blobs.scratch(b"picture") as path:
        path.unlink()


class _LateThreads(ThreadPoolExecutor):
    """Threads that have taken their task, but do not begin with it before they are let."""

    def __init__(self) -> None:
        super().__init__()
        self.taken = asyncio.Event()
        self.let = threading.Event()
        self._loop = asyncio.get_running_loop()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        def late() -> Any:
            self._loop.call_soon_threadsafe(self.taken.set)
            self.let.wait()
            return fn(*args, **kwargs)

        return super().submit(late)


async def test_a_copy_cancelled_while_a_thread_writes_it_does_not_come_back(
    blobs: BlobFolder, scratch: Path
) -> None:
    threads = _LateThreads()
    asyncio.get_running_loop().set_default_executor(threads)

    async def work() -> None:
        async with blobs.scratch(b"picture"):
            raise AssertionError("unreachable")

    task = asyncio.create_task(work())
    await threads.taken.wait()
    task.cancel()
    for _ in range(3):  # the task notices, and begins to clean up
        await asyncio.sleep(0)
    threads.let.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    threads.shutdown(wait=True)

    assert files(scratch) == []


# -- a disk that fails --------------------------------------------------------------------


async def test_a_full_disk_leaves_no_blob_behind(
    blobs: BlobFolder, kept: Path, scratch: Path
) -> None:
    with full_disk(1 << 20), pytest.raises(DiskRefuses):
        await put(blobs, bytes(1 << 20), b"one byte too much" * 1000)

    assert files(kept) == files(scratch) == []
    assert blobs.path(await put(blobs, b"room again")).read_bytes() == b"room again"


async def test_a_full_disk_leaves_no_working_copy_behind(blobs: BlobFolder, scratch: Path) -> None:
    with full_disk(1 << 20), pytest.raises(DiskRefuses):
        async with blobs.scratch(bytes(2 << 20)):
            raise AssertionError("unreachable")
    assert files(scratch) == []


@pytest.mark.parametrize("syncs_before", [0, 1], ids=["the file", "the folder"])
async def test_what_cannot_be_made_durable_is_not_kept(
    blobs: BlobFolder,
    kept: Path,
    scratch: Path,
    monkeypatch: pytest.MonkeyPatch,
    syncs_before: int,
) -> None:
    fsync, calls = os.fsync, 0

    def failing(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls > syncs_before:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(DiskRefuses):
        await put(blobs, b"picture")

    assert calls == syncs_before + 1
    assert files(kept) == files(scratch) == []


async def test_parts_that_fail_leave_no_blob_behind(
    blobs: BlobFolder, kept: Path, scratch: Path
) -> None:
    def parts() -> Iterator[bytes]:
        yield b"first half"
        raise LookupError

    with pytest.raises(LookupError):
        await blobs.put(parts(), content_type="text/plain")
    assert files(kept) == files(scratch) == []
