"""Receiving a request's body: to disk as it comes in, within limits of size and time."""

import asyncio
from pathlib import Path
from typing import BinaryIO

from aiohttp import web

from imgsvc.errors import BodyAborted, BodyTimeout, BodyTooLarge, UnsupportedMediaType

_CHUNK = 128 * 1024
"""Bytes that are collected before they are written: a hop to a thread costs time too."""


async def receive(request: web.Request, path: Path, *, max_bytes: int, timeout: float) -> None:  # noqa: ASYNC109 - it has an error of its own
    """Write the body of a JSON request to a file.

    Raises UnsupportedMediaType, BodyTooLarge, BodyTimeout or BodyAborted.
    """
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType("Send the body without Content-Encoding.")
    if request.content_type != "application/json":
        raise UnsupportedMediaType(
            "Send the body as JSON, with the header 'Content-Type: application/json'."
        )
    too_large = BodyTooLarge(
        f"The request body has more than {max_bytes:,} bytes. Send a smaller image, or image_url."
    )
    if (request.content_length or 0) > max_bytes:
        raise too_large
    with await asyncio.to_thread(path.open, "wb") as file:
        try:
            async with asyncio.timeout(timeout):
                if await _copy(request, file, max_bytes) > max_bytes:
                    raise too_large
        except TimeoutError as exc:
            raise BodyTimeout from exc
        except ConnectionError as exc:
            raise BodyAborted from exc


async def _copy(request: web.Request, file: BinaryIO, limit: int) -> int:
    """Copy the body until its end, or somewhat further than limit; return its size."""
    size, waiting = 0, bytearray()
    async for chunk in request.content.iter_any():
        waiting += chunk
        size += len(chunk)
        if len(waiting) >= _CHUNK:
            await asyncio.to_thread(file.write, waiting)
            waiting = bytearray()
        if size > limit:
            return size
    await asyncio.to_thread(_finish, file, waiting)
    return size


def _finish(file: BinaryIO, data: bytearray) -> None:
    file.write(data)
    file.flush()  # here and not on close: a full disk must be noticed
