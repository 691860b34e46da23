"""The two ends of the demo: a server in a process of its own, and a callback receiver."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web

from imgsvc.config import ALIASES, PREFIX
from imgsvc.errors import ImgsvcError

START_TIMEOUT = 30.0  # seconds
STOP_TIMEOUT = 10.0

MODEL, QUALITY = "gpt-image-2", "medium"
"""What an image API edits with, whatever is configured: the price told is that of these."""


class DemoFailed(ImgsvcError):
    """The demo did not work."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """A running server."""

    url: str
    pid: int
    provider: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Receiver:
    """A running callback receiver."""

    url: str
    callbacks: asyncio.Queue[dict[str, Any]] = field(default_factory=asyncio.Queue)

    async def next(self) -> dict[str, Any]:
        """Wait for the next callback and return its body."""
        return await self.callbacks.get()


@asynccontextmanager
async def callback_receiver() -> AsyncIterator[Receiver]:
    """Yield a receiver on a free loopback port."""
    app = web.Application(client_max_size=2**30)
    runner = web.AppRunner(app, access_log=None)
    queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def receive(request: web.Request) -> web.Response:
        queue.put_nowait(orjson.loads(await request.read()))
        return web.Response(status=204)

    app.router.add_post("/callback", receive)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        yield Receiver(url=f"http://{host}:{port}/callback", callbacks=queue)
    finally:
        await runner.cleanup()


@asynccontextmanager
async def demo_server(data_dir: Path, *, keep: bool) -> AsyncIterator[Server]:
    """Start `python -m imgsvc` on a free loopback port; end it unless it is to be kept.

    Raises DemoFailed if it does not come up.
    """
    log_path = data_dir / "server.log"
    with log_path.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "imgsvc",
            "serve",
            env=_environment(data_dir),
            stdout=log,
            stderr=log,
            stdin=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the demo, which then ends the server
        )
    worked = False
    try:
        line = await _wait_for_start(process, log_path)
        yield Server(url=line["listening"], pid=process.pid, provider=line["provider"])
        worked = True
    finally:
        if not (keep and worked) and process.returncode is None:
            await _stop(process)


def _environment(data_dir: Path) -> dict[str, str]:
    """Return our environment with nothing configured but the image API."""
    ours = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(("OPENAI_", f"{PREFIX}OPENAI_"))
        or not (name in ALIASES or name.startswith((PREFIX, "COS_")))
    }
    empty = data_dir / "imgsvc.toml"
    empty.touch()
    return ours | {
        f"{PREFIX}CONFIG": str(empty),  # not a file that happens to lie in this folder
        f"{PREFIX}DATA_DIR": str(data_dir),
        f"{PREFIX}SERVER__HOST": "127.0.0.1",
        f"{PREFIX}SERVER__PORT": "0",
        f"{PREFIX}LOGS__FORMAT": "json",
        f"{PREFIX}OPENAI__MODEL": MODEL,
        f"{PREFIX}OPENAI__QUALITY": QUALITY,
    }


async def _wait_for_start(process: asyncio.subprocess.Process, log: Path) -> dict[str, Any]:
    """Return the server's start-up line."""
    ended = asyncio.create_task(process.wait())
    try:
        async with asyncio.timeout(START_TIMEOUT):
            while not ended.done():
                if (line := _start_line(log)) is not None:
                    return line
                await asyncio.wait({ended}, timeout=0.05)
    except TimeoutError:
        pass
    finally:
        ended.cancel()
    last = log.read_text(errors="replace")[-2000:]
    raise DemoFailed(f"The server did not start. The end of its log:\n{last}")


def _start_line(log: Path) -> dict[str, Any] | None:
    for line in log.read_bytes().splitlines(keepends=True):
        if b'"service_started"' in line and line.endswith(b"\n"):
            found: dict[str, Any] = orjson.loads(line)
            return found
    return None


async def _stop(process: asyncio.subprocess.Process) -> None:
    process.terminate()
    try:
        async with asyncio.timeout(STOP_TIMEOUT):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
