"""How many jobs a second are accepted, beside a server that only answers 202.

An accepted job is durable: its picture and its record have been through fsync. Both
servers are asked in turns by the same client. All on loopback.

    python benchmarks/accept.py [--seconds 3]
"""

import argparse
import asyncio
import base64
from time import monotonic

import aiohttp
import orjson
from aiohttp import web

from programs import first_line, noisy_picture, program, running_server

PATH = "/process-image-async-b64"
CLIENTS = (1, 50)
ROUNDS = 3
"""Turns of each server; the best one counts, because others use the machine too."""

LIMIT = 180.0  # seconds; the benchmark ends by itself


async def serve_bare() -> None:
    """Answer every request with 202, on a free port that is printed, until the end."""

    async def accept(request: web.Request) -> web.Response:
        await request.read()
        return web.json_response({"accepted": True}, status=202)

    app = web.Application(client_max_size=2**30)
    app.router.add_post(PATH, accept)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print("http://{}:{}".format(*runner.addresses[0][:2]), flush=True)
    await asyncio.Event().wait()


async def rate(url: str, clients: int, seconds: float, body: bytes) -> float:
    """Return the 202s a second that so many clients get, each one request at a time."""
    headers = {"callbackUrl": "http://127.0.0.1:9/", "Content-Type": "application/json"}
    count, end = 0, monotonic() + seconds

    async def client(session: aiohttp.ClientSession) -> None:
        nonlocal count
        while monotonic() < end:
            async with session.post(url + PATH, data=body, headers=headers) as answer:
                assert answer.status == 202, await answer.text()
                await answer.read()
            count += 1

    async with aiohttp.ClientSession() as session:
        began = monotonic()
        await asyncio.gather(*(client(session) for _ in range(clients)))
        return count / (monotonic() - began)


async def measure(seconds: float) -> None:
    """Start both servers, ask them in turns, and print the figures."""
    body = orjson.dumps(
        {"prompt": "x", "image_base64": base64.b64encode(noisy_picture(1000)).decode()}
    )
    async with (
        program(__file__, "--bare") as bare_server,
        # No edit ends: what is measured is how jobs come in.
        running_server(
            latency=LIMIT,
            answer=b"",
            IMGSVC_SERVER__DRAIN_TIMEOUT="0",
            IMGSVC_BACKEND__MAX_QUEUED="1000000",
        ) as server,
    ):
        bare_url = (await first_line(bare_server)).decode().strip()
        for clients in CLIENTS:
            ours, bares = [], []
            for _ in range(ROUNDS):
                bares.append(await rate(bare_url, clients, seconds, body))
                ours.append(await rate(server.url, clients, seconds, body))
            print(
                f"{clients:>3} clients  {max(ours):7.0f} accepted a second,"
                f" {max(bares):7.0f} by the bare server",
                flush=True,
            )


async def main() -> None:
    """Read the options, and measure or be measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=3.0, help="that each turn takes")
    parser.add_argument("--bare", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    async with asyncio.timeout(LIMIT):
        await (serve_bare() if options.bare else measure(options.seconds))


if __name__ == "__main__":
    asyncio.run(main())
