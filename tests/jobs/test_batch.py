import asyncio
import json
from pathlib import Path

import pytest

from imgsvc.errors import CorruptImage, ProviderRefusedContent, ProviderTimeout
from imgsvc.imaging.encoded import EncodedImage
from imgsvc.jobs.models import EventType, JobState, StoredResult
from imgsvc.providers import EditOptions, EditRequest
from jobs.batches import MANIFEST, TABLE, Buckets, MakeEditor, callback, counts, end, manifest, run
from jobs.parts import JOB_ID, ScriptedProvider, Told, edited, fails, files, hangs
from standins.pictures import picture

pytestmark = pytest.mark.asyncio(loop_scope="session")

PNG = picture()


# -- what it leaves -----------------------------------------------------------------------


async def test_every_image_below_the_prefix_is_edited_and_folders_are_kept(
    make_editor: MakeEditor, buckets: Buckets
) -> None:
    for key in ("input/a.png", "input/deep/er/b c.png", "input/deep/a.png", "elsewhere/x.png"):
        buckets.add(key, PNG)
    provider = ScriptedProvider()

    body = await run(make_editor(provider))

    assert (body["status"], counts(body)) == ("completed", (3, 3, 0, 0))
    assert (body["errors"], body["fallback"], body["provider"]) == ([], False, "scripted")
    assert (body["output_bucket"], body["output_prefix"]) == ("output", "output/")
    root = f"output/{JOB_ID}"
    outputs = buckets.outputs()
    assert sorted(outputs) == [
        f"{root}/a_modified.png",
        f"{root}/deep/a_modified.png",
        f"{root}/deep/er/b_c_modified.png",
        f"{root}/manifest.csv",
        f"{root}/manifest.json",
    ]
    assert {data for key, data in outputs.items() if key not in {MANIFEST, TABLE}} == {PNG}


async def test_the_provider_is_asked_as_the_caller_asked(
    make_editor: MakeEditor, buckets: Buckets
) -> None:
    buckets.add("input/deep/a.png", PNG)
    provider = ScriptedProvider()
    options = EditOptions(quality="low", size="1024x1024")

    await run(make_editor(provider), prompt="Make it day", options=options)

    [request] = provider.requests
    assert (request.prompt, request.filename) == ("Make it day", "a.png")
    assert (request.options, request.mask) == (options, None)
    assert (request.info.width, request.info.height) == (64, 48)


async def test_the_manifest_has_a_row_for_every_object(
    make_editor: MakeEditor, buckets: Buckets
) -> None:
    buckets.add("input/a.png", PNG)
    buckets.add("input/b.png", b"no image")
    buckets.add("input/c.txt", b"no image")

    body = await run(make_editor())

    document = manifest(buckets)
    assert document["status"] == body["status"] == "completed_with_errors"
    assert (document["total_files"], document["skipped"]) == (2, 1)
    first, second, third = document["items"]
    assert first.pop("seconds") >= 0
    assert document["items"][0].pop("started_at") <= first.pop("finished_at")
    assert first == {
        "input_key": "input/a.png",
        "output_key": f"output/{JOB_ID}/a_modified.png",
        "state": "processed",
        "provider": "scripted",
        "model": "model-1",
        "bytes": len(PNG),
        "attempts": 1,
        "cost_usd": 0.04,
    }
    assert document["cost_usd"] == 0.04
    assert (second["input_key"], second["state"]) == ("input/b.png", "failed")
    assert second["error"].startswith("NotAnImage: ")
    assert third == {"input_key": "input/c.txt", "state": "skipped", "seconds": 0.0}


async def test_equal_names_do_not_overwrite_each_other(
    make_editor: MakeEditor, buckets: Buckets
) -> None:
    contents = {
        "a.png": picture(10, 10), "a.jpg": picture(11, 10, kind="JPEG"),
        "a.webp": picture(12, 10, kind="WEBP"), "A B.png": picture(13, 10),
        "A_B.png": picture(14, 10),
    }  # fmt: skip
    for name, data in contents.items():
        buckets.add(f"input/{name}", data)

    body = await run(make_editor())

    assert counts(body) == (5, 5, 0, 0)
    rows = manifest(buckets)["items"]
    assert len({row["output_key"] for row in rows}) == 5
    outputs = buckets.outputs()
    for row in rows:
        assert outputs[row["output_key"]] == contents[row["input_key"].removeprefix("input/")]


@pytest.mark.parametrize("first", ["a.jpg", "a.png"])
async def test_equal_names_are_numbered_alike_whichever_edit_ends_first(
    make_editor: MakeEditor, buckets: Buckets, first: str
) -> None:
    names = ["a.jpg", "a.png"]
    for name in names:
        buckets.add(f"input/{name}", PNG)
    first_is_stored = asyncio.Event()

    async def edit_after_first(request: EditRequest) -> EncodedImage:
        await first_is_stored.wait()
        return await edited(request)

    buckets.refuses = lambda _key: first_is_stored.set()
    provider = ScriptedProvider(by_name={name: edit_after_first for name in names if name != first})

    await run(make_editor(provider))

    rows = manifest(buckets)["items"]
    assert {row["input_key"]: row["output_key"] for row in rows} == {
        "input/a.jpg": f"output/{JOB_ID}/a_modified.png",
        "input/a.png": f"output/{JOB_ID}/a_modified_2.png",
    }


@pytest.mark.parametrize("prefix", ["input/", "input/nothing/here/", "a/../b/"])
async def test_an_empty_folder_is_completed_with_zeros(
    make_editor: MakeEditor, buckets: Buckets, prefix: str
) -> None:
    body = await run(make_editor(), input_prefix=prefix)

    assert (body["status"], counts(body)) == ("completed", (0, 0, 0, 0))
    assert (body["errors"], body["fallback"]) == ([], False)
    assert manifest(buckets)["items"] == []


# -- edits that fail ----------------------------------------------------------------------


async def test_the_counters_tell_who_edited_what(make_editor: MakeEditor, buckets: Buckets) -> None:
    for key in ("ok", "slow", "refused", "broken"):
        buckets.add(f"input/{key}.png", PNG)
    provider = ScriptedProvider(
        by_name={
            "slow.png": fails(ProviderTimeout()),
            "refused.png": fails(ProviderRefusedContent()),
            "broken.png": fails(LookupError("/srv/secret")),
        }
    )

    body = await run(make_editor(provider))

    assert (body["status"], counts(body)) == ("completed_with_errors", (4, 1, 1, 2))
    assert (body["fallback"], body["fallback_reason"]) == (True, "provider_timeout")
    assert "/srv/secret" not in json.dumps([body, manifest(buckets)])
    rows = {row["input_key"]: row for row in manifest(buckets)["items"]}
    assert rows["input/slow.png"]["provider"] == "local"
    assert rows["input/slow.png"]["fallback_reason"] == "provider_timeout"
    assert rows["input/slow.png"]["operations"] == []
    assert "operations" not in rows["input/refused.png"]
    assert rows["input/refused.png"]["error"].startswith("ProviderRefusedContent: ")
    assert rows["input/broken.png"]["error"].startswith("InternalError: ")


async def test_each_output_says_which_input_it_was_made_of(
    make_editor: MakeEditor, buckets: Buckets
) -> None:
    buckets.add("input/bäd name.png", PNG)
    await run(make_editor(ScriptedProvider()))
    found = await buckets.stat("output", f"output/{JOB_ID}/b_d_name_modified.png")
    assert found is not None
    assert found.metadata["source-key"] == "input/b%C3%A4d%20name.png"
    assert found.metadata["job-id"] == JOB_ID


async def test_without_fallback_the_error_of_the_provider_stands(
    make_editor: MakeEditor, buckets: Buckets
) -> None:
    buckets.add("input/a.png", PNG)
    provider = ScriptedProvider(default=fails(ProviderTimeout()))

    body = await run(make_editor(provider), fallback_allowed=False)

    assert (body["status"], counts(body)) == ("failed", (1, 0, 0, 1))
    assert body["error"].startswith("BatchFailed: ")
    assert body["errors"][0].startswith("input/a.png: ProviderTimeout: ")


async def test_a_hanging_image_is_stopped_and_the_next_one_begins(
    make_editor: MakeEditor, buckets: Buckets, scratch: Path
) -> None:
    for number in range(3):
        buckets.add(f"input/{number}.png", PNG)
    editor = make_editor(ScriptedProvider(default=hangs), item_timeout=0.5)

    body = await run(editor, concurrency=1, fallback_allowed=False)

    assert counts(body) == (3, 0, 0, 3)
    assert all(": ProviderTimeout: " in line for line in body["errors"])
    assert files(scratch) == []


@pytest.mark.parametrize("count", [19, 20, 21])
async def test_the_callback_has_twenty_error_lines_and_the_manifest_all(
    make_editor: MakeEditor, buckets: Buckets, count: int
) -> None:
    for number in range(count):
        buckets.add(f"input/{number:02}.png", b"no image")

    body = await run(make_editor())

    assert len(body["errors"]) == min(count, 20)
    assert len([row for row in manifest(buckets)["items"] if row["error"]]) == count


async def test_the_state_of_the_outcome_is_that_of_the_callback(
    make_editor: MakeEditor, buckets: Buckets
) -> None:
    buckets.add("input/a.png", PNG)
    ending = await end(make_editor(ScriptedProvider(default=fails(CorruptImage()))))

    body, outcome = callback(ending), ending.outcome
    assert (outcome.state, body["status"]) == (JobState.FAILED, "failed")
    assert (outcome.error, outcome.provider) == (body["error"], body["provider"])
    assert outcome.result == StoredResult(bucket="output", key=MANIFEST)


async def test_the_story_tells_of_items_and_how_many_there_are_and_not_of_each_call(
    make_editor: MakeEditor, buckets: Buckets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgsvc.jobs.progress.SPACING", 0)
    for key in ("a", "b", "c"):
        buckets.add(f"input/{key}.png", PNG)
    told = Told()
    provider = ScriptedProvider(by_name={"b.png": fails(ProviderTimeout())})

    await end(make_editor(provider), told=told, concurrency=1)

    assert {kind for kind, _ in told.events} == {EventType.ITEM_DONE}
    items = [data for _, data in told.events]
    assert [(item["key"], item["state"], item["done"]) for item in items] == [
        ("input/a.png", "processed", 1),
        ("input/b.png", "fallback_local", 2),
        ("input/c.png", "processed", 3),
    ]
    assert items[-1]["total"] == 3


# -- a batch that is cancelled ------------------------------------------------------------


async def test_a_cancelled_batch_tells_what_was_done_and_begins_nothing_more(
    make_editor: MakeEditor, buckets: Buckets
) -> None:
    for number in range(9):
        buckets.add(f"input/{number}.png", PNG)
    cancelled = asyncio.Event()

    async def cancel_and_hang(request: EditRequest) -> EncodedImage:
        cancelled.set()
        return await hangs(request)

    provider = ScriptedProvider(by_name={"2.png": cancel_and_hang})
    ending = await end(make_editor(provider), cancelled=cancelled, concurrency=1)

    body = callback(ending)
    assert (body["status"], counts(body)) == ("cancelled", (9, 2, 0, 7))
    assert body["error"].startswith("JobCancelled: ")
    assert body["errors"][0].startswith("6 of 9 images were not begun: JobCancelled: ")
    assert body["errors"][1].startswith("input/2.png: JobCancelled: ")
    assert [request.filename for request in provider.requests] == ["0.png", "1.png", "2.png"]
    assert provider.in_flight == 0
    document = manifest(buckets)
    assert (document["status"], len(document["items"])) == ("cancelled", 9)
    assert [row["state"] for row in document["items"]] == [
        *("processed", "processed", "failed"),
        *["not_started"] * 6,
    ]


async def test_a_batch_that_is_cancelled_before_its_first_image_leaves_an_empty_manifest(
    make_editor: MakeEditor, buckets: Buckets
) -> None:
    buckets.add("input/a.png", PNG)
    cancelled = asyncio.Event()
    cancelled.set()
    provider = ScriptedProvider(default=hangs)

    ending = await end(make_editor(provider), cancelled=cancelled)

    assert ending.outcome.state is JobState.CANCELLED
    assert counts(callback(ending)) == (0, 0, 0, 0)
    assert manifest(buckets)["items"] == []
