"""The three tools on the wire, from the request to the callback."""

import asyncio
import base64
import io
import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from PIL import Image

from standins.openai import OpenAIStandin
from standins.pictures import as_base64, picture
from standins.receiver import Answer, Receiver, callback_receiver, drop, reply
from standins.service import Caller

pytestmark = pytest.mark.asyncio(loop_scope="package")

TO_BASE64 = "/process-image-async-b64"
TO_STORAGE = "/process-image-async"
BATCH = "/batch-process-images"

PHOTO = {"prompt": "make it pop", "image_base64": as_base64(picture()), "filename": "my photo.png"}


def opened(callback: dict[str, Any]) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(callback["result_image_base64"], validate=True)))


@pytest.mark.parametrize("path", [TO_BASE64, TO_STORAGE])
async def test_the_answer_is_202_with_a_random_job_id(local: Caller, path: str) -> None:
    status, answer = await local.post(path, PHOTO)
    await local.receiver.next()
    assert status == 202
    assert answer == {"accepted": True, "job_id": answer["job_id"]}
    assert uuid.UUID(answer["job_id"]).version == 4


async def test_a_local_result_in_the_callback_says_that_it_is_a_fallback(local: Caller) -> None:
    callback = await local.run(TO_BASE64, PHOTO)
    assert {name: value for name, value in callback.items() if name != "result_image_base64"} == {
        "status": "completed",
        "job_id": callback["job_id"],
        "filename": "my photo.png",
        "result_mime_type": "image/png",
        "provider": "local",
        "fallback": True,
        "fallback_reason": "provider_not_configured",
        "operations": ["enhance"],
        "ignored": [],
    }
    assert opened(callback).format == "PNG"


async def test_a_result_in_storage_comes_with_a_link_that_works(local: Caller) -> None:
    callback = await local.run(TO_STORAGE, PHOTO)
    key = f"results/{callback['job_id']}/my_photo_modified.png"
    assert callback == {
        "status": "completed",
        "job_id": callback["job_id"],
        "filename": "my photo.png",
        "object_key": key,
        "result_url": callback["result_url"],
        "expires_in": 3600,
        "provider": "local",
        "fallback": True,
        "fallback_reason": "provider_not_configured",
        "operations": ["enhance"],
        "ignored": [],
    }
    async with local.session.get(callback["result_url"]) as answer:
        assert (answer.status, answer.content_type) == (200, "image/png")
        assert Image.open(io.BytesIO(await answer.read())).format == "PNG"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (("signature=", "signature=0"), "link_invalid"),
        (("expires=1", "expires=2"), "link_invalid"),
        (("my_photo", "other"), "link_invalid"),
        (("?", "?x=1#"), "link_invalid"),
    ],
)
async def test_a_link_that_was_tampered_with_is_refused(
    local: Caller, change: tuple[str, str], code: str
) -> None:
    callback = await local.run(TO_STORAGE, PHOTO)
    async with local.session.get(callback["result_url"].replace(*change)) as answer:
        assert answer.status == 403
        assert (await answer.json(content_type=None))["code"] == code


@pytest.mark.parametrize(
    "filename", ["a.png", 'quote".png', "ünïcode 图.jpg", "../../etc/passwd", "  ", "a/b\\c.gif"]
)
async def test_the_filename_comes_back_exactly_as_it_was_given(
    local: Caller, filename: str
) -> None:
    assert (await local.run(TO_BASE64, PHOTO | {"filename": filename}))["filename"] == filename


async def test_a_field_without_a_value_is_left_out(local: Caller) -> None:
    body = {"prompt": "x", "image_base64": PHOTO["image_base64"], "filename": None}
    callback = await local.run(TO_BASE64, body)
    assert "filename" not in callback
    assert None not in callback.values()


@pytest.mark.parametrize("name", ["callbackUrl", "callbackurl", "CALLBACKURL", "CallbackUrl"])
async def test_the_case_of_the_callback_header_does_not_matter(local: Caller, name: str) -> None:
    async with local.session.post(
        local.server.url + TO_BASE64, json=PHOTO, headers={name: local.receiver.url}
    ) as answer:
        assert answer.status == 202
    assert (await local.receiver.next()).json["status"] == "completed"


async def test_the_request_id_is_taken_answered_and_sent_on(local: Caller) -> None:
    headers = {"callbackUrl": local.receiver.url, "X-Request-Id": "flow-7/step:3"}
    async with local.session.post(
        local.server.url + TO_BASE64, json=PHOTO, headers=headers
    ) as answer:
        assert answer.headers["X-Request-Id"] == "flow-7/step:3"
    assert (await local.receiver.next()).headers["X-Request-Id"] == "flow-7/step:3"


async def test_a_request_id_that_could_break_a_log_line_is_replaced(local: Caller) -> None:
    async with local.session.get(
        local.server.url + "/health", headers={"X-Request-Id": "a b" * 100}
    ) as answer:
        assert uuid.UUID(answer.headers["X-Request-Id"])


async def test_the_result_of_the_image_api_is_passed_on_untouched(
    remote: Caller, standin: OpenAIStandin
) -> None:
    callback = await remote.run(TO_BASE64, PHOTO)
    assert (callback["provider"], callback["fallback"]) == ("openai", False)
    assert "fallback_reason" not in callback
    call = standin.calls[-1]
    assert call.fields["prompt"] == PHOTO["prompt"]
    mirrored = opened(callback).convert("RGB").transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    original = Image.open(io.BytesIO(picture())).convert("RGB")
    assert mirrored.tobytes() == original.tobytes()


async def test_options_reach_the_image_api(remote: Caller, standin: OpenAIStandin) -> None:
    options = {
        "model": "gpt-image-2.6-flare",
        "quality": "high",
        "size": "1536x1024",
        "background": "opaque",
        "output_format": "webp",
    }
    callback = await remote.run(TO_STORAGE, PHOTO | options | {"priority": 9})
    assert callback["object_key"].endswith("/my_photo_modified.webp")
    sent = standin.calls[-1].fields
    assert {name: sent[name] for name in options} == options


async def test_without_options_the_configured_model_and_quality_are_asked_for(
    remote: Caller, standin: OpenAIStandin
) -> None:
    await remote.run(TO_BASE64, PHOTO)
    sent = standin.calls[-1].fields
    assert (sent["model"], sent["quality"]) == ("gpt-image-2", "medium")


async def test_a_mask_reaches_the_image_api(remote: Caller, standin: OpenAIStandin) -> None:
    mask = picture(mode="RGBA")
    await remote.run(TO_BASE64, PHOTO | {"mask_base64": as_base64(mask)})
    assert (upload := standin.calls[-1].mask) is not None
    assert upload.data == mask


async def test_out_of_credit_the_local_engine_steps_in_and_says_so(
    remote: Caller, standin: OpenAIStandin
) -> None:
    standin.fail_next("credit_balance_exhausted")
    callback = await remote.run(TO_BASE64, PHOTO)
    assert callback["status"] == "completed"
    assert (callback["provider"], callback["fallback"]) == ("local", True)
    assert callback["fallback_reason"] == "provider_out_of_credit"


async def test_where_fallback_is_not_wanted_the_job_fails_clearly(
    remote: Caller, standin: OpenAIStandin
) -> None:
    standin.fail_next("credit_balance_exhausted")
    callback = await remote.run(TO_BASE64, PHOTO | {"fallback": "never"})
    assert callback["error"].startswith("ProviderOutOfCredit: ")
    assert {name for name in callback if name != "error"} == {
        "status",
        "job_id",
        "filename",
        "provider",
        "fallback",
        "cost_usd",
    }
    assert (callback["status"], callback["fallback"]) == ("failed", False)
    assert callback["cost_usd"] == 0


async def test_refused_content_fails_even_where_fallback_is_allowed(
    remote: Caller, standin: OpenAIStandin
) -> None:
    standin.fail_next("moderation_blocked")
    callback = await remote.run(TO_STORAGE, PHOTO)
    assert callback["status"] == "failed"
    assert callback["error"].startswith("ProviderRefusedContent: ")


async def test_a_failed_delivery_is_repeated_with_the_same_id_and_the_same_bytes(
    remote: Caller,
) -> None:
    remote.receiver.answer_with(reply(500), reply(503), reply(200))
    await remote.post(TO_BASE64, PHOTO)
    attempts = [await remote.receiver.next() for _ in range(3)]
    assert len({attempt.body for attempt in attempts}) == 1
    assert len({attempt.headers["webhook-id"] for attempt in attempts}) == 1


@pytest_asyncio.fixture(loop_scope="package")
async def pictures() -> AsyncIterator[Receiver]:
    """Run a server to fetch images from."""
    async with callback_receiver() as running:
        yield running


async def test_an_image_is_fetched_from_image_url(
    remote: Caller, standin: OpenAIStandin, pictures: Receiver
) -> None:
    pictures.answer_with(reply(body=picture()))
    body = {"prompt": "again", "image_url": pictures.url, "filename": "b.png"}
    callback = await remote.run(TO_BASE64, body)
    assert (callback["status"], callback["provider"]) == ("completed", "openai")
    assert standin.calls[-1].fields["prompt"] == "again"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (reply(404), "ImageFetchFailed: "),
        (reply(body=b'{"status": "ok"}'), "NotAnImage: "),
        (reply(body=bytes(300_001)), "ImageFileTooLarge: "),
        (drop, "ImageFetchFailed: "),
    ],
)
async def test_an_image_that_cannot_be_fetched_fails_the_job_clearly(
    remote: Caller, pictures: Receiver, answer: Answer, error: str
) -> None:
    # aiohttp asks once more if a connection breaks without an answer.
    pictures.answer_with(answer, answer)
    callback = await remote.run(TO_BASE64, {"prompt": "x", "image_url": pictures.url})
    assert callback["status"] == "failed"
    assert callback["error"].startswith(error)


async def test_an_image_at_a_name_that_does_not_exist_fails_the_job_clearly(
    remote: Caller,
) -> None:
    body = {"prompt": "x", "image_url": "http://does-not-exist.invalid/a.png"}
    callback = await remote.run(TO_BASE64, body)
    assert callback["status"] == "failed"
    assert callback["error"].startswith("ImageFetchFailed: ")


async def test_a_mask_that_does_not_fit_a_fetched_image_fails_the_job(
    remote: Caller, pictures: Receiver
) -> None:
    pictures.answer_with(reply(body=picture()))
    mask = as_base64(picture(10, 10, mode="RGBA"))
    body = {"prompt": "x", "image_url": pictures.url, "mask_base64": mask}
    assert (await remote.run(TO_BASE64, body))["error"].startswith("InvalidMask: ")


async def test_a_batch_edits_every_image_of_a_folder_and_counts_exactly(
    remote: Caller, standin: OpenAIStandin
) -> None:
    folder = remote.files / "input" / "trip"
    (folder / "day 1").mkdir(parents=True)
    for name in ("a.png", "b.jpg", "day 1/a.png"):
        kind = "JPEG" if name.endswith("jpg") else "PNG"
        (folder / name).write_bytes(picture(kind=kind))
    (folder / "a.jpg").write_bytes(picture(kind="JPEG"))
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n but no more")
    (folder / "readme.txt").write_bytes(b"hello")
    standin.fail_next("credit_balance_exhausted")
    body = {"prompt": "x", "input_prefix": "trip", "output_prefix": "out", "concurrency": 1}
    callback = await remote.run(BATCH, body)
    job_id = callback["job_id"]
    errors = callback.pop("errors")
    assert callback == {
        "status": "completed_with_errors",
        "job_id": job_id,
        "total_files": 5,
        "processed": 3,
        "failed": 1,
        "fallback_local": 1,
        "total_files_processed": 4,
        "duration_seconds": callback["duration_seconds"],
        "output_bucket": "output",
        "output_prefix": "out/",
        "provider": "openai",
        "fallback": True,
        "fallback_reason": "provider_out_of_credit",
        "cost_usd": 0.102639,
    }
    assert errors[0].startswith("trip/broken.png: CorruptImage: ")
    assert errors[1:] == ["trip/readme.txt: skipped, not an image"]
    root = remote.files / "output" / "out" / job_id
    found = sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
    assert found == [
        "a_modified.png",
        "a_modified_2.png",
        "b_modified.png",
        "day 1/a_modified.png",
        "manifest.csv",
        "manifest.json",
    ]
    manifest = json.loads((root / "manifest.json").read_bytes())
    assert [(row["input_key"], row["state"]) for row in manifest["items"]] == [
        ("trip/a.jpg", "fallback_local"),
        ("trip/a.png", "processed"),
        ("trip/b.jpg", "processed"),
        ("trip/broken.png", "failed"),
        ("trip/day 1/a.png", "processed"),
        ("trip/readme.txt", "skipped"),
    ]


async def test_a_batch_over_an_empty_folder_is_completed_with_zeros(local: Caller) -> None:
    callback = await local.run(BATCH, {"prompt": "x", "input_prefix": "nothing/here"})
    counters = ("total_files", "processed", "failed", "fallback_local", "total_files_processed")
    assert callback["status"] == "completed"
    assert [callback[name] for name in counters] == [0] * 5
    assert callback["errors"] == []


async def test_many_jobs_at_once_all_end_in_exactly_one_callback(remote: Caller) -> None:
    answers = await asyncio.gather(*(remote.post(TO_BASE64, PHOTO) for _ in range(40)))
    accepted = {answer["job_id"] for _, answer in answers}
    called_back = [(await remote.receiver.next()).json["job_id"] for _ in range(40)]
    assert len(accepted) == 40
    assert sorted(called_back) == sorted(accepted)
