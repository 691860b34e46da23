"""A real receiver of callbacks on loopback, which answers as it is told to.

    async with callback_receiver() as receiver:
        receiver.answer_with(reply(500), hang, reply(200))
        ...  # something calls receiver.url
        first = await receiver.next()

Requests beyond the script get an empty 200.
"""

import asyncio
import json
import ssl
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from aiohttp import web
from multidict import CIMultiDictProxy

Answer: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Received:
    """One request as it came in."""

    method: str
    target: str  # path and query, byte for byte
    headers: CIMultiDictProxy[str]
    body: bytes
    peer_port: int  # the same one means the same connection

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(kw_only=True, slots=True)
class Receiver:
    """What came in, and what is answered."""

    host: str
    port: int
    scheme: str = "http"
    received: list[Received] = field(default_factory=list)
    _arrivals: asyncio.Queue[Received] = field(default_factory=asyncio.Queue)
    _script: deque[Answer] = field(default_factory=deque)

    @property
    def authority(self) -> str:
        """Host and port, as they stand in a URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}/callback"

    def answer_with(self, *answers: Answer) -> None:
        """Answer the next requests so, one after the other."""
        self._script.extend(answers)

    def forget(self) -> None:
        """Begin anew: nothing has come in, and nothing is to be answered but 200."""
        self._script.clear()
        self.received.clear()
        while not self._arrivals.empty():
            self._arrivals.get_nowait()

    async def next(self) -> Received:
        """Wait for the next request that nobody has taken yet, whole with its body."""
        return await self._arrivals.get()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        answer = self._script.popleft() if self._script else reply()
        if answer is refuse_body:
            return await answer(request)
        peer = request.transport.get_extra_info("peername") if request.transport else None
        received = Received(
            method=request.method,
            target=request.raw_path,
            headers=request.headers,
            body=await request.read(),
            peer_port=peer[1] if peer else 0,
        )
        self.received.append(received)
        self._arrivals.put_nowait(received)
        return await answer(request)


@asynccontextmanager
async def callback_receiver(
    *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> AsyncIterator[Receiver]:
    """Yield a receiver that listens on a free port, with TLS if a context is given."""
    receiver = Receiver(host=host, port=0, scheme="https" if tls else "http")
    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{tail:.*}", receiver.handle)
    # Cancelling a handler when its client has gone lets the endless answers end.
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, 0, ssl_context=tls).start()
        receiver.port = runner.addresses[0][1]
        yield receiver
    finally:
        await runner.cleanup()


def reply(status: int = 200, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Answer:
    """Answer with this status, these headers and this body."""

    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, headers=headers, body=body)

    return answer


async def hang(_request: web.Request) -> web.StreamResponse:
    """Never answer."""
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


async def drop(request: web.Request) -> web.StreamResponse:
    """Close the connection instead of answering."""
    if request.transport:
        request.transport.abort()
    return web.Response()


async def drip_headers(request: web.Request) -> web.StreamResponse:
    """Send one header byte after the other, without end."""
    transport = request.transport
    assert transport
    transport.write(b"HTTP/1.1 200 OK\r\nX-Drip: ")
    while not transport.is_closing():
        transport.write(b".")
        await asyncio.sleep(0.02)
    raise ConnectionResetError


async def drip_body(request: web.Request) -> web.StreamResponse:
    """Send a whole head with status 200, and then one body byte after the other, without end."""
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b".")
        await asyncio.sleep(0.02)


async def not_http(request: web.Request) -> web.StreamResponse:
    """Answer with something that is not HTTP, and close."""
    assert request.transport
    request.transport.write(b"220 mail.example ESMTP\r\n")
    request.transport.close()
    return web.Response()


async def refuse_body(_request: web.Request) -> web.StreamResponse:
    """Answer 401 from the headers alone, without reading the body; it is not recorded."""
    return web.Response(status=401, headers={"Connection": "close"})
