from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from imgsvc.errors import DiskRefuses, SpoolFull
from imgsvc.jobs import BlobFolder, Spool, open_blobs
from imgsvc.jobs.models import BlobRef
from imgsvc.jobs.sqlite import SqliteConfig
from jobs.backends import finished, settle
from jobs.parts import image_spec
from standins.disk import full_disk


@pytest.fixture
async def blobs(tmp_path: Path) -> AsyncIterator[BlobFolder]:
    """Open the folder on the test's own event loop."""
    async with open_blobs(tmp_path / "data") as folder:
        yield folder


async def put(blobs: BlobFolder, size: int) -> BlobRef:
    return await blobs.put([bytes(size)], content_type="image/png")


def spool(blobs: BlobFolder, *, record: int = 0, limit: int = 1000) -> Spool:
    return Spool(blobs=blobs, record=lambda: record, limit=limit)


async def test_blobs_count_from_when_they_are_written_until_they_are_deleted(
    blobs: BlobFolder,
) -> None:
    first = await put(blobs, 100)
    async with blobs.scratch_folder() as folder:
        (folder / "image").write_bytes(bytes(20))
        adopted = await blobs.adopt(folder / "image", "image/png")
    copy = await blobs.copy(first)
    assert blobs.size == 220

    await blobs.delete([first, adopted])
    assert blobs.size == 100
    await blobs.delete_keys([copy.key])
    assert blobs.size == 0


async def test_what_an_earlier_process_left_counts_from_the_start(
    blobs: BlobFolder, tmp_path: Path
) -> None:
    await put(blobs, 100)
    await put(blobs, 20)
    async with open_blobs(tmp_path / "data") as opened_again:
        assert opened_again.size == 120


async def test_a_blob_that_is_deleted_twice_is_taken_off_once(blobs: BlobFolder) -> None:
    kept, deleted = await put(blobs, 100), await put(blobs, 20)
    await blobs.delete([deleted, deleted])
    await blobs.delete([deleted])
    assert blobs.size == kept.size


async def test_a_blob_that_the_disk_refused_does_not_count(blobs: BlobFolder) -> None:
    with full_disk(1 << 20), pytest.raises(DiskRefuses):
        await put(blobs, 2 << 20)
    assert blobs.size == 0


async def test_the_record_counts_too(blobs: BlobFolder) -> None:
    await put(blobs, 100)
    assert spool(blobs, record=20).size == 120


async def test_a_record_whose_jobs_are_forgotten_has_room_again(tmp_path: Path) -> None:
    async with SqliteConfig().open(tmp_path) as backend:
        empty = backend.size()
        for _ in range(50):
            job = await finished(backend, spec=image_spec(filename="x" * 9000))
            await settle(backend, job)
        full = backend.size()
        while await backend.forget(before=datetime.now(UTC), limit=100):
            pass
        assert full > 2 * empty
        assert backend.size() < 2 * empty


async def test_a_full_spool_refuses_until_there_is_room_again(blobs: BlobFolder) -> None:
    limited = spool(blobs, limit=1000)
    await put(blobs, 999)
    limited.check()

    last = await put(blobs, 1)
    with pytest.raises(SpoolFull):
        limited.check()

    await blobs.delete([last])
    limited.check()
