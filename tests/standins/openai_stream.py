"""The stream of events that OpenAI's ``/v1/images/edits`` answers with if it is asked to."""

import asyncio
import base64
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web
from PIL import Image, ImageFilter

from standins.openai_wire import FAILURES, USAGE, Call

REQUEST_ID = web.RequestKey("request_id", str)
MID_STREAM = "mid_stream_"
FIRST_EVENT = "first_event_"
BROKEN = b"\x89PNG\r\n\x1a\n and nothing more"

STREAM_TRICKS = (
    *(f"{MID_STREAM}{name}" for name in FAILURES),  # an error event behind the first partial
    *(f"{FIRST_EVENT}{name}" for name in FAILURES),  # an error event, and no other
    "ignores_stream",  # one JSON document, as servers answer that know no streams
    "stream_cut",  # it ends half way through the result, but the connection does not
    "stream_without_result",  # it ends well behind the last partial image
    "bad_partials",  # pictures in the partial events that cannot be decoded
)
"""What else can happen where a stream was asked for."""


class Streams:
    """Answers with streams, whose events tests can hold back."""

    def __init__(self) -> None:
        self._turns: asyncio.Semaphore | None = None  # None: events wait for nothing

    @contextmanager
    def held(self) -> Iterator[None]:
        """Send no event in this block before `let_go` was called for it."""
        self._turns = asyncio.Semaphore(0)
        try:
            yield
        finally:
            self._turns = None

    def let_go(self, events: int = 1) -> None:
        """Let so many events be sent."""
        assert self._turns is not None
        for _ in range(events):
            self._turns.release()

    async def send(
        self, request: web.Request, call: Call, picture: bytes, trick: str | None
    ) -> web.StreamResponse:
        """Answer a call."""
        headers = {"Content-Type": "text/event-stream; charset=utf-8"}
        response = web.StreamResponse(headers=headers | {"x-request-id": request[REQUEST_ID]})
        await response.prepare(request)
        for event in await asyncio.to_thread(stream_of, call, picture, trick):
            if self._turns is not None:
                await self._turns.acquire()
            await response.write(event)
        if trick == "disconnect_mid_answer" and request.transport is not None:
            request.transport.close()
        return response


def stream_of(call: Call, picture: bytes, trick: str | None) -> list[bytes]:
    """Return the events, encoded as the API does."""
    count = int(call.fields.get("partial_images", 0))
    partials = [
        BROKEN if trick in {"bad_partials", "not_an_image"} else _blurred(picture, left)
        for left in range(count, 0, -1)
    ]
    events = [
        _event("image_edit.partial_image", call, partial, partial_image_index=index)
        for index, partial in enumerate(partials)
    ]
    if trick is not None and trick.startswith(MID_STREAM):
        return [*events[:1], _error(trick.removeprefix(MID_STREAM))]
    if trick is not None and trick.startswith(FIRST_EVENT):
        return [_error(trick.removeprefix(FIRST_EVENT))]
    if trick == "stream_without_result":
        return events
    result = _event("image_edit.completed", call, picture, usage=json.loads(USAGE))
    if trick in {"stream_cut", "disconnect_mid_answer"}:
        result = result[: len(result) // 2]
    return [*events, result]


def _blurred(picture: bytes, left: int) -> bytes:
    """Return the picture as it looks while so many more versions of it are to come."""
    with Image.open(io.BytesIO(picture)) as image:
        out = io.BytesIO()
        image.filter(ImageFilter.GaussianBlur(4 * left)).save(out, image.format)
    return out.getvalue()


def _event(name: str, call: Call, picture: bytes, **more: Any) -> bytes:
    settings = {
        field: call.fields.get(field, "auto")
        for field in ("background", "output_format", "quality", "size")
    }
    text = base64.b64encode(picture).decode()
    data = {"type": name, "b64_json": text, "created_at": 1776000000} | settings | more
    return b"event: %b\ndata: %b\n\n" % (name.encode(), json.dumps(data).encode())


def _error(name: str) -> bytes:
    failure = FAILURES[name]
    error = {
        "type": failure.type,
        "code": failure.code,
        "message": failure.message,
        "param": failure.param,
    }
    data = json.dumps({"type": "error", "error": error})
    return b"event: error\ndata: %b\n\n" % data.encode()
