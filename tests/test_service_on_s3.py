"""The whole service on a real S3 server, with an image API, over HTTP and TLS."""

import asyncio
import io
import json
import ssl
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from typing import Any

import aiohttp
import pytest
from PIL import Image

from imgsvc.config import Settings
from imgsvc.web import dry_run
from standins.openai import OpenAIStandin, openai_standin
from standins.pictures import as_base64, picture
from standins.s3 import S3Server
from standins.service import running_service

PHOTO = {"prompt": "x", "image_base64": as_base64(picture()), "filename": "a photo.jpg"}


@pytest.fixture
async def standin() -> AsyncIterator[OpenAIStandin]:
    async with openai_standin() as running:
        yield running


def on_s3(server: S3Server, **more: Any) -> dict[str, Any]:
    """Return settings for a new bucket."""
    bucket = f"b-{uuid.uuid4().hex}"
    server.create_bucket(bucket)
    return {
        "kind": "s3",
        "endpoint": server.endpoint,
        "region": server.region,
        "bucket": bucket,
        "access_key_id": server.access_key,
        "secret_access_key": server.secret_key,
        "ca_file": server.ca_file,
        **more,
    }


def with_api(standin: OpenAIStandin) -> dict[str, Any]:
    return {"api_key": standin.api_key, "base_url": standin.base_url}


async def test_a_result_lands_in_the_bucket_and_its_link_leads_there(
    make_settings: Callable[..., Settings], s3_server: S3Server, standin: OpenAIStandin
) -> None:
    storage = on_s3(s3_server, presign_expires=60)
    settings = make_settings(storage=storage, openai=with_api(standin))
    async with running_service(settings) as caller:
        callback = await caller.run("/process-image-async", PHOTO)
        assert callback["object_key"] == f"results/{callback['job_id']}/a_photo_modified.png"
        assert (callback["expires_in"], callback["provider"]) == (60, "openai")
        async with caller.session.get(callback["result_url"]) as answer:
            assert (answer.status, answer.content_type) == (200, "image/png")
            assert Image.open(io.BytesIO(await answer.read())).size == (64, 48)


async def test_it_works_over_tls_with_a_private_authority(
    make_settings: Callable[..., Settings], s3_tls_server: S3Server, standin: OpenAIStandin
) -> None:
    settings = make_settings(storage=on_s3(s3_tls_server), openai=with_api(standin))
    trust = ssl.create_default_context(cafile=s3_tls_server.ca_file)
    async with running_service(settings) as caller, aiohttp.ClientSession() as session:
        callback = await caller.run("/process-image-async", PHOTO)
        async with session.get(callback["result_url"], ssl=trust) as answer:
            assert answer.status == 200


@pytest.mark.slow
async def test_a_batch_counts_what_is_in_the_bucket_and_is_not_fed_with_earlier_results(
    make_settings: Callable[..., Settings], s3_server: S3Server, standin: OpenAIStandin
) -> None:
    storage = on_s3(s3_server, input_prefix="", output_prefix="done")
    settings = make_settings(storage=storage, openai=with_api(standin))
    bucket = storage["bucket"]

    def put(key: str, data: bytes) -> None:
        s3_server.client.put_object(Bucket=bucket, Key=key, Body=data)

    for key in ("a.png", "a.jpg", "deep/er/b.png", "ünï code+%.png"):
        await asyncio.to_thread(put, key, picture(kind="JPEG" if "jpg" in key else "PNG"))
    await asyncio.to_thread(put, "notes.txt", b"hello")
    await asyncio.to_thread(put, "empty.png", b"")
    async with running_service(settings) as caller:
        await caller.run("/process-image-async", PHOTO)
        standin.fail_next("disconnect")
        first = await caller.run("/batch-process-images", {"prompt": "x", "concurrency": 3})
        elsewhere = {"prompt": "x", "output_prefix": "elsewhere"}
        second = await caller.run("/batch-process-images", elsewhere)
    counters = ("total_files", "processed", "fallback_local", "failed", "total_files_processed")
    assert [first[name] for name in counters] == [5, 3, 1, 1, 4]
    assert [second[name] for name in counters] == [5, 4, 0, 1, 4]
    root = f"done/{first['job_id']}/"
    listing = await asyncio.to_thread(s3_server.client.list_objects_v2, Bucket=bucket, Prefix=root)
    keys = {entry["Key"].removeprefix(root) for entry in listing["Contents"]}
    assert keys == {
        "a_modified.png",
        "a_modified_2.png",
        "deep/er/b_modified.png",
        "n__code_modified.png",
        "manifest.csv",
        "manifest.json",
    }
    manifest = await asyncio.to_thread(
        s3_server.client.get_object, Bucket=bucket, Key=f"{root}manifest.json"
    )
    items = json.loads(manifest["Body"].read())["items"]
    outputs = {item["output_key"].removeprefix(root) for item in items if "output_key" in item}
    assert outputs == keys - {"manifest.csv", "manifest.json"}


async def test_a_batch_takes_what_is_selected_in_the_buckets_that_are_named(
    make_settings: Callable[..., Settings], s3_server: S3Server, standin: OpenAIStandin
) -> None:
    source, target, gone = (f"b-{uuid.uuid4().hex}" for _ in range(3))
    storage = on_s3(s3_server, allow_buckets=[source, target, gone])
    settings = make_settings(storage=storage, openai=with_api(standin))
    client = s3_server.client
    keys = ("input/a.png", "input/b.png", "input/notes.txt", "input/x/c.png", "other/d.png")

    def prepare() -> dict[str, datetime]:
        for name in (source, target):
            s3_server.create_bucket(name)
        for key in keys:
            client.put_object(Bucket=source, Key=key, Body=picture())
        found = client.list_objects_v2(Bucket=source)["Contents"]
        return {entry["Key"]: entry["LastModified"] for entry in found}

    modified = await asyncio.to_thread(prepare)
    newest = max(modified.values())
    buckets = {"input_bucket": source, "output_bucket": target}
    async with running_service(settings) as caller:

        async def selected(**fields: Any) -> set[str]:
            """Do a batch, compare it with its dry run, and return which images it took."""
            body = {"prompt": "x", **buckets, **fields}
            status, plan = await caller.post("/batch-process-images", body | {"dry_run": True})
            assert (status, plan["complete"]) == (200, True)
            done = await caller.run("/batch-process-images", body)
            assert plan["images"] + plan["failed"] == done["total_files"]
            assert done["output_bucket"] == target
            _, result = await caller.get(f"/jobs/{done['job_id']}/result")
            async with caller.session.get(result["result_url"]) as answer:
                manifest = await answer.json(content_type=None)
            rows = {row["input_key"]: row for row in manifest["items"]}
            outputs = {row["output_key"] for row in rows.values() if "output_key" in row}
            root = f"output/{done['job_id']}/"
            listing = await asyncio.to_thread(client.list_objects_v2, Bucket=target, Prefix=root)
            assert {entry["Key"] for entry in listing["Contents"]} == outputs | {
                f"{root}manifest.json",
                f"{root}manifest.csv",
            }
            return {key for key, row in rows.items() if "output_key" in row}

        images = {key for key in keys if key.startswith("input/") and key.endswith(".png")}
        assert await selected() == images
        assert await selected(limit=2) == {"input/a.png", "input/b.png"}
        assert await selected(include=["**/*.png"], exclude=["x/*"]) == images - {"input/x/c.png"}
        since = await selected(since=newest.isoformat())
        assert since == {key for key in images if modified[key] >= newest}
        assert await selected(since=(newest + timedelta(seconds=1)).isoformat()) == set()
        named = await selected(keys=["other/d.png", "input/x/c.png", "input/gone.png"])
        assert named == {"other/d.png", "input/x/c.png"}
        body = {"prompt": "x", "dry_run": True, "input_bucket": gone}
        status, problem = await caller.post("/batch-process-images", body)
        assert (status, problem["code"]) == (502, "bucket_not_found")


@pytest.mark.parametrize("retry_seconds", [0, 60])
async def test_a_dry_run_without_a_storage_is_a_problem_document(
    make_settings: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
    s3_server: S3Server,
    retry_seconds: int,
) -> None:
    storage = on_s3(s3_server, endpoint="http://127.0.0.1:9", retry_seconds=retry_seconds)
    async with running_service(make_settings(storage=storage)) as caller:
        for selection, limit in (({}, "FIRST_ANSWER"), ({"keys": ["a.png"]}, "TIME_LIMIT")):
            monkeypatch.setattr(dry_run, limit, 0.5)
            body = {"prompt": "x", "dry_run": True, **selection}
            status, answer = await caller.post("/batch-process-images", body)
            assert (status, answer["code"]) == (502, "storage_unreachable")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"bucket": "not-there"}, "BucketNotFound: "),
        ({"secret_access_key": "wrong"}, "StorageAccessDenied: "),
        ({"endpoint": "http://127.0.0.1:1", "retry_seconds": 0}, "StorageUnreachable: "),
    ],
)
@pytest.mark.parametrize(
    ("path", "body"),
    [("/process-image-async", PHOTO), ("/batch-process-images", {"prompt": "x"})],
)
async def test_trouble_with_the_bucket_fails_the_job_in_plain_words(
    make_settings: Callable[..., Settings],
    s3_server: S3Server,
    change: dict[str, Any],
    error: str,
    path: str,
    body: dict[str, Any],
) -> None:
    storage = on_s3(s3_server) | change
    async with running_service(make_settings(storage=storage)) as caller:
        callback = await caller.run(path, body)
    assert callback["status"] == "failed"
    assert callback["error"].startswith(error)
    if "batch" in path:
        assert callback["total_files"] == callback["failed"] == 0
