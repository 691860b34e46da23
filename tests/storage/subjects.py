"""Each storage, ready to be tried, with a way to fetch what its links lead to."""

import asyncio
import ssl
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from imgsvc.errors import ImgsvcError
from imgsvc.signing_keys import load_signing_key
from imgsvc.storage import FilesystemConfig, FilesystemStorage, ObjectStat, S3Config, Storage
from imgsvc.storage.filesystem import content_type
from imgsvc.storage.links import LinkSigner
from standins.s3 import S3Server

LIMIT = 32 << 20  # bytes that an object is read with


@dataclass(frozen=True, kw_only=True)
class Subject:
    storage: Storage
    bucket: str
    tls: ssl.SSLContext | bool
    # a link that worked for a minute, an hour ago
    expired_link: Callable[[str], Awaitable[str]]

    async def put(self, key: str, data: bytes = b"data", **metadata: str) -> None:
        await self.storage.put(self.bucket, key, data, content_type="image/png", metadata=metadata)

    async def get(self, key: str) -> bytes:
        return await self.storage.get(self.bucket, key, max_bytes=LIMIT)

    async def stat(self, key: str) -> ObjectStat | None:
        return await self.storage.stat(self.bucket, key)

    async def keys(self, prefix: str, after: str | None = None) -> list[str]:
        return [info.key async for info in self.storage.list(self.bucket, prefix, after=after)]

    async def fetch(self, url: str) -> tuple[int, str, bytes]:
        async with aiohttp.ClientSession() as session, session.get(url, ssl=self.tls) as answer:
            return answer.status, answer.content_type, await answer.read()


@asynccontextmanager
async def filesystem_subject(folder: Path) -> AsyncIterator[Subject]:
    async def serve(request: web.Request) -> web.StreamResponse:
        try:
            path = await storages[0].verify_link(
                request.match_info["bucket"],
                request.match_info["key"],
                expires=request.query.get("expires", ""),
                signature=request.query.get("signature", ""),
            )
        except ImgsvcError as exc:
            return web.Response(status=exc.status)
        return web.FileResponse(path, headers={"Content-Type": content_type(path)})

    storages: list[FilesystemStorage] = []
    app = web.Application()
    app.router.add_get("/files/{bucket}/{key:.+}", serve)
    async with TestServer(app) as server:
        base_url = str(server.make_url(""))
        config = FilesystemConfig(folder=folder / "buckets", output_bucket="results")
        async with config.open(data_dir=folder, base_url=base_url) as storage:
            storages.append(storage)
            key_file = folder / "link-signing.key"
            an_hour_ago = LinkSigner(
                signing_key=await asyncio.to_thread(load_signing_key, key_file),
                base_url=base_url,
                clock=lambda: time.time() - 3600,
            )

            async def expired_link(key: str) -> str:
                return an_hour_ago.url("results", key, expires_in=60)

            yield Subject(storage=storage, bucket="results", tls=True, expired_link=expired_link)


@asynccontextmanager
async def s3_storage(server: S3Server, checksums: str) -> AsyncIterator[Storage]:
    config = S3Config.model_validate(
        {
            "endpoint": server.endpoint,
            "region": server.region,
            "bucket": "default-bucket",
            "access_key_id": server.access_key,
            "secret_access_key": server.secret_key,
            "checksums": checksums,
            "ca_file": server.ca_file,
        }
    )
    async with config.open(data_dir=Path("unused"), base_url="http://unused") as storage:
        yield storage


async def s3_subject(
    server: S3Server, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> Subject:
    bucket = f"bucket-{uuid.uuid4().hex}"
    await asyncio.to_thread(server.create_bucket, bucket)

    async def expired_link(key: str) -> str:
        def an_hour_ago(**_: Any) -> datetime:
            return datetime.now(UTC).replace(tzinfo=None) - timedelta(hours=1)

        with monkeypatch.context() as patch:
            patch.setattr("botocore.auth.get_current_datetime", an_hour_ago)
            return await storage.presign(bucket, key, expires_in=60)

    tls = ssl.create_default_context(cafile=server.ca_file) if server.ca_file else True
    return Subject(storage=storage, bucket=bucket, tls=tls, expired_link=expired_link)


class Clients:
    """One S3 client for each way to connect, opened when first asked for."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self._open: dict[tuple[str, str], Storage] = {}

    async def get(self, server: S3Server, checksums: str) -> Storage:
        way = (server.endpoint, checksums)
        if way not in self._open:
            context = s3_storage(server, checksums)
            self._open[way] = await self._stack.enter_async_context(context)
        return self._open[way]
