"""A real proxy in front of the S3 server, which tests can tell to fail."""

import io
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer
from multidict import CIMultiDict
from yarl import URL

from imgsvc.storage import S3Config, Storage
from imgsvc.storage.s3 import S3Storage
from imgsvc.storage.s3_client import connect
from imgsvc.storage.s3_retry import Retry
from standins.s3 import S3Server

BUCKET = "pictures"

Hook: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse | None]]


async def _nothing(_: web.Request) -> None:
    return None


def overloaded(code: str = "SlowDown", status: int = 503) -> web.Response:
    text = f"<Error><Code>{code}</Code><Message>later</Message></Error>"
    return web.Response(status=status, text=text, content_type="application/xml")


def step(request: web.Request) -> str:
    """Return what is asked for: the method and the names in the query, `PUT` say."""
    return " ".join([request.method, *sorted(request.query)])


@dataclass(kw_only=True)
class Time:
    """A clock that only waiting moves on."""

    now: float = 0.0
    waits: list[float] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds

    def retry(self, seconds: float = 60, random: float = 1.0) -> Retry:
        return Retry(
            seconds=seconds, clock=lambda: self.now, sleep=self.sleep, random=lambda: random
        )


@dataclass(kw_only=True)
class Proxy:
    """`before` may answer in place of the server, `after` once the server has answered."""

    target: str
    before: Hook = _nothing
    after: Hook = _nothing
    seen: list[str] = field(default_factory=list)  # the steps that were asked for

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(step(request))
        body = await request.read()
        if (answer := await self.before(request)) is not None:
            return answer
        headers = CIMultiDict(request.headers)
        headers.pop("Expect", None)  # what is signed, Host too, goes on unchanged
        url = URL(self.target + request.raw_path, encoded=True)
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.request(
                request.method, url, headers=headers, data=io.BytesIO(body)
            ) as response,
        ):
            content = await response.read()
            passed = CIMultiDict(response.headers)
        if (answer := await self.after(request)) is not None:
            return answer
        passed.pop("Transfer-Encoding", None)
        if request.method != "HEAD":
            passed["Content-Length"] = str(len(content))
        return web.Response(status=response.status, body=content, headers=passed)


@asynccontextmanager
async def proxied(
    server: S3Server, retry: Retry, *, checksums: str = "when_supported"
) -> AsyncIterator[tuple[Storage, Proxy]]:
    """Yield a storage and the proxy that it reaches the server through."""
    proxy = Proxy(target=server.endpoint)
    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{path:.*}", proxy.handle)
    async with TestServer(app) as running:
        config = S3Config.model_validate(
            {
                "endpoint": str(running.make_url("")),
                "region": server.region,
                "bucket": BUCKET,
                "access_key_id": server.access_key,
                "secret_access_key": server.secret_key,
                "checksums": checksums,
            }
        )
        async with connect(config) as client:
            storage = S3Storage(
                client=client, endpoint=config.endpoint, checksums=config.checksums, retry=retry
            )
            yield storage, proxy
