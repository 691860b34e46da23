import os
from pathlib import Path

import pytest

from imgsvc.errors import StorageAccessDenied
from imgsvc.imaging.encoded import EncodedImage
from imgsvc.providers import EditRequest
from imgsvc.storage import FilesystemConfig
from jobs.batches import Buckets, MakeEditor, counts, manifest, run
from jobs.parts import JOB_ID, ScriptedProvider, edited
from standins.pictures import picture

pytestmark = pytest.mark.asyncio(loop_scope="session")

PNG = picture()


# -- results in the bucket of the inputs --------------------------------------------------


async def test_what_earlier_jobs_have_put_into_the_same_bucket_is_no_input(
    make_editor: MakeEditor, tmp_path: Path
) -> None:
    config = FilesystemConfig(input_bucket="shared", output_bucket="shared")
    shared = Buckets(tmp_path / "shared", config)
    own = [
        "a.png", "a.jpg", "trip/b_modified.png", "output/kept.png", "output/0c0ffee0/kept.png",
        f"output/{JOB_ID}/kept.png", f"photos/{JOB_ID}/kept.png",
    ]  # fmt: skip
    for key in (*own, f"results/{JOB_ID}/photo_modified.png"):
        shared.add(key, PNG)
    editor = make_editor(config=config, storage=shared)

    for number, prefix in enumerate(["output/", "other/", "", "output/"]):
        job_id = JOB_ID[:-1] + str(number)
        body = await run(editor, job_id=job_id, input_prefix="", output_prefix=prefix)
        assert counts(body) == (7, 7, 0, 0)
        assert body["errors"] == []
        rows = manifest(shared, f"{prefix}{job_id}/manifest.json")["items"]
        assert [row["input_key"] for row in rows] == sorted(own)


async def test_what_is_named_like_a_result_in_another_bucket_is_an_input(
    make_editor: MakeEditor, buckets: Buckets
) -> None:
    buckets.add(f"input/{JOB_ID}/a_modified.png", PNG)

    assert counts(await run(make_editor())) == (1, 1, 0, 0)


# -- objects that are no images -----------------------------------------------------------


async def test_objects_that_are_no_images_are_named_and_not_counted(
    make_editor: MakeEditor, buckets: Buckets
) -> None:
    for key in ("a.txt", "b.svg", "README", "c.png.bak"):
        buckets.add(f"input/{key}", b"no image")
    for key in ("IMG.2024-01-01", "picture-without-extension"):
        buckets.add(f"input/{key}", PNG)
    provider = ScriptedProvider()

    body = await run(make_editor(provider))

    assert (body["status"], counts(body)) == ("completed", (2, 2, 0, 0))
    assert sorted(body["errors"]) == [
        f"input/{key}: skipped, not an image" for key in ("README", "a.txt", "b.svg", "c.png.bak")
    ]
    assert manifest(buckets)["skipped"] == 4
    assert {request.filename for request in provider.requests} == {
        "IMG.2024-01-01",
        "picture-without-extension",
    }


async def test_an_object_of_a_known_other_type_is_not_downloaded(
    make_editor: MakeEditor, buckets: Buckets
) -> None:
    buckets.add("input/a.mp4", b"")
    # A file full of holes, larger than any memory: reading it would fail.
    os.truncate(buckets.input / "input/a.mp4", 1 << 43)

    body = await run(make_editor())

    assert (body["status"], counts(body)) == ("completed", (0, 0, 0, 0))
    assert body["errors"] == ["input/a.mp4: skipped, not an image"]


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", "NotAnImage: "),
        (b"no image", "NotAnImage: "),
        (b"%PDF-1.7", "UnsupportedImageType: PDF"),
        (PNG[:40], "CorruptImage: "),
    ],
)
async def test_an_image_that_is_none_fails_and_leaves_the_others_alone(
    make_editor: MakeEditor, buckets: Buckets, data: bytes, error: str
) -> None:
    buckets.add("input/a.png", data)
    buckets.add("input/b.png", PNG)
    provider = ScriptedProvider()

    body = await run(make_editor(provider))

    assert (body["status"], counts(body)) == ("completed_with_errors", (2, 1, 0, 1))
    [line] = body["errors"]
    assert line.startswith(f"input/a.png: {error}")
    assert [request.filename for request in provider.requests] == ["b.png"]


async def test_images_whose_names_are_no_keys_fail_by_name(
    make_editor: MakeEditor, buckets: Buckets
) -> None:
    for name in (b"a\nb.png", b"c\xff.png", b"d\xff.txt", b"\xff/e.png", b"f.png"):
        buckets.add(os.fsdecode(b"input/" + name), PNG)

    body = await run(make_editor())

    assert (body["status"], counts(body)) == ("completed_with_errors", (4, 1, 0, 3))
    *failed, skipped = body["errors"]
    assert sorted(line.partition(": ")[0] for line in failed) == [
        "input/\\udcff/e.png",
        "input/a\nb.png",
        "input/c\\udcff.png",
    ]
    assert all("InvalidObjectKey: The object key holds" in line for line in failed)
    assert skipped == "input/d\\udcff.txt: skipped, not an image"
    assert manifest(buckets)["failed"] == 3


async def test_a_large_object_is_refused_without_being_read(
    make_editor: MakeEditor, buckets: Buckets
) -> None:
    buckets.add("input/a.png", PNG)
    # A file full of holes, larger than any memory: reading it would fail in another way.
    os.truncate(buckets.input / "input/a.png", 1 << 43)

    body = await run(make_editor())

    assert (body["status"], counts(body)) == ("failed", (1, 0, 0, 1))
    assert body["errors"][0].startswith("input/a.png: ObjectTooLarge: ")
    assert buckets.read == []


async def test_an_object_that_goes_after_it_was_listed_fails_by_name(
    make_editor: MakeEditor, buckets: Buckets
) -> None:
    for name in "abc":
        buckets.add(f"input/{name}.png", PNG)

    async def remove_the_next(request: EditRequest) -> EncodedImage:
        (buckets.input / "input/b.png").unlink(missing_ok=True)
        return await edited(request)

    editor = make_editor(ScriptedProvider(default=remove_the_next))
    body = await run(editor, concurrency=1)

    assert (body["status"], counts(body)) == ("completed_with_errors", (3, 2, 0, 1))
    assert body["errors"][0].startswith("input/b.png: ObjectNotFound: ")


async def test_a_bucket_that_is_closed_half_way_fails_each_image_that_is_left(
    make_editor: MakeEditor, buckets: Buckets
) -> None:
    for number in range(6):
        buckets.add(f"input/{number}.png", PNG)
    buckets.denies = lambda _key: StorageAccessDenied() if len(buckets.read) > 3 else None

    body = await run(make_editor(), concurrency=1)

    assert (body["status"], counts(body)) == ("completed_with_errors", (6, 3, 0, 3))
    assert [line.partition(": StorageAccessDenied: ")[0] for line in body["errors"]] == [
        f"input/{number}.png" for number in (3, 4, 5)
    ]
