"""What stand-ins of image servers have in common: what they were asked, and how they fail."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web
from aiohttp.typedefs import Handler

TRICKS = (
    "hang",  # no answer at all
    "disconnect",  # the connection ends before an answer
    "disconnect_mid_answer",  # the connection ends half way through the picture
    "web_page",  # 200 with a web page
    "redirect",  # 307 to another place
    "not_an_image",  # something else where the picture should be
    "cut_short",  # a picture without its end
    "empty",  # no picture
)
"""What goes wrong without an error answer of the server."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """One error answer of the server."""

    status: int
    body: str
    content_type: str = "application/json"
    headers: Mapping[str, str] | None = None


class Refused(Exception):
    """Carries an error answer to the place that gives it."""

    def __init__(self, failure: Failure) -> None:
        self.failure = failure


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """One edit as it was asked for."""

    prompt: str
    picture: bytes
    mask: bytes | None
    fields: Mapping[str, object]  # all else of the body
    headers: Mapping[str, str]


class FaultyServer:
    """The part of a stand-in that notes calls and fails them as planned."""

    failures: Mapping[str, Failure] = {}  # by the name given to fail_next

    def __init__(self) -> None:
        self.url = ""
        self.answer: bytes | None = None  # the picture to answer with; None edits the one sent
        self.calls: list[Call] = []
        self.paths: list[str] = []
        self.arrived = asyncio.Event()  # set with every call
        self.given_up = asyncio.Event()  # set when a client does not wait for its answer
        self._planned: deque[str] = deque()
        self._always: str | None = None
        self._closing = asyncio.Event()

    def fail_next(self, name: str) -> None:
        """Fail the next edit with one of failures or TRICKS."""
        self._planned.append(self._known(name))

    def fail_always(self, name: str | None) -> None:
        """Fail every edit from now on; None mends it."""
        self._always = name if name is None else self._known(name)

    def _known(self, name: str) -> str:
        if name not in self.failures and name not in TRICKS:
            raise ValueError(name)
        return name

    def note(self, call: Call) -> str | None:
        """Note a call, and return how it shall fail."""
        self.calls.append(call)
        self.arrived.set()
        return self._planned.popleft() if self._planned else self._always

    def picture(self, trick: str | None, edited: bytes) -> bytes:
        """Return the picture to answer with."""
        picture = edited if self.answer is None else self.answer
        if trick == "not_an_image":
            return b"%PDF-1.7 no picture" * 9
        return picture[: len(picture) // 2] if trick == "cut_short" else picture

    async def respond(
        self, request: web.Request, trick: str | None, body: bytes, content_type: str
    ) -> web.StreamResponse:
        """Answer an edit with this body, or fail."""
        if trick == "hang":
            await self._closing.wait()
        if trick in {"hang", "disconnect"} and request.transport is not None:
            request.transport.abort()
        if trick == "redirect":
            raise web.HTTPTemporaryRedirect("/elsewhere")
        if trick == "web_page":
            return web.Response(text="<html>Welcome</html>", content_type="text/html")
        if trick is not None and trick in self.failures:
            raise Refused(self.failures[trick])
        if trick != "disconnect_mid_answer":
            return web.Response(body=body, content_type=content_type)
        response = web.StreamResponse(headers={"Content-Type": content_type})
        response.content_length = len(body)
        await response.prepare(request)
        await response.write(body[: len(body) // 2])
        assert request.transport is not None
        request.transport.close()
        return response

    @web.middleware
    async def front(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Note the path, answer refusals, and as FastAPI does where there is no route."""
        self.paths.append(request.path)
        try:
            return await handler(request)
        except Refused as refusal:
            return _error(refusal.failure)
        except web.HTTPNotFound:
            return _error(Failure(status=404, body='{"detail":"Not Found"}'))
        except asyncio.CancelledError:
            self.given_up.set()
            raise

    @asynccontextmanager
    async def serving(self, routes: list[web.RouteDef], port: int = 0) -> AsyncIterator[None]:
        """Serve the routes on loopback; port 0 takes a free one."""
        app = web.Application(client_max_size=2**27, middlewares=[self.front])
        app.add_routes(routes)
        runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", port).start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield
        finally:
            self._closing.set()
            await runner.cleanup()


def _error(failure: Failure) -> web.Response:
    return web.Response(
        status=failure.status,
        text=failure.body,
        content_type=failure.content_type,
        headers=failure.headers,
    )
