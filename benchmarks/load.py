"""How fast jobs go through, and how responsive the server stays meanwhile.

Starts the server, a stand-in for the image API that takes one second an edit, and a
callback receiver, all on loopback; sends 64 jobs of 1 MB to 32 workers; polls /health.

    python benchmarks/load.py [--jobs 64] [--workers 32] [--latency 1.0] [--bytes 1000000]
"""

import argparse
import asyncio
import base64
import io
import os
import random
import signal
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic

import aiohttp
import orjson
from aiohttp import web
from PIL import Image

STANDIN = Path(__file__).parents[1] / "tests" / "standins" / "openai.py"
KEY = "sk-benchmark"
HEALTH_INTERVAL = 0.01  # seconds
LIMIT = 120.0  # seconds; the benchmark ends by itself


def noisy_picture(size: int) -> bytes:
    """Return a PNG of about `size` bytes: noise does not compress."""
    side = int((size / 3) ** 0.5)
    noise = random.Random(1).randbytes(side * side * 3)  # noqa: S311 - pixels, not secrets
    file = io.BytesIO()
    Image.frombytes("RGB", (side, side), noise).save(file, "PNG", compress_level=1)
    return file.getvalue()


@asynccontextmanager
async def program(*command: str, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a Python program and yield its process; end it with the context."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, env={**os.environ, **environment}, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            await process.communicate()


async def first_line(process: asyncio.subprocess.Process) -> bytes:
    """Return the line that a program prints once it is up."""
    assert process.stdout is not None
    return await process.stdout.readline()


@asynccontextmanager
async def receiver(arrivals: asyncio.Queue[str]) -> AsyncIterator[str]:
    """Yield the URL of a receiver that puts the status of every callback into `arrivals`."""

    async def receive(request: web.Request) -> web.Response:
        head = (await request.read())[:200]
        arrivals.put_nowait("completed" if b'"status":"completed"' in head else "failed")
        return web.Response(status=204)

    app = web.Application(client_max_size=2**30)
    app.router.add_post("/", receive)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield "http://{}:{}/".format(*runner.addresses[0][:2])
    finally:
        await runner.cleanup()


async def poll_health(url: str) -> None:
    """Ask /health until SIGTERM, then print how many seconds each answer took.

    In a process of its own: the one that sends the jobs is too busy to measure.
    """
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    seconds = []
    async with aiohttp.ClientSession() as session:
        while not stop.is_set():
            started = monotonic()
            async with session.get(f"{url}/health") as answer:
                await answer.read()
            seconds.append(monotonic() - started)
            await asyncio.sleep(HEALTH_INTERVAL)
    print(orjson.dumps(seconds).decode())


async def measure(options: argparse.Namespace, server: str) -> None:
    """Send the jobs, wait for their callbacks, and print the figures."""
    picture = base64.b64encode(noisy_picture(options.bytes)).decode()
    body = orjson.dumps({"prompt": "warm light", "image_base64": picture, "filename": "n.png"})
    arrivals: asyncio.Queue[str] = asyncio.Queue()
    async with (
        receiver(arrivals) as callback_url,
        aiohttp.ClientSession() as session,
        program(__file__, "--poll", server) as poller,
    ):
        headers = {"callbackUrl": callback_url, "Content-Type": "application/json"}

        async def submit() -> float:
            started = monotonic()
            async with session.post(
                f"{server}/process-image-async-b64", data=io.BytesIO(body), headers=headers
            ) as answer:
                assert answer.status == 202, await answer.text()
            return monotonic() - started

        started = monotonic()
        accepted = await asyncio.gather(*(submit() for _ in range(options.jobs)))
        states = [await arrivals.get() for _ in range(options.jobs)]
        wall = monotonic() - started
        poller.terminate()
        health = orjson.loads((await poller.communicate())[0])
    ideal = -(-options.jobs // options.workers) * options.latency
    print(
        f"jobs       {options.jobs} of {len(picture) * 3 // 4:,} bytes, {options.workers} workers"
    )
    print(f"completed  {states.count('completed')}")
    print(f"wall       {wall:.2f} s (the image API alone: {ideal:.2f} s)")
    print(f"202 after  {show(accepted)}, all sent at once")
    print(f"/health    {show(health)}")


def show(seconds: list[float]) -> str:
    """Return median, 99th percentile and maximum in milliseconds."""
    milliseconds = [1000 * second for second in seconds]
    p99 = statistics.quantiles(milliseconds, n=100, method="inclusive")[98]
    return (
        f"median {statistics.median(milliseconds):.1f} ms, 99th percentile {p99:.1f} ms,"
        f" maximum {max(milliseconds):.1f} ms, {len(milliseconds)} answers"
    )


async def main() -> None:
    """Read the options, start the programs, measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--jobs", type=int, default=64)
    parser.add_argument("--workers", type=int, default=32)
    parser.add_argument("--latency", type=float, default=1.0, help="seconds an edit takes")
    parser.add_argument("--bytes", type=int, default=1_000_000, help="size of each picture")
    parser.add_argument("--poll", metavar="URL", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.poll:
        await poll_health(options.poll)
        return
    async with asyncio.timeout(LIMIT):
        with tempfile.TemporaryDirectory() as folder:
            # A ready answer: the image API's work is not what is measured.
            answer = Path(folder) / "answer.png"
            answer.write_bytes(noisy_picture(options.bytes))
            arguments = ("--latency", str(options.latency), "--key", KEY, "--answer", str(answer))
            async with program(str(STANDIN), *arguments) as standin:
                base_url = (await first_line(standin)).decode().strip()
                async with program(
                    "-m",
                    "imgsvc",
                    OPENAI_API_KEY=KEY,
                    OPENAI_BASE_URL=base_url,
                    IMGSVC_DATA_DIR=folder,
                    IMGSVC_SERVER__PORT="0",
                    IMGSVC_WORKERS__COUNT=str(options.workers),
                ) as server:
                    started = orjson.loads(await first_line(server))
                    rest = asyncio.create_task(server.communicate())
                    await measure(options, started["listening"])
                    server.terminate()
                    await rest


if __name__ == "__main__":
    asyncio.run(main())
