"""Receiving a request's body: to disk as it comes in, within limits of size and time."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, BinaryIO

from aiohttp import HttpVersion11, web

from imgsvc.errors import (
    BodyAborted,
    BodyTimeout,
    BodyTooLarge,
    UnsupportedMediaType,
)
from imgsvc.web.strict_json import check_controls, check_structure, read_json
from imgsvc.web.validation import wrong_field

SMALL = 16 * 1024
"""Bytes of the largest body that is read in this process."""

_CHUNK = 128 * 1024
"""Bytes that are collected before they are written: a hop to a thread costs time too."""


async def wait_with_body(request: web.Request) -> None:
    """Handle the header `Expect`: whoever waits for a 100 gets it when the body is wanted.

    Where none is taken that is never. Raises HTTPExpectationFailed if it asks for something else.
    """
    if [value.lower() for value in request.headers.getall("Expect")] != ["100-continue"]:
        raise web.HTTPExpectationFailed


def check_head(request: web.Request, *, max_bytes: int) -> None:
    """Raise UnsupportedMediaType or BodyTooLarge if the body need not come at all."""
    encodings = request.headers.getall("Content-Encoding", ["identity"])
    if any(encoding.lower() != "identity" for encoding in encodings):
        raise UnsupportedMediaType("Send the body without Content-Encoding.")
    if request.content_type != "application/json":
        raise UnsupportedMediaType(
            "Send the body as JSON, with the header 'Content-Type: application/json'."
        )
    if (request.content_length or 0) > max_bytes:
        raise _too_large(max_bytes)


async def receive(
    request: web.Request,
    path: Path,
    *,
    max_bytes: int,
    timeout: float,  # noqa: ASYNC109 - it has an error of its own
    take: Callable[[int], None],
) -> None:
    """Write the body of a JSON request to a file; `take` counts each piece of it first.

    The head has passed `check_head`. Raises BodyTooLarge, BodyTimeout, BodyAborted or what
    `take` raises.
    """
    await _ask_for_body(request)
    with await asyncio.to_thread(path.open, "wb") as file:
        async with _arriving(timeout):
            if await _copy(request, file, max_bytes, take) > max_bytes:
                raise _too_large(max_bytes)


async def read_small_object(request: web.Request, *, timeout: float) -> dict[str, Any]:  # noqa: ASYNC109 - as above
    """Return the fields of a small JSON body.

    Raises UnsupportedMediaType, BodyTooLarge, BodyTimeout, BodyAborted, InvalidJson,
    ControlCharacter, or InvalidRequest for what is no object.
    """
    check_head(request, max_bytes=SMALL)
    await _ask_for_body(request)
    data = bytearray()
    async with _arriving(timeout):
        async for chunk in request.content.iter_any():
            data += chunk
            if len(data) > SMALL:
                raise _too_large(SMALL)
    fields = read_json(bytes(data))
    if not isinstance(fields, dict):
        raise wrong_field("body", "must be a JSON object")
    check_structure(fields, bytes(data))
    check_controls(fields)
    return fields


@asynccontextmanager
async def _arriving(timeout: float) -> AsyncIterator[None]:  # noqa: ASYNC109 - as above
    """Say what has become of a body that does not arrive whole, or not in time."""
    try:
        async with asyncio.timeout(timeout):
            yield
    except TimeoutError as exc:
        raise BodyTimeout from exc
    except ConnectionError as exc:
        raise BodyAborted from exc


async def _ask_for_body(request: web.Request) -> None:
    if "Expect" in request.headers and request.version >= HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # it is no part of the answer


def _too_large(max_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(
        f"The request body has more than {max_bytes:,} bytes. Send less: in place of a large image,"
        " image_url."
    )


async def _copy(
    request: web.Request, file: BinaryIO, limit: int, take: Callable[[int], None]
) -> int:
    """Copy the body until its end, or somewhat further than limit; return its size."""
    size, waiting = 0, bytearray()
    async for chunk in request.content.iter_any():
        take(len(chunk))
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
