"""A batch takes what its request selects, neither more nor less, over restarts too."""

import asyncio
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from imgsvc.errors import (
    BucketNotAllowed,
    PayloadLost,
    StorageAccessDenied,
    StorageUnreachable,
)
from imgsvc.imaging.encoded import EncodedImage
from imgsvc.jobs import BlobFolder
from imgsvc.jobs.models import BlobRef
from imgsvc.jobs.selection import AT_ONCE, Selector
from imgsvc.providers import EditRequest
from imgsvc.storage import FilesystemConfig, ObjectStat
from jobs.batches import MANIFEST, Buckets, MakeEditor, callback, counts, end, manifest, run
from jobs.parts import JOB_ID, ScriptedProvider, batch_spec, hangs
from standins.pictures import picture

pytestmark = pytest.mark.asyncio(loop_scope="session")

PNG = picture()
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def fill(buckets: Buckets, *keys: str) -> None:
    for key in keys:
        buckets.add(key, PNG if key.endswith(".png") else b"text")


def rows(buckets: Buckets) -> dict[str, str]:
    return {row["input_key"]: row["state"] for row in manifest(buckets)["items"]}


async def listed(blobs: BlobFolder, *keys: str) -> BlobRef:
    lines = [f"{key}\n".encode() for key in sorted(keys)]
    return await blobs.put(lines, content_type="text/plain")


# -- below a prefix ------------------------------------------------------------------------


async def test_patterns_say_what_is_an_item_at_all(
    make_editor: MakeEditor, buckets: Buckets
) -> None:
    fill(buckets, "input/a.png", "input/b.txt", "input/c.md", "input/x/d.png", "input/x/y/e.png")
    body = await run(make_editor(), include=("*", "x/**"), exclude=("**/e.*", "*.md"))
    assert counts(body) == (2, 2, 0, 0)
    assert rows(buckets) == {
        "input/a.png": "processed",
        "input/b.txt": "skipped",
        "input/x/d.png": "processed",
    }


async def test_others_get_their_turn_while_a_page_of_the_listing_is_matched(
    buckets: Buckets, blobs: BlobFolder
) -> None:
    names = [f"input/{'a' * 40}{n:03}.txt" for n in range(200)]  # one page
    fill(buckets, *names)
    spec = batch_spec(include=("**", *(f"**{n:02}{'?' * 16}" for n in range(20))))
    selector = Selector(
        storage=buckets, config=FilesystemConfig(), blobs=blobs, max_bytes=1_000_000
    )
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    others = asyncio.create_task(take_turns())
    async for found in selector.objects(spec):
        if found.key == names[0]:
            turns = 0  # from here on the page is in memory
        if found.key == names[-1]:
            break
    others.cancel()
    assert turns >= len(names) // 2 - 1


async def test_a_long_path_is_matched_beside_the_event_loop(
    make_editor: MakeEditor, buckets: Buckets
) -> None:
    long = "/".join(["x" * 200] * 4)
    fill(buckets, "input/a.png", f"input/{long}/b.png")
    body = await run(make_editor(), exclude=(*(f"**x{n}**" for n in range(49)), "**xx/b.*"))
    assert counts(body) == (1, 1, 0, 0)


async def test_since_takes_what_was_modified_then_or_later(
    make_editor: MakeEditor, buckets: Buckets
) -> None:
    fill(buckets, "input/a.png", "input/b.png", "input/c.png")
    for name, seconds in (("a", -1), ("b", 0), ("c", 1)):
        time = NOON.timestamp() + seconds
        os.utime(buckets.input / f"input/{name}.png", (time, time))
    await run(make_editor(), since=NOON)
    assert rows(buckets) == {"input/b.png": "processed", "input/c.png": "processed"}


async def test_the_listing_ends_at_the_last_image_that_is_allowed(
    make_editor: MakeEditor, buckets: Buckets
) -> None:
    fill(buckets, *(f"input/{n}.{'txt' if n % 2 else 'png'}" for n in range(10)))
    body = await run(make_editor(), limit=2)
    assert counts(body) == (2, 2, 0, 0)
    assert list(rows(buckets)) == ["input/0.png", "input/1.txt", "input/2.png"]
    assert buckets.listed == 3


async def test_the_limit_holds_over_a_restart(make_editor: MakeEditor, buckets: Buckets) -> None:
    fill(buckets, *(f"input/{n}.png" for n in range(6)))
    buckets.listing_waits_for = asyncio.Semaphore(1)
    stuck = asyncio.Event()

    async def tell_and_hang(request: EditRequest) -> EncodedImage:
        stuck.set()
        return await hangs(request)

    first = asyncio.create_task(run(make_editor(ScriptedProvider(default=tell_and_hang)), limit=3))
    await stuck.wait()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    buckets.listing_waits_for = None
    body = await run(make_editor(), limit=3)
    assert counts(body) == (3, 3, 0, 0)
    assert list(rows(buckets)) == ["input/0.png", "input/1.png", "input/2.png"]


# -- by name -------------------------------------------------------------------------------


async def test_named_objects_are_done_and_one_that_is_not_there_has_failed(
    make_editor: MakeEditor, buckets: Buckets, blobs: BlobFolder
) -> None:
    fill(buckets, "x/b.png", "x/c.txt", "y/a.png", "y/other.png")
    keys = await listed(blobs, "y/a.png", "x/b.png", "x/c.txt", "x/gone.png")
    body = await run(make_editor(), keys=keys, input_prefix="")
    assert (body["status"], counts(body)) == ("completed_with_errors", (3, 2, 0, 1))
    assert rows(buckets) == {
        "x/b.png": "processed",
        "x/c.txt": "skipped",
        "x/gone.png": "failed",
        "y/a.png": "processed",
    }
    [gone] = (row for row in manifest(buckets)["items"] if row["state"] == "failed")
    assert gone["error"] == "ObjectNotFound: The object does not exist, or no longer."
    outputs = {key for key in buckets.outputs() if key.endswith(".png")}
    root = f"output/{JOB_ID}"
    assert outputs == {f"{root}/x/b_modified.png", f"{root}/y/a_modified.png"}


async def test_the_first_named_images_are_done_while_later_ones_are_looked_up(
    make_editor: MakeEditor, buckets: Buckets, blobs: BlobFolder
) -> None:
    names = [f"{n:03}.png" for n in range(3 * AT_ONCE)]
    fill(buckets, *names)
    done = asyncio.Event()
    looked_up: list[str] = []

    class Slow(Buckets):
        async def stat(self, bucket: str, key: str) -> ObjectStat | None:
            looked_up.append(key)
            if key == names[-1]:
                await done.wait()
            return await super().stat(bucket, key)

    async def tell(_key: str) -> None:
        done.set()

    storage = Slow(buckets.input.parent, FilesystemConfig())
    storage.stored = tell
    keys = await listed(blobs, *names)
    body = await run(make_editor(storage=storage), keys=keys, input_prefix="")
    assert counts(body)[:2] == (len(names), len(names))
    assert looked_up == names


async def test_a_look_up_that_fails_is_an_item_that_failed_and_the_batch_goes_on(
    make_editor: MakeEditor, buckets: Buckets, blobs: BlobFolder
) -> None:
    fill(buckets, "a.png", "b.png", "c.png")

    class Denying(Buckets):
        async def stat(self, bucket: str, key: str) -> ObjectStat | None:
            if key == "b.png":
                raise StorageAccessDenied
            return await super().stat(bucket, key)

    storage = Denying(buckets.input.parent, FilesystemConfig())
    keys = await listed(blobs, "a.png", "b.png", "c.png")
    body = await run(make_editor(storage=storage), keys=keys, input_prefix="")
    assert counts(body) == (3, 2, 0, 1)
    assert body["errors"][0].startswith("b.png: StorageAccessDenied: ")


async def test_a_storage_that_is_away_is_not_asked_for_each_of_very_many_keys(
    make_editor: MakeEditor, buckets: Buckets, blobs: BlobFolder
) -> None:
    fill(buckets, "000.png", "001.png")
    asked = 0

    class Away(Buckets):
        async def stat(self, bucket: str, key: str) -> ObjectStat | None:
            nonlocal asked
            asked += 1
            if key > "001.png":
                raise StorageUnreachable
            return await super().stat(bucket, key)

    storage = Away(buckets.input.parent, FilesystemConfig())
    keys = await listed(blobs, *[f"{n:03}.png" for n in range(500)])
    body = await run(make_editor(storage=storage), keys=keys, input_prefix="")
    assert (body["status"], counts(body)) == ("completed_with_errors", (2, 2, 0, 0))
    assert body["errors"][0].startswith("keys: StorageUnreachable: ")
    assert asked <= 2 * AT_ONCE


async def test_a_batch_of_named_images_goes_on_where_it_was(
    make_editor: MakeEditor, buckets: Buckets, blobs: BlobFolder
) -> None:
    names = [f"{n:02}.png" for n in range(30)]
    fill(buckets, *names)
    keys = await listed(blobs, *names, "99.png")
    fifth = asyncio.Event()

    async def tell_and_hang(request: EditRequest) -> EncodedImage:
        fifth.set()
        return await hangs(request)

    provider = ScriptedProvider(by_name={"05.png": tell_and_hang})
    options: dict[str, Any] = {"keys": keys, "input_prefix": "", "concurrency": 1}
    first = asyncio.create_task(run(make_editor(provider), **options))
    await fifth.wait()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    provider.by_name = {}
    body = await run(make_editor(provider), **options)
    assert counts(body) == (31, 30, 0, 1)
    assert list(rows(buckets)) == [*names, "99.png"]
    assert [request.filename for request in provider.requests] == [*names[:6], *names[5:]]


async def test_the_limit_counts_named_images_that_are_not_there(
    make_editor: MakeEditor, buckets: Buckets, blobs: BlobFolder
) -> None:
    fill(buckets, "b.png", "c.png")
    keys = await listed(blobs, "a.png", "b.png", "c.png")
    body = await run(make_editor(), keys=keys, input_prefix="", limit=2)
    assert counts(body) == (2, 1, 0, 1)


async def test_a_batch_whose_list_of_keys_is_gone_fails_and_says_so(
    make_editor: MakeEditor, blobs: BlobFolder
) -> None:
    keys = await listed(blobs, "a.png")
    await blobs.delete([keys])
    with pytest.raises(PayloadLost, match="What came with the request"):
        await end(make_editor(), keys=keys, input_prefix="")


async def test_keys_are_read_some_at_a_time_and_none_is_missed(
    buckets: Buckets, blobs: BlobFolder
) -> None:
    keys = [f"{n:05}.png" for n in range(1201)]
    spec = batch_spec(keys=await listed(blobs, *keys), input_prefix="")
    selector = Selector(
        storage=buckets, config=FilesystemConfig(), blobs=blobs, max_bytes=1_000_000
    )

    async def found(**options: Any) -> Sequence[str]:
        return [each.key async for each in selector.objects(spec, **options)]

    assert await found() == keys
    assert await found(after=keys[700]) == keys[701:]
    assert await found(after="00700.pnh") == keys[701:]


# -- buckets -------------------------------------------------------------------------------


async def test_a_batch_reads_and_writes_the_buckets_that_it_names(
    make_editor: MakeEditor, buckets: Buckets
) -> None:
    config = FilesystemConfig(allow_buckets=["other", "archive"])
    source, target = (buckets.input.parent / name for name in config.allow_buckets)
    (source / "input").mkdir(parents=True)
    (source / "input" / "a.png").write_bytes(PNG)
    target.mkdir()
    fill(buckets, "input/b.png")
    body = await run(make_editor(config=config), input_bucket="other", output_bucket="archive")
    assert (counts(body), body["output_bucket"]) == ((1, 1, 0, 0), "archive")
    root = target / "output" / JOB_ID
    written = {path.name for path in root.iterdir()}
    assert written == {"a_modified.png", "manifest.json", "manifest.csv"}
    assert buckets.outputs() == {}


async def test_a_batch_whose_bucket_is_not_allowed_any_more_tells_what_it_had_done(
    make_editor: MakeEditor, buckets: Buckets
) -> None:
    config = FilesystemConfig(allow_buckets=["archive"])
    (buckets.input.parent / "archive").mkdir()
    fill(buckets, *(f"input/{n}.png" for n in range(4)))
    third = asyncio.Event()

    async def tell_and_hang(request: EditRequest) -> EncodedImage:
        third.set()
        return await hangs(request)

    provider = ScriptedProvider(by_name={"2.png": tell_and_hang})
    options: dict[str, Any] = {"output_bucket": "archive", "concurrency": 1}
    first = asyncio.create_task(run(make_editor(provider, config=config), **options))
    await third.wait()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    ending = await end(make_editor(), **options)
    body = callback(ending)
    assert (body["status"], counts(body)) == ("completed_with_errors", (4, 2, 0, 2))
    assert body["error"].startswith("BucketNotAllowed: ")
    assert body["errors"][0].startswith(f"{MANIFEST}: BucketNotAllowed: ")
    assert (body["output_bucket"], ending.outcome.result) == ("archive", None)
    written = {path.name for path in (buckets.input.parent / "archive").rglob("*.png")}
    assert written == {"0_modified.png", "1_modified.png"}


@pytest.mark.parametrize("field", ["input_bucket", "output_bucket"])
async def test_a_bucket_that_is_no_longer_allowed_is_touched_no_more(
    make_editor: MakeEditor, buckets: Buckets, field: str
) -> None:
    fill(buckets, "input/a.png")
    with pytest.raises(BucketNotAllowed, match=r"storage\.allow_buckets"):
        await run(make_editor(), **{field: "other"})
    assert buckets.listed == 0
