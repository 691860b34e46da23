"""A local image API that speaks OpenAI's ``/v1/images/edits`` and ``/v1/moderations``.

As strict as the real one, and able to fail in every way the real one does. It really
edits: the answer is the picture mirrored.

    async with openai_standin() as standin:
        standin.fail_next("insufficient_quota")
        AsyncOpenAI(base_url=standin.base_url, api_key=standin.api_key)

As a program, for demos and benchmarks: ``python tests/standins/openai.py --port 8081``.
"""

import argparse
import asyncio
import hashlib
import signal
import sys
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import BodyPartReader, web
from aiohttp.typedefs import Handler

if __name__ == "__main__":
    # This file's own folder would hide the package `openai` and knows no `standins`.
    sys.path[0] = str(Path(__file__).parents[1])

from standins.moderation_wire import check_question, judgement
from standins.openai_dialects import OPENAI, Dialect, invert_masked
from standins.openai_stream import REQUEST_ID, STREAM_TRICKS, Streams
from standins.openai_wire import (
    API_KEY,
    FAILURES,
    FILES,
    MAX_IMAGE_BYTES,
    TRICKS,
    Call,
    Failure,
    Refused,
    Upload,
    answer_body,
    check_call,
    mirror,
    refused,
)


class OpenAIStandin:
    """The running stand-in: what it was asked, and how it shall behave."""

    def __init__(
        self,
        *,
        api_key: str,
        latency: float,
        answer: bytes | None,
        remember: int | None,
        dialect: Dialect,
    ) -> None:
        self.api_key = api_key
        self.dialect = dialect
        self.latency = latency  # seconds every edit takes
        self.answer = answer  # the picture to answer with; None mirrors the one sent
        self.base_url = ""
        self.calls: deque[Call] = deque(maxlen=remember)
        self.paths: list[str] = []
        self.arrived = asyncio.Event()  # set with every call
        self.answering = asyncio.Event()  # while it is cleared, edits wait
        self.answering.set()
        self.streams = Streams()
        self.given_up = asyncio.Event()  # set when a client does not wait for its answer
        self.objections: tuple[str, ...] = ()  # what moderation flags in every text
        self.questions: list[dict[str, Any]] = []  # what moderation was asked
        self.asked = asyncio.Event()  # set with every question
        self._planned: deque[str | None] = deque()  # None works
        self._always: str | None = None
        self._moderation: str | None = None
        self._edits: dict[bytes, bytes] = {}
        self._closing = asyncio.Event()

    @property
    def environment(self) -> dict[str, str]:
        """The variables that make a server ask it."""
        return {"OPENAI_API_KEY": self.api_key, "OPENAI_BASE_URL": self.base_url}

    def fail_next(self, name: str, *, times: int = 1) -> None:
        """Fail the next calls with one of FAILURES, TRICKS or STREAM_TRICKS."""
        self._planned.extend([_known(name)] * times)

    def fail_always(self, name: str | None) -> None:
        """Fail every call from now on; None mends it."""
        self._always = name if name is None else _known(name)

    def fail_after(self, calls: int, name: str) -> None:
        """Let so many calls work, and fail every one after them."""
        self._planned.extend([None] * calls)
        self.fail_always(name)

    def fail_moderation(self, name: str | None) -> None:
        """Fail every question to moderation from now on; None mends it."""
        self._moderation = name if name is None else _known(name)

    def close(self) -> None:
        self._closing.set()

    @web.middleware
    async def front(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Check the key, answer refusals, and put the API's own headers on every answer."""
        started = time.monotonic()
        self.paths.append(request.path)
        request_id = request[REQUEST_ID] = f"req_{len(self.paths):032x}"
        try:
            self._check_head(request)
            response = await handler(request)
        except Refused as refusal:
            response = _error(refusal.failure)
        if not response.prepared:
            response.headers["x-request-id"] = request_id
            response.headers["openai-processing-ms"] = str(int(1000 * (time.monotonic() - started)))
        return response

    def _check_head(self, request: web.Request) -> None:
        key = request.headers.get(self.dialect.header)
        if key != f"{self.dialect.key_prefix}{self.api_key}":
            raise Refused(FAILURES["invalid_api_key"])
        if dict(request.query) != self.dialect.query:
            raise Refused(Failure(status=404, code="404", message="Resource not found"))

    async def edits(self, request: web.Request) -> web.StreamResponse:
        """``POST /v1/images/edits``."""
        call = await _read_call(request, self.dialect)
        if request.match_info.get("model", call.fields["model"]) != call.fields["model"]:
            raise Refused(Failure(status=404, code="DeploymentNotFound"))
        self.calls.append(call)
        self.arrived.set()
        try:
            await self.answering.wait()
            await asyncio.sleep(self.latency)
            name = self._planned.popleft() if self._planned else self._always
            if name in FAILURES:
                raise Refused(FAILURES[name])
            return await self._answer(request, call, name)
        except asyncio.CancelledError:
            self.given_up.set()
            raise

    async def moderations(self, request: web.Request) -> web.StreamResponse:
        """``POST /v1/moderations``."""
        question = await request.json()
        self.questions.append(question)
        self.asked.set()
        check_question(question)
        if self._moderation in FAILURES:
            raise Refused(FAILURES[self._moderation])
        if (trick := await self._trick(request, self._moderation)) is not None:
            return trick
        return web.json_response(judgement(self.objections))

    async def model(self, request: web.Request) -> web.Response:
        """``GET /v1/models/{model}``."""
        model = request.match_info["model"]
        if self._always in FAILURES:
            raise Refused(FAILURES[self._always])
        if self._always == "web_page":
            return web.Response(text="<html></html>", content_type="text/html")
        if model not in self.dialect.offered:
            raise Refused(FAILURES["model_not_found"])
        return web.json_response(_description(model))

    async def models(self, _request: web.Request) -> web.Response:
        """``GET /v1/models``."""
        names = self.dialect.listed or self.dialect.offered
        return web.json_response({"object": "list", "data": [_description(n) for n in names]})

    async def _trick(self, request: web.Request, trick: str | None) -> web.Response | None:
        """Do what goes wrong before there is an answer of the API, or return None."""
        if trick == "hang":
            await self._closing.wait()
        if trick in {"hang", "disconnect"} and request.transport is not None:
            request.transport.abort()
        if trick == "gateway_html":
            return web.Response(status=502, text="<html>Bad gateway", content_type="text/html")
        if trick == "redirect":
            raise web.HTTPTemporaryRedirect("/elsewhere")
        if trick == "web_page":
            return web.Response(text="<html>Welcome</html>", content_type="text/html")
        return None

    async def _answer(
        self, request: web.Request, call: Call, trick: str | None
    ) -> web.StreamResponse:
        if (tricked := await self._trick(request, trick)) is not None:
            return tricked
        picture = b"%PDF-1.7 no picture" * 9 if trick == "not_an_image" else await self._edit(call)
        if call.fields.get("stream") == "true" and trick != "ignores_stream":
            return await self.streams.send(request, call, picture, trick)
        body = answer_body(call, picture, trick, with_usage=self.dialect.usage)
        if trick == "disconnect_mid_answer":
            return await _break_off(request, body)
        return web.Response(body=body, content_type="application/json")

    async def _edit(self, call: Call) -> bytes:
        if self.answer is not None:
            return self.answer
        asked = call.fields.get("output_format", self.dialect.formats[0])
        output_format = self.dialect.only_format or asked
        if call.mask is not None:
            images = call.image.data, call.mask.data
            edits = self.dialect.mask_edits
            return await asyncio.to_thread(invert_masked, *images, edits, output_format)
        size = call.fields.get("size", "auto")
        key = hashlib.sha256(call.image.data + f"{output_format} {size}".encode()).digest()
        if key not in self._edits:
            self._edits[key] = await asyncio.to_thread(mirror, call.image.data, output_format, size)
        return self._edits[key]


def _known(name: str) -> str:
    if name not in {*FAILURES, *TRICKS, *STREAM_TRICKS}:
        raise ValueError(name)
    return name


def _error(failure: Failure) -> web.Response:
    error = {
        "message": failure.message,
        "type": failure.type,
        "param": failure.param,
        "code": failure.code,
        **failure.details,
    }
    return web.json_response({"error": error}, status=failure.status, headers=failure.headers)


def _description(model: str) -> dict[str, object]:
    return {"id": model, "object": "model", "created": 1776000000, "owned_by": "system"}


async def _read_call(request: web.Request, dialect: Dialect) -> Call:
    fields: dict[str, str] = {}
    uploads: dict[str, Upload] = {}
    async for part in await request.multipart():
        assert isinstance(part, BodyPartReader)
        name = (part.name or "").removesuffix("[]")
        if name not in dialect.parameters or (
            name == "image" and part.name not in dialect.image_fields
        ):
            raise refused("unknown_parameter", part.name or "")
        data = bytes(await part.read())
        if name in FILES:
            content_type = part.headers.get("Content-Type", "application/octet-stream")
            uploads[name] = Upload(
                filename=part.filename or "", content_type=content_type, data=data
            )
        else:
            fields[name] = data.decode()
    if "image" not in uploads:
        raise refused("missing_required_parameter", "image")
    call = Call(
        fields=fields,
        image=uploads["image"],
        mask=uploads.get("mask"),
        headers=dict(request.headers),
    )
    check_call(call, dialect.offered, "L" if dialect.mask_edits == "white" else "A")
    if fields.get("output_format", dialect.formats[0]) not in dialect.formats:
        raise refused("invalid_value", "output_format")
    return call


async def _break_off(request: web.Request, body: bytes) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    response.content_length = len(body)
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    assert request.transport is not None
    request.transport.close()
    return response


@asynccontextmanager
async def openai_standin(
    *,
    latency: float = 0.0,
    port: int = 0,
    api_key: str = API_KEY,
    answer: bytes | None = None,
    remember: int | None = None,
    dialect: Dialect = OPENAI,
) -> AsyncIterator[OpenAIStandin]:
    """Run the stand-in on loopback; port 0 takes a free one.

    `remember` bounds how many calls it keeps, pictures and all; None keeps every one.
    """
    standin = OpenAIStandin(
        api_key=api_key, latency=latency, answer=answer, remember=remember, dialect=dialect
    )
    app = web.Application(client_max_size=2 * MAX_IMAGE_BYTES, middlewares=[standin.front])
    app.router.add_post(dialect.edits, standin.edits)
    app.router.add_get(dialect.models, standin.models)
    if not dialect.lists_only:
        app.router.add_get(dialect.models + "/{model:.+}", standin.model)
    app.router.add_post("/v1/moderations", standin.moderations)
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        standin.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}{dialect.base}"
        yield standin
    finally:
        standin.close()
        await runner.cleanup()


async def _serve(args: argparse.Namespace) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    answer = args.answer and args.answer.read_bytes()
    async with openai_standin(
        latency=args.latency, port=args.port, api_key=args.key, answer=answer, remember=0
    ) as standin:
        standin.fail_always(args.fail)
        sys.stdout.write(f"{standin.base_url}\n")
        sys.stdout.flush()
        await stop.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description="A local stand-in for OpenAI's image edits.")
    parser.add_argument("--port", type=int, default=0, help="TCP port; a free one by default")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds every edit takes")
    parser.add_argument(
        "--key", default=API_KEY, help="the API key to accept (default: %(default)s)"
    )
    parser.add_argument("--answer", type=Path, help="answer every edit with this picture")
    parser.add_argument("--fail", choices=(*FAILURES, *TRICKS), help="fail every edit this way")
    asyncio.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()
