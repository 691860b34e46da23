"""A real forward proxy on loopback, which counts what goes through it.

    async with forward_proxy({"hooks.example": receiver.port}) as proxy:
        ...  # something calls http://hooks.example/ by way of proxy.url
        assert proxy.asked == ["GET http://hooks.example/"]

It alone knows where the names lead: to ports of 127.0.0.1. Others get a 502.
"""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

_HOP_BY_HOP = re.compile(rb"(?im)^(?:proxy-authorization|connection):.*\r\n")


@dataclass(kw_only=True, slots=True)
class ForwardProxy:
    """What it was asked for, and how it answers."""

    ports: Mapping[str, int]  # where the names lead
    port: int = 0
    scheme: str = "http"
    refuses: int | None = None  # the status to answer with, whatever is asked for
    asked: list[str] = field(default_factory=list)  # method and target, as they came in
    heads: list[bytes] = field(default_factory=list)  # the same with the headers

    @property
    def authority(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take one request of a connection, and pass on all that follows it."""
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._serve(reader, writer)
        finally:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        line, _, headers = head.partition(b"\r\n")
        method, target, _ = line.decode().split(" ")
        self.heads.append(head)
        self.asked.append(f"{method} {target}")
        tunnel = method == "CONNECT"
        parts = urlsplit(f"//{target}" if tunnel else target)
        port = self.ports.get(parts.hostname or "")
        status = self.refuses or (502 if port is None else 200)
        if status != 200:
            writer.write(f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n".encode())
            await writer.drain()
            return
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        if tunnel:
            writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        else:
            path = target.partition("://")[2].partition("/")[2]
            far_writer.write(f"{method} /{path} HTTP/1.1\r\nConnection: close\r\n".encode())
            far_writer.write(_HOP_BY_HOP.sub(b"", headers))
        there = asyncio.create_task(_pass_on(reader, far_writer))
        try:
            await _pass_on(far_reader, writer)
        finally:
            there.cancel()
            far_writer.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(64 * 1024):
        writer.write(piece)
        await writer.drain()


@asynccontextmanager
async def forward_proxy(
    ports: Mapping[str, int], *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[ForwardProxy]:
    """Yield a proxy on a free port, with TLS if a context is given."""
    proxy = ForwardProxy(ports=ports, scheme="https" if tls else "http")
    connections: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(proxy.serve(reader, writer))
        connections.add(task)
        task.add_done_callback(connections.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    try:
        proxy.port = server.sockets[0].getsockname()[1]
        yield proxy
    finally:
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        await server.wait_closed()
