"""How fast jobs go through, and how responsive the server stays meanwhile.

Starts the server, a stand-in for the image API that takes one second an edit, and a
callback receiver, all on loopback; sends 64 jobs of 1 MB to 32 workers; polls /health.

    python benchmarks/load.py [--jobs 64] [--workers 32] [--latency 1.0] [--bytes 1000000]
"""

import argparse
import asyncio
import base64
import io
import signal
import statistics
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

import aiohttp
import orjson
from aiohttp import web

from programs import noisy_picture, program, running_server

HEALTH_INTERVAL = 0.01  # seconds
LIMIT = 120.0  # seconds; the benchmark ends by itself


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
        async with running_server(
            latency=options.latency,
            answer=noisy_picture(options.bytes),
            IMGSVC_WORKERS__COUNT=str(options.workers),
        ) as server:
            await measure(options, server.url)


if __name__ == "__main__":
    asyncio.run(main())
