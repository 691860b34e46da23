"""Bytes on a socket, for requests that no HTTP client would send."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from yarl import URL


@asynccontextmanager
async def connection(url: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect to the server at this URL."""
    parts = URL(url)
    reader, writer = await asyncio.open_connection(parts.host, parts.port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def until_closed(reader: asyncio.StreamReader) -> bytes:
    """Return all that the server sends until it closes the connection."""
    received = b""
    try:
        while more := await reader.read(65536):
            received += more
    except ConnectionResetError:
        pass  # closed while something of ours was on its way: what came before counts
    return received
