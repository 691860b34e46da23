"""Large files go to S3 in parts, and no part stays behind without its object."""

import asyncio
import os
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from imgsvc.errors import StorageAccessDenied, StorageError
from imgsvc.storage import Storage
from standins.s3 import S3Server
from storage.proxies import Proxy, Time, overloaded, proxied, step

MIB = 1 << 20
BEGIN, PART, COMPLETE = "POST uploads", "PUT partNumber uploadId", "POST uploadId"


@pytest.fixture
async def bucket(s3_server: S3Server) -> str:
    name = f"bucket-{uuid.uuid4().hex}"
    await asyncio.to_thread(s3_server.create_bucket, name)
    return name


@pytest.fixture
async def through_a_proxy(s3_server: S3Server) -> AsyncIterator[tuple[Storage, Proxy]]:
    async with proxied(s3_server, Time().retry()) as both:
        yield both


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a file of three parts, which are as short as the server lets them be."""
    monkeypatch.setattr("imgsvc.storage.s3.PART", 5 * MIB)
    monkeypatch.setattr("imgsvc.storage.s3_upload.PART", 5 * MIB)
    (tmp_path / "file").write_bytes(os.urandom(11 * MIB))
    return tmp_path / "file"


async def uploads(server: S3Server, bucket: str) -> list[Any]:
    """Return the uploads that are neither complete nor aborted."""
    answer = await asyncio.to_thread(server.client.list_multipart_uploads, Bucket=bucket)
    return list(answer.get("Uploads", ()))


async def put(storage: Storage, bucket: str, file: Path) -> None:
    await storage.put_file(bucket, "a.csv", file, content_type="text/csv")


async def test_a_file_of_three_parts_is_sent_in_three(
    through_a_proxy: tuple[Storage, Proxy], s3_server: S3Server, bucket: str, file: Path
) -> None:
    storage, proxy = through_a_proxy
    await put(storage, bucket, file)
    assert proxy.seen == [BEGIN, PART, PART, PART, COMPLETE]
    assert await uploads(s3_server, bucket) == []


async def test_a_part_that_is_refused_ends_the_upload_and_removes_it(
    through_a_proxy: tuple[Storage, Proxy], s3_server: S3Server, bucket: str, file: Path
) -> None:
    storage, proxy = through_a_proxy
    open_then: list[Any] = []

    async def refuse(request: web.Request) -> web.StreamResponse | None:
        if request.query.get("partNumber") != "2":
            return None
        open_then.extend(await uploads(s3_server, bucket))
        return overloaded("AccessDenied", 403)

    proxy.before = refuse
    with pytest.raises(StorageAccessDenied):
        await put(storage, bucket, file)
    assert len(open_then) == 1
    assert await uploads(s3_server, bucket) == []
    assert await storage.stat(bucket, "a.csv") is None


async def test_a_part_that_fails_is_sent_again(
    through_a_proxy: tuple[Storage, Proxy], s3_server: S3Server, bucket: str, file: Path
) -> None:
    storage, proxy = through_a_proxy
    failures = iter([overloaded(), overloaded()])

    async def fail(request: web.Request) -> web.StreamResponse | None:
        return next(failures, None) if request.query.get("partNumber") == "2" else None

    proxy.before = fail
    await put(storage, bucket, file)
    data = await asyncio.to_thread(file.read_bytes)
    assert await storage.get(bucket, "a.csv", max_bytes=len(data)) == data
    assert await uploads(s3_server, bucket) == []


@pytest.mark.parametrize(
    "held", [PART, *(pytest.param(each, marks=pytest.mark.slow) for each in (BEGIN, COMPLETE))]
)
async def test_an_upload_cancelled_at_any_step_is_removed(
    through_a_proxy: tuple[Storage, Proxy],
    s3_server: S3Server,
    bucket: str,
    file: Path,
    held: str,
) -> None:
    storage, proxy = through_a_proxy
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def hold(request: web.Request) -> None:
        if step(request) == held:
            reached.set()
            await go_on.wait()

    if held == BEGIN:  # the server has begun, and only its answer is on the way
        proxy.after = hold
    else:
        proxy.before = hold
    upload = asyncio.create_task(put(storage, bucket, file))
    await reached.wait()
    upload.cancel()
    if held == BEGIN:
        go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await upload
    assert await uploads(s3_server, bucket) == []
    go_on.set()


async def test_an_upload_whose_last_answer_is_lost_has_worked(
    through_a_proxy: tuple[Storage, Proxy], s3_server: S3Server, bucket: str, file: Path
) -> None:
    storage, proxy = through_a_proxy
    failures = iter([overloaded("InternalError", 500)])

    async def lose(request: web.Request) -> web.StreamResponse | None:
        return next(failures, None) if step(request) == COMPLETE else None

    proxy.after = lose
    await put(storage, bucket, file)
    assert proxy.seen.count(COMPLETE) == 2
    assert await storage.stat(bucket, "a.csv") is not None
    assert await uploads(s3_server, bucket) == []


async def test_an_upload_that_someone_else_has_aborted_is_an_error(
    through_a_proxy: tuple[Storage, Proxy], s3_server: S3Server, bucket: str, file: Path
) -> None:
    storage, proxy = through_a_proxy

    async def abort(request: web.Request) -> None:
        if step(request) == COMPLETE:
            await asyncio.to_thread(
                s3_server.client.abort_multipart_upload,
                Bucket=bucket,
                Key="a.csv",
                UploadId=request.query["uploadId"],
            )

    proxy.before = abort
    with pytest.raises(StorageError, match="NoSuchUpload"):
        await put(storage, bucket, file)
    assert await storage.stat(bucket, "a.csv") is None


@pytest.mark.parametrize("checksums", ["when_supported", "when_required"])
async def test_each_part_has_a_checksum(
    s3_server: S3Server, bucket: str, file: Path, checksums: str
) -> None:
    header = {"when_supported": "x-amz-checksum-sha256", "when_required": "Content-MD5"}[checksums]
    seen: list[bool] = []

    async def record(request: web.Request) -> None:
        if "partNumber" in request.query:
            seen.append(header in request.headers)

    async with proxied(s3_server, Time().retry(), checksums=checksums) as (storage, proxy):
        proxy.before = record
        await put(storage, bucket, file)
    assert seen == [True] * 3
