"""A server on loopback that repeats all it is told, in the form of whatever it is taken for.

    async with gossip() as server:
        server.status = 401
        ...  # something calls server.url + "/v1/images/edits"

It is an image API, a storage, a web server with pictures, a receiver of callbacks and a
forward proxy: each of its answers has in it the request's target, headers and body.
"""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

from aiohttp import web

_MOST = 200_000
"""Characters of a body that it repeats."""


@dataclass(kw_only=True, slots=True)
class Gossip:
    """What it was told, and how it answers."""

    url: str = ""
    status: int = 401
    callbacks: asyncio.Queue[bytes] = field(default_factory=asyncio.Queue)  # heads and bodies
    heard: list[str] = field(default_factory=list)  # all it was ever told
    _refused: set[str] = field(default_factory=set)

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        head = "".join(f"{name}: {value}\n" for name, value in request.headers.items())
        told = f"{request.method} {request.raw_path}\n{head}\n{body[:_MOST].decode('latin-1')}"
        self.heard.append(told)
        if "/hook" in request.path:
            return self._receive(request, head, body, told)
        headers = {"x-request-id": _line(request.headers.get("Authorization", "")), "X-Told": "1"}
        if request.path.startswith("/v1"):
            error = {"message": told, "type": told, "code": told, "param": told}
            text = json.dumps({"error": error})
            return web.Response(
                status=self.status, text=text, headers=headers, content_type="application/json"
            )
        if request.path.startswith("/bucket"):
            text = f"<Error><Code>{escape(_line(told))}</Code><Message>{escape(_line(told))}"
            text += f"</Message><StringToSign>{escape(_line(told))}</StringToSign></Error>"
            return web.Response(status=403, text=text, content_type="application/xml")
        return web.Response(status=self.status, text=told, content_type="text/html")

    def _receive(self, request: web.Request, head: str, body: bytes, told: str) -> web.Response:
        """Refuse each callback once, and take it the second time."""
        if (number := request.headers["webhook-id"]) not in self._refused:
            self._refused.add(number)
            return web.Response(status=500, text=told)
        # What is for the proxy is no part of the callback, although it came with it.
        lines = [line for line in head.splitlines() if not line.startswith("Proxy-")]
        self.callbacks.put_nowait("\n".join(lines).encode() + body)
        return web.Response(text=told)


@asynccontextmanager
async def gossip() -> AsyncIterator[Gossip]:
    """Run it on a free port."""
    server = Gossip()
    app = web.Application(client_max_size=1 << 28)
    app.router.add_route("*", "/{tail:.*}", server.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        server.url = f"http://{host}:{port}"
        yield server
    finally:
        await runner.cleanup()


def _line(text: str) -> str:
    return "".join(character for character in text if character.isprintable())


def forms(canary: str) -> set[bytes]:
    """Return how a text may look where it has been passed on: as it is, and within base64."""
    data = canary.encode()
    found = {data, data.hex().encode()}
    for before in range(3):
        # What stands before and behind changes the first and the last characters.
        text = base64.b64encode(bytes(before) + data)
        found.add(text[(before * 8 + 5) // 6 : len(text) - 4])
    return found
