import json
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from imgsvc.errors import (
    ImageFetchFailed,
    ImgsvcError,
    InvalidMask,
    NotAnImage,
    PayloadLost,
    ProviderTimeout,
    StorageAccessDenied,
    UnsupportedImageType,
)
from imgsvc.jobs import BlobFolder, ImageEditor
from imgsvc.jobs.bodies import Ending
from imgsvc.jobs.models import (
    EventType,
    ImageSpec,
    InlineResult,
    JobKind,
    JobState,
    RemoteImage,
    StoredResult,
)
from imgsvc.providers import EditOptions
from jobs.batches import Buckets
from jobs.parts import JOB_ID, ScriptedProvider, Told, fails, files, image_spec, make_job, stored
from jobs.runners import MakeImageEditor
from standins.pictures import as_base64, picture
from standins.receiver import Receiver, reply

pytestmark = pytest.mark.asyncio(loop_scope="session")

PNG = picture()


async def run(editor: ImageEditor, spec: ImageSpec) -> dict[str, Any]:
    """Do the job and return its callback."""
    ending = await end(editor, spec)
    body: dict[str, Any] = json.loads(b"".join(ending.body))
    return body


async def end(editor: ImageEditor, spec: ImageSpec, told: Told | None = None) -> Ending:
    """Do the job and return how it ended."""
    ending = await editor.run(make_job(spec), spec, (told or Told()).story, until=monotonic() + 60)
    assert ending.outcome.state is JobState.COMPLETED
    return ending


async def sent(blobs: BlobFolder, data: bytes = PNG, **fields: Any) -> ImageSpec:
    """Return the job for a picture that came with the request."""
    blob = await blobs.put([data], content_type="image/png")
    return image_spec(image=stored(blob), **fields)


async def test_the_result_comes_in_the_callback_with_these_fields_and_no_others(
    make_image_editor: MakeImageEditor, blobs: BlobFolder
) -> None:
    body = await run(make_image_editor(), await sent(blobs, filename="a b.png"))

    assert body == {
        "status": "completed",
        "job_id": JOB_ID,
        "filename": "a b.png",
        "provider": "scripted",
        "model": "model-1",
        "fallback": False,
        "result_image_base64": as_base64(PNG),
        "result_mime_type": "image/png",
        "cost_usd": 0.04,
    }


async def test_the_result_goes_to_the_bucket_and_the_callback_has_these_fields_and_no_others(
    make_image_editor: MakeImageEditor, blobs: BlobFolder, buckets: Buckets
) -> None:
    spec = await sent(blobs, kind=JobKind.IMAGE_TO_STORAGE, filename="a b.png")
    body = await run(make_image_editor(), spec)

    key = f"results/{JOB_ID}/a_b_modified.png"
    assert body.pop("result_url").startswith(f"http://127.0.0.1:9/files/output/{key}?expires=")
    assert body == {
        "status": "completed",
        "job_id": JOB_ID,
        "filename": "a b.png",
        "provider": "scripted",
        "model": "model-1",
        "fallback": False,
        "object_key": key,
        "expires_in": 900,
        "cost_usd": 0.04,
    }
    assert buckets.outputs() == {key: PNG}


async def test_the_object_says_who_made_it_for_which_job(
    make_image_editor: MakeImageEditor, blobs: BlobFolder, buckets: Buckets
) -> None:
    await run(make_image_editor(), await sent(blobs, kind=JobKind.IMAGE_TO_STORAGE))

    [key] = buckets.outputs()
    found = await buckets.stat("output", key)
    assert found is not None
    assert (found.size, found.content_type) == (len(PNG), "image/png")
    assert found.metadata == {
        "job-id": JOB_ID,
        "provider": "scripted",
        "model": "model-1",
        "fallback": "false",
    }


async def test_the_record_says_where_in_the_body_the_picture_is(
    make_image_editor: MakeImageEditor, blobs: BlobFolder
) -> None:
    ending = await end(make_image_editor(), await sent(blobs, filename='"result_image_base64":"'))

    result, body = ending.outcome.result, b"".join(ending.body)
    assert isinstance(result, InlineResult)
    text = body[result.offset : result.offset + result.length]
    assert (text.decode(), result.media_type) == (as_base64(PNG), "image/png")


async def test_the_record_says_where_in_the_bucket_the_picture_is(
    make_image_editor: MakeImageEditor, blobs: BlobFolder, buckets: Buckets
) -> None:
    told = Told()
    spec = await sent(blobs, kind=JobKind.IMAGE_TO_STORAGE)
    ending = await end(make_image_editor(), spec, told)

    [key] = buckets.outputs()
    assert ending.outcome.result == StoredResult(bucket="output", key=key)
    assert [kind for kind, _ in told.events] == [EventType.PROVIDER_CALLED, EventType.STORED]
    assert told.events[1][1] == {"object_key": key, "bytes": len(PNG)}


async def test_the_story_tells_what_the_provider_failed_with_and_that_another_stepped_in(
    make_image_editor: MakeImageEditor, blobs: BlobFolder
) -> None:
    told = Told()
    provider = ScriptedProvider(default=fails(ProviderTimeout()))
    ending = await end(make_image_editor(provider), await sent(blobs), told)

    (called, call), (fell_back, why) = told.events
    assert (called, fell_back) == (EventType.PROVIDER_CALLED, EventType.FALLBACK)
    assert (call["provider"], call["error"]) == ("scripted", "provider_timeout")
    assert why == {
        "provider": "local",
        "reason": "provider_timeout",
        "operations": (),
        "ignored": ("night",),
    }
    assert ending.outcome.fallback_reason == "provider_timeout"


async def test_a_picture_that_is_no_longer_on_disk_is_said_to_be_lost(
    make_image_editor: MakeImageEditor, blobs: BlobFolder
) -> None:
    spec, provider = await sent(blobs), ScriptedProvider()
    await blobs.delete(spec.blobs)

    with pytest.raises(PayloadLost):
        await end(make_image_editor(provider), spec)
    assert provider.requests == []


async def test_a_job_without_a_file_name_has_none_in_its_callback(
    make_image_editor: MakeImageEditor, blobs: BlobFolder
) -> None:
    assert "filename" not in await run(make_image_editor(), await sent(blobs))


async def test_a_result_of_the_local_engine_says_so(
    make_image_editor: MakeImageEditor, blobs: BlobFolder
) -> None:
    provider = ScriptedProvider(default=fails(ProviderTimeout()))
    body = await run(make_image_editor(provider), await sent(blobs))

    assert (body["provider"], body["fallback"]) == ("local", True)
    assert body["fallback_reason"] == "provider_timeout"
    assert (body["operations"], body["ignored"]) == ([], ["night"])


async def test_without_fallback_the_error_of_the_provider_stands(
    make_image_editor: MakeImageEditor, blobs: BlobFolder
) -> None:
    editor = make_image_editor(ScriptedProvider(default=fails(ProviderTimeout())))
    with pytest.raises(ProviderTimeout):
        await run(editor, await sent(blobs, fallback_allowed=False))


async def test_a_bucket_that_refuses_the_result_is_the_error_of_the_job(
    make_image_editor: MakeImageEditor, blobs: BlobFolder, buckets: Buckets
) -> None:
    buckets.refuses = lambda _key: StorageAccessDenied()
    with pytest.raises(StorageAccessDenied):
        await run(make_image_editor(), await sent(blobs, kind=JobKind.IMAGE_TO_STORAGE))


async def test_the_provider_gets_all_that_the_caller_asked_for(
    make_image_editor: MakeImageEditor, blobs: BlobFolder
) -> None:
    provider = ScriptedProvider()
    mask = await blobs.put([picture(mode="RGBA")], content_type="image/png")
    options = EditOptions(quality="low", background="opaque")
    await run(
        make_image_editor(provider),
        await sent(blobs, filename="a.png", mask=mask, options=options),
    )

    [request] = provider.requests
    assert (request.prompt, request.filename) == ("Make it night", "a.png")
    assert (request.mask, request.options) == (blobs.path(mask), options)


async def test_a_picture_behind_a_url_is_fetched_and_no_copy_is_left(
    make_image_editor: MakeImageEditor, receiver: Receiver, scratch: Path
) -> None:
    receiver.answer_with(reply(body=PNG))
    provider = ScriptedProvider()
    body = await run(make_image_editor(provider), image_spec(image=RemoteImage(url=receiver.url)))

    assert body["result_image_base64"] == as_base64(PNG)
    assert (provider.requests[0].info.width, provider.requests[0].info.height) == (64, 48)
    assert files(scratch) == []


@pytest.mark.parametrize(
    ("status", "data", "error"),
    [
        (404, b"", ImageFetchFailed),
        (200, b"", NotAnImage),
        (200, b"<html>", NotAnImage),
        (200, b"%PDF-1.7", UnsupportedImageType),
    ],
)
async def test_a_url_that_leads_to_no_picture_never_reaches_the_provider(
    make_image_editor: MakeImageEditor,
    receiver: Receiver,
    scratch: Path,
    status: int,
    data: bytes,
    error: type[ImgsvcError],
) -> None:
    receiver.answer_with(reply(status, body=data))
    provider = ScriptedProvider()
    with pytest.raises(error):
        await run(make_image_editor(provider), image_spec(image=RemoteImage(url=receiver.url)))

    assert provider.requests == []
    assert files(scratch) == []


async def test_a_mask_that_does_not_fit_the_fetched_picture_is_refused(
    make_image_editor: MakeImageEditor, blobs: BlobFolder, receiver: Receiver, scratch: Path
) -> None:
    receiver.answer_with(reply(body=PNG))
    mask = await blobs.put([picture(10, 10, mode="RGBA")], content_type="image/png")
    with pytest.raises(InvalidMask, match="10 x 10 pixels"):
        await run(make_image_editor(), image_spec(image=RemoteImage(url=receiver.url), mask=mask))
    assert files(scratch) == []
