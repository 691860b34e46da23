"""Batches that are cut off and go on, share with others, or are done again."""

import asyncio
import csv

import pytest

from imgsvc.errors import JobPoisoned, ProviderRefusedContent, StorageUnreachable
from imgsvc.imaging.encoded import EncodedImage
from imgsvc.jobs import BatchEditor
from imgsvc.jobs.items import JobLost
from imgsvc.providers import EditRequest
from jobs.batches import TABLE, Buckets, MakeEditor, counts, manifest, run
from jobs.parts import JOB_ID, ScriptedProvider, edited, fails, hangs
from standins.pictures import picture

pytestmark = pytest.mark.asyncio(loop_scope="session")

PNG = picture()
OTHER_ID = JOB_ID.replace("0c0ffee0", "0c0ffee1")


def fill(buckets: Buckets, *names: str) -> None:
    for name in names:
        buckets.add(f"input/{name}", PNG)


async def cut_off(editor: BatchEditor, when: asyncio.Event, **options: int) -> None:
    """Run the batch, and end its worker at this event as a lost service would."""
    task = asyncio.create_task(run(editor, **options))
    await when.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def names(provider: ScriptedProvider) -> list[str | None]:
    return [request.filename for request in provider.requests]


# -- going on -------------------------------------------------------------------------------


async def test_a_batch_goes_on_with_what_is_unfinished_and_names_outputs_as_before(
    make_editor: MakeEditor, buckets: Buckets
) -> None:
    fill(buckets, "a.jpg", "a.png", "b.png")
    second = asyncio.Event()

    async def tell_and_hang(request: EditRequest) -> EncodedImage:
        second.set()
        return await hangs(request)

    provider = ScriptedProvider(by_name={"a.png": tell_and_hang})
    await cut_off(make_editor(provider), second, concurrency=1)
    assert names(provider) == ["a.jpg", "a.png"]
    provider.by_name = {}
    body = await run(make_editor(provider), concurrency=1)

    assert (body["status"], counts(body)) == ("completed", (3, 3, 0, 0))
    assert names(provider) == ["a.jpg", "a.png", "a.png", "b.png"]
    rows = manifest(buckets)["items"]
    assert [row["attempts"] for row in rows] == [1, 2, 1]
    root = f"output/{JOB_ID}"
    assert [row["output_key"] for row in rows] == [
        f"{root}/a_modified.png",
        f"{root}/a_modified_2.png",
        f"{root}/b_modified.png",
    ]


async def test_a_result_that_had_reached_the_bucket_is_not_paid_again(
    make_editor: MakeEditor, buckets: Buckets
) -> None:
    fill(buckets, "a ü.png", "b.png")
    there = asyncio.Event()

    async def hang_when_stored(_key: str) -> None:
        there.set()
        await asyncio.Event().wait()

    buckets.stored = hang_when_stored
    provider = ScriptedProvider()
    await cut_off(make_editor(provider), there, concurrency=1)
    buckets.stored = lambda _key: asyncio.sleep(0)
    body = await run(make_editor(provider), concurrency=1)

    assert (body["status"], counts(body)) == ("completed", (2, 2, 0, 0))
    assert names(provider) == ["a ü.png", "b.png"]
    first, _ = manifest(buckets)["items"]
    assert (first["provider"], first["model"], first["bytes"]) == ("scripted", "model-1", len(PNG))
    assert (first["state"], first["cost_unknown"]) == ("processed", True)


async def test_a_worker_that_has_lost_its_batch_stops_and_changes_nothing(
    make_editor: MakeEditor, buckets: Buckets
) -> None:
    fill(buckets, "a.png", "b.png")
    frozen, thaw = asyncio.Event(), asyncio.Event()

    async def freeze(request: EditRequest) -> EncodedImage:
        frozen.set()
        await thaw.wait()
        return await edited(request)

    first = asyncio.create_task(run(make_editor(ScriptedProvider(default=freeze)), concurrency=1))
    await frozen.wait()
    body = await run(make_editor(), concurrency=1)
    rows = manifest(buckets)["items"]
    thaw.set()
    with pytest.raises(JobLost):
        await first

    assert (body["status"], counts(body)) == ("completed", (2, 2, 0, 0))
    assert [row["attempts"] for row in rows] == [2, 1]
    assert manifest(buckets)["items"] == rows


async def test_an_object_that_another_job_has_put_there_is_no_result_of_this_one(
    make_editor: MakeEditor, buckets: Buckets
) -> None:
    fill(buckets, "a.png")
    begun = asyncio.Event()

    async def tell_and_hang(request: EditRequest) -> EncodedImage:
        begun.set()
        return await hangs(request)

    await cut_off(make_editor(ScriptedProvider(default=tell_and_hang)), begun)
    for metadata in (None, {"job-id": OTHER_ID, "source-key": "input/a.png"}):
        await buckets.put(
            "output",
            f"output/{JOB_ID}/a_modified.{'png' if metadata else 'jpg'}",
            b"other",
            content_type="image/png",
            metadata=metadata,
        )
    provider = ScriptedProvider()
    assert counts(await run(make_editor(provider))) == (1, 1, 0, 0)
    assert names(provider) == ["a.png"]


async def test_an_image_that_takes_the_service_along_each_time_fails_alone(
    make_editor: MakeEditor, buckets: Buckets
) -> None:
    fill(buckets, "a.png", "b.png")
    for _ in range(3):
        begun = asyncio.Event()

        async def tell_and_hang(request: EditRequest, begun: asyncio.Event = begun) -> EncodedImage:
            begun.set()
            return await hangs(request)

        await cut_off(make_editor(ScriptedProvider(default=tell_and_hang)), begun, concurrency=1)
    body = await run(make_editor(), concurrency=1)

    assert (body["status"], counts(body)) == ("completed_with_errors", (2, 1, 0, 1))
    assert body["errors"][0].startswith("input/a.png: JobPoisoned: ")


@pytest.mark.parametrize("is_listed", [True, False])
async def test_a_batch_that_is_given_up_says_what_there_is_and_begins_nothing(
    make_editor: MakeEditor, buckets: Buckets, is_listed: bool
) -> None:
    fill(buckets, "a.png", "b.png", "c.png")
    if not is_listed:
        buckets.listing_waits_for = asyncio.Semaphore(1)
    begun = asyncio.Event()

    async def tell_and_hang(request: EditRequest) -> EncodedImage:
        begun.set()
        return await hangs(request)

    provider = ScriptedProvider(by_name={"b.png": tell_and_hang})
    await cut_off(make_editor(provider), begun, concurrency=1)
    found = buckets.listed
    body = await run(make_editor(provider), given_up=JobPoisoned())

    total = 3 if is_listed else 2
    assert (body["status"], counts(body)) == ("completed_with_errors", (total, 1, 0, total - 1))
    assert body["error"].startswith("JobPoisoned: ")
    rows = manifest(buckets)["items"]
    assert [row["state"] for row in rows] == ["processed", *["not_started"] * (total - 1)]
    assert len(manifest(buckets)["notes"]) == (not is_listed)
    assert (names(provider), buckets.listed) == (["a.png", "b.png"], found)


async def test_a_batch_that_is_given_up_before_it_found_anything_has_failed(
    make_editor: MakeEditor, buckets: Buckets
) -> None:
    fill(buckets, "a.png")
    with pytest.raises(JobPoisoned):
        await run(make_editor(), given_up=JobPoisoned())
    assert not buckets.outputs()


async def test_an_answer_of_the_storage_that_was_lost_does_not_lose_the_result(
    make_editor: MakeEditor, buckets: Buckets
) -> None:
    fill(buckets, "a.png")

    async def lose_the_answer(_key: str) -> None:
        raise StorageUnreachable

    buckets.stored = lose_the_answer
    body = await run(make_editor())
    assert (body["status"], counts(body)) == ("completed", (1, 1, 0, 0))


async def test_a_result_that_is_being_stored_when_the_batch_is_cancelled_counts(
    make_editor: MakeEditor, buckets: Buckets
) -> None:
    fill(buckets, "a.png", "b.png")
    cancelled = asyncio.Event()

    async def cancel(_key: str) -> None:
        cancelled.set()
        await asyncio.sleep(0)

    buckets.stored = cancel
    body = await run(make_editor(), cancelled=cancelled, concurrency=1)
    assert (body["status"], counts(body)) == ("cancelled", (2, 1, 0, 1))
    assert [row["state"] for row in manifest(buckets)["items"]] == ["processed", "not_started"]


async def test_a_result_that_had_reached_the_bucket_counts_if_the_batch_is_cancelled_then(
    make_editor: MakeEditor, buckets: Buckets
) -> None:
    fill(buckets, "a.png", "b.png", "c.png")
    there = asyncio.Event()

    async def hang_when_stored(_key: str) -> None:
        there.set()
        await asyncio.Event().wait()

    buckets.stored = hang_when_stored
    provider = ScriptedProvider(by_name={"b.png": hangs})
    await cut_off(make_editor(provider), there, concurrency=2)
    cancelled = asyncio.Event()
    cancelled.set()
    body = await run(make_editor(provider), cancelled=cancelled)

    assert (body["status"], counts(body)) == ("cancelled", (3, 1, 0, 2))
    rows = manifest(buckets)["items"]
    assert [row["state"] for row in rows] == ["processed", "not_started", "not_started"]
    assert rows[0]["output_key"] in buckets.outputs()
    assert names(provider).count("a.png") == 1


async def test_a_batch_that_was_done_when_the_service_stops_ends(
    make_editor: MakeEditor, buckets: Buckets
) -> None:
    fill(buckets, "a.png", "b.png")
    stopping = asyncio.Event()

    async def stop(request: EditRequest) -> EncodedImage:
        stopping.set()
        return await edited(request)

    editor = make_editor(ScriptedProvider(by_name={"b.png": stop}))
    body = await run(editor, stopping=stopping, concurrency=1)
    assert (body["status"], counts(body)) == ("completed", (2, 2, 0, 0))


async def test_a_batch_that_is_cancelled_while_the_service_stops_is_cancelled(
    make_editor: MakeEditor, buckets: Buckets
) -> None:
    fill(buckets, "a.png", "b.png")
    stopping, cancelled = asyncio.Event(), asyncio.Event()

    async def stop(request: EditRequest) -> EncodedImage:
        stopping.set()
        cancelled.set()
        return await edited(request)

    editor = make_editor(ScriptedProvider(default=stop))
    body = await run(editor, stopping=stopping, cancelled=cancelled, concurrency=1)
    assert body["status"] == "cancelled"
    assert body["total_files"] == 2


async def test_a_batch_that_waits_for_another_one_hears_at_once_that_it_is_cancelled(
    make_editor: MakeEditor, buckets: Buckets
) -> None:
    fill(buckets, "a/a.png", "b/b.png")
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def tell_and_hang(request: EditRequest) -> EncodedImage:
        begun.set()
        return await hangs(request)

    editor = make_editor(ScriptedProvider(default=tell_and_hang), slots=1)
    other = asyncio.create_task(run(editor, job_id=OTHER_ID, input_prefix="input/a/"))
    await begun.wait()
    buckets.listing_waits_for = asyncio.Semaphore(0)
    waiting = asyncio.create_task(run(editor, cancelled=cancelled, input_prefix="input/b/"))
    while buckets.listed < 2:  # noqa: ASYNC110 - the listing has no event
        await asyncio.sleep(0)
    cancelled.set()
    assert (await waiting)["status"] == "cancelled"
    assert editor.slots.locked()
    other.cancel()


async def test_a_listing_that_was_cut_off_goes_on_behind_its_last_object(
    make_editor: MakeEditor, buckets: Buckets
) -> None:
    fill(buckets, "a.png", "c.png")
    begun = asyncio.Event()

    async def tell_and_hang(request: EditRequest) -> EncodedImage:
        begun.set()
        return await hangs(request)

    buckets.listing_waits_for = asyncio.Semaphore(0)
    await cut_off(make_editor(ScriptedProvider(default=tell_and_hang)), begun)
    buckets.listing_waits_for = None
    fill(buckets, "0.png", "b.png")  # one of them before what was listed

    assert counts(await run(make_editor())) == (3, 3, 0, 0)
    keys = [row["input_key"] for row in manifest(buckets)["items"]]
    assert keys == ["input/a.png", "input/b.png", "input/c.png"]


# -- sharing ------------------------------------------------------------------------------------


@pytest.mark.parametrize("slots", [1, 2])
async def test_two_batches_share_by_turns(
    make_editor: MakeEditor, buckets: Buckets, slots: int
) -> None:
    for number in range(12):
        fill(buckets, f"a/a{number}.png", f"b/b{number}.png")
    both = asyncio.Barrier(2)
    order: list[str] = []
    in_work = most = 0

    async def note(request: EditRequest) -> EncodedImage:
        nonlocal in_work, most
        in_work += 1
        most = max(most, in_work)
        order.append(str(request.filename)[0])
        await asyncio.sleep(0)
        in_work -= 1
        return await edited(request)

    editor = make_editor(ScriptedProvider(default=note), slots=slots)

    async def batch(job_id: str, folder: str) -> None:
        await both.wait()
        await run(editor, job_id=job_id, input_prefix=f"input/{folder}/", concurrency=2)

    await asyncio.gather(batch(JOB_ID, "a"), batch(OTHER_ID, "b"))

    assert most <= slots
    # Each waits in one line with as many tasks: neither gets far ahead.
    for end in range(len(order)):
        ahead = order[:end].count("a") - order[:end].count("b")
        assert abs(ahead) <= 4


# -- the manifests ---------------------------------------------------------------------------


async def test_the_table_has_the_rows_of_the_manifest(
    make_editor: MakeEditor, buckets: Buckets
) -> None:
    fill(buckets, "a.png", "b.png", "c.txt")
    provider = ScriptedProvider(by_name={"b.png": fails(ProviderRefusedContent())})
    await run(make_editor(provider))
    table = list(csv.DictReader(buckets.outputs()[TABLE].decode().splitlines()))
    for row, line in zip(manifest(buckets)["items"], table, strict=True):
        assert row["input_key"] == line["input_key"]
        assert row["state"] == line["state"]
        assert row.get("output_key", "") == line["output_key"]
