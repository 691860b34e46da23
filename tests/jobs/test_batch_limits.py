import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from imgsvc.errors import (
    BucketNotFound,
    DiskRefuses,
    StorageAccessDenied,
    StorageError,
    StorageUnreachable,
)
from imgsvc.imaging.encoded import EncodedImage
from imgsvc.jobs import BlobFolder, batch_run, freezing, manifest_store
from imgsvc.jobs.manifest import write_file
from imgsvc.providers import EditRequest
from jobs.batches import MANIFEST, TABLE, Buckets, MakeEditor, counts, manifest, run
from jobs.parts import ScriptedProvider, edited, files, hangs
from standins.pictures import picture

pytestmark = pytest.mark.asyncio(loop_scope="session")

PNG = picture()


# -- a bucket that fails ------------------------------------------------------------------


async def test_a_listing_that_fails_at_once_is_the_error_of_the_job(
    make_editor: MakeEditor, buckets: Buckets
) -> None:
    buckets.input.rmdir()

    with pytest.raises(BucketNotFound):
        await run(make_editor())
    assert buckets.outputs() == {}


@pytest.mark.parametrize("after", [1, 3, 5])
async def test_a_listing_that_breaks_off_keeps_what_was_done_and_says_so(
    make_editor: MakeEditor, buckets: Buckets, after: int
) -> None:
    for number in range(5):
        buckets.add(f"input/{number}.png", PNG)
    buckets.listing_breaks_after = after

    body = await run(make_editor())

    assert (body["status"], counts(body)) == ("completed_with_errors", (after, after, 0, 0))
    assert body["errors"] == ["input/: StorageError: The listing broke off."]
    assert manifest(buckets)["notes"] == body["errors"]


async def test_an_output_that_cannot_be_stored_fails_alone(
    make_editor: MakeEditor, buckets: Buckets
) -> None:
    for name in ("a", "b", "c"):
        buckets.add(f"input/{name}.png", PNG)
    buckets.refuses = lambda key: StorageAccessDenied() if key.endswith("b_modified.png") else None

    body = await run(make_editor())

    assert (body["status"], counts(body)) == ("completed_with_errors", (3, 2, 0, 1))
    assert body["errors"][0].startswith("input/b.png: StorageAccessDenied: ")


async def test_a_batch_stops_paying_for_results_that_cannot_be_stored(
    make_editor: MakeEditor, buckets: Buckets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_run, "MAX_STORAGE_FAILURES", 3)
    for name in "abcdefgh":
        buckets.add(f"input/{name}.png", PNG)
    refused = ("a_modified.png", "b_modified.png", *(f"{name}_modified.png" for name in "defgh"))
    buckets.refuses = lambda key: StorageAccessDenied() if key.endswith(refused) else None
    provider = ScriptedProvider()

    body = await run(make_editor(provider), concurrency=1)

    assert (body["status"], counts(body)) == ("completed_with_errors", (8, 1, 0, 7))
    assert len(provider.requests) == 6
    rows = manifest(buckets)["items"]
    assert [row["state"] for row in rows] == [
        *("failed", "failed", "processed", "failed", "failed", "failed"),
        *("not_started", "not_started"),
    ]
    assert body["error"].startswith("StorageAccessDenied: ")
    assert body["errors"][0].startswith("2 of 8 images were not begun: StorageAccessDenied: ")


@pytest.mark.parametrize("error", [StorageUnreachable, StorageAccessDenied])
async def test_a_batch_stops_if_the_storage_is_away_but_not_if_it_denies_some_inputs(
    make_editor: MakeEditor,
    buckets: Buckets,
    monkeypatch: pytest.MonkeyPatch,
    error: type[StorageError],
) -> None:
    monkeypatch.setattr(batch_run, "MAX_STORAGE_FAILURES", 3)
    for name in "abcdefgh":
        buckets.add(f"input/{name}.png", PNG)
    buckets.denies = lambda _key: error()

    body = await run(make_editor(), concurrency=1)

    assert (body["status"], counts(body)) == ("failed", (8, 0, 0, 8))
    assert len(buckets.read) == (3 if error is StorageUnreachable else 8)


async def test_an_image_waits_while_the_disk_takes_no_copy_of_it(
    make_editor: MakeEditor, buckets: Buckets, monkeypatch: pytest.MonkeyPatch
) -> None:
    buckets.add("input/a.png", PNG)
    refusals = 2
    write = BlobFolder.scratch

    @asynccontextmanager
    async def scratch(self: BlobFolder, data: bytes) -> AsyncIterator[Path]:
        nonlocal refusals
        if refusals:
            refusals -= 1
            raise DiskRefuses
        async with write(self, data) as path:
            yield path

    monkeypatch.setattr(freezing, "DISK_RETRY", 0)
    monkeypatch.setattr(BlobFolder, "scratch", scratch)
    assert counts(await run(make_editor())) == (1, 1, 0, 0)
    assert refusals == 0


@pytest.mark.parametrize("refusals", [2, 100])
async def test_a_manifest_waits_a_while_for_a_disk_that_is_full(
    make_editor: MakeEditor, buckets: Buckets, monkeypatch: pytest.MonkeyPatch, refusals: int
) -> None:
    buckets.add("input/a.png", PNG)
    left = refusals

    async def write(path: Path, parts: AsyncGenerator[bytes]) -> None:
        nonlocal left
        if left:
            left -= 1
            raise DiskRefuses
        await write_file(path, parts)

    monkeypatch.setattr(freezing, "DISK_RETRY", 0)
    monkeypatch.setattr(manifest_store, "write_file", write)
    body = await run(make_editor())

    assert counts(body) == (1, 1, 0, 0)
    if refusals == 2:
        assert (body["status"], body["errors"]) == ("completed", [])
        assert {MANIFEST, TABLE} <= set(buckets.outputs())
    else:
        assert body["status"] == "completed_with_errors"
        assert [line.split(": ")[:2] for line in body["errors"]] == [
            [TABLE, "DiskRefuses"],
            [MANIFEST, "DiskRefuses"],
        ]


async def test_a_manifest_that_cannot_be_stored_is_told_in_the_callback(
    make_editor: MakeEditor, buckets: Buckets
) -> None:
    buckets.add("input/a.png", PNG)
    buckets.refuses = lambda key: StorageError("Full.") if key == MANIFEST else None

    body = await run(make_editor())

    assert (body["status"], counts(body)) == ("completed_with_errors", (1, 1, 0, 0))
    assert body["errors"] == [f"{MANIFEST}: StorageError: Full."]


# -- how much at once ---------------------------------------------------------------------


@pytest.mark.parametrize("concurrency", [1, 3, 6])
async def test_exactly_as_many_images_are_in_work_as_the_caller_asked_for(
    make_editor: MakeEditor,
    buckets: Buckets,
    concurrency: int,
) -> None:
    together = asyncio.Barrier(concurrency)

    async def edit_together(request: EditRequest) -> EncodedImage:
        await together.wait()
        return await edited(request)

    for number in range(12):
        buckets.add(f"input/{number}.png", PNG)
    provider = ScriptedProvider(default=edit_together)

    body = await run(make_editor(provider), concurrency=concurrency)

    assert counts(body) == (12, 12, 0, 0)
    assert provider.most_in_flight == concurrency


async def test_never_more_working_copies_than_images_in_work(
    make_editor: MakeEditor, buckets: Buckets, scratch: Path
) -> None:
    copies: list[int] = []

    async def count_copies(request: EditRequest) -> EncodedImage:
        copies.append(len(files(scratch)))
        return await edited(request)

    for number in range(20):
        buckets.add(f"input/{number}.png", PNG)

    await run(make_editor(ScriptedProvider(default=count_copies)), concurrency=4)

    assert len(copies) == 20
    assert max(copies) <= 4


async def test_the_first_images_are_edited_while_the_listing_goes_on(
    make_editor: MakeEditor, buckets: Buckets
) -> None:
    edits = asyncio.Semaphore(0)

    async def edit_and_tell(request: EditRequest) -> EncodedImage:
        edits.release()
        return await edited(request)

    for number in range(9):
        buckets.add(f"input/{number}.png", PNG)
    # The listing goes on when the images that it has shown so far are in work.
    buckets.listing_waits_for = edits
    editor = make_editor(ScriptedProvider(default=edit_and_tell))

    assert counts(await run(editor, concurrency=1)) == (9, 9, 0, 0)


async def test_more_workers_than_images_is_no_trouble(
    make_editor: MakeEditor, buckets: Buckets
) -> None:
    buckets.add("input/a.png", PNG)
    assert counts(await run(make_editor(), concurrency=50)) == (1, 1, 0, 0)


async def test_a_cancelled_batch_leaves_no_working_copies_and_no_tasks(
    make_editor: MakeEditor, buckets: Buckets, scratch: Path
) -> None:
    in_work = asyncio.Semaphore(0)

    async def tell_and_hang(request: EditRequest) -> EncodedImage:
        in_work.release()
        return await hangs(request)

    for number in range(10):
        buckets.add(f"input/{number}.png", PNG)
    editor = make_editor(ScriptedProvider(default=tell_and_hang))
    before = asyncio.all_tasks()

    task = asyncio.create_task(run(editor, concurrency=3))
    for _ in range(3):
        await in_work.acquire()
    assert len(files(scratch)) == 3
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert files(scratch) == []
    assert not [each for each in asyncio.all_tasks() - before if "batch-" in each.get_name()]
    assert buckets.outputs() == {}


@pytest.mark.slow
async def test_a_thousand_objects_are_all_done(
    make_editor: MakeEditor, buckets: Buckets, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without the disk's syncs, which are what takes the time.
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)
    small = picture(2, 2)
    for number in range(1000):
        buckets.add(f"input/{number % 10}/{number}.png", small)

    with capture_logs() as logs:
        body = await run(make_editor(), concurrency=8)

    assert (body["status"], counts(body)) == ("completed", (1000, 1000, 0, 0))
    assert len(buckets.outputs()) == 1002
    assert [line["event"] for line in logs].count("item_done") == 1000
