"""How much memory the server takes while thousands of jobs wait.

The image API never answers, so whatever is accepted stays: a few jobs with the workers,
the others queued. Their payloads take about as much room in the system's folder for
temporary files as they weigh. All on loopback.

    python benchmarks/memory.py [--jobs 5000] [--bytes 1000000]

The exit code is 1 if the server itself takes more than 250 MiB.
"""

import argparse
import asyncio
import base64
import sys
from pathlib import Path
from time import monotonic

import aiohttp
import orjson

from programs import noisy_picture, running_server

LIMIT = 900.0  # seconds; the benchmark ends by itself
ALLOWED = 250 * 2**20
SENDERS = 8
MIB = 2**20


async def measure(jobs: int, size: int) -> bool:
    """Fill the queue, print the figures, and return whether they are as promised."""
    body = orjson.dumps(
        {"prompt": "x", "image_base64": base64.b64encode(noisy_picture(size)).decode()}
    )
    headers = {"callbackUrl": "http://127.0.0.1:9/", "Content-Type": "application/json"}
    async with (
        running_server(latency=LIMIT, answer=b"", IMGSVC_SERVER__DRAIN_TIMEOUT="0") as server,
        aiohttp.ClientSession() as session,
    ):
        _print("at the start", server.pid)
        left, began = iter(range(jobs)), monotonic()

        async def send() -> None:
            for _ in left:
                async with session.post(
                    f"{server.url}/process-image-async-b64", data=body, headers=headers
                ) as answer:
                    assert answer.status == 202, await answer.text()

        await asyncio.gather(*(send() for _ in range(SENDERS)))
        seconds = monotonic() - began
        async with session.get(f"{server.url}/health") as answer:
            health = await answer.json()
        print(f"queued        {health['queued']}, running {health['running']}, in {seconds:.0f} s")
        return _print("then", server.pid) < ALLOWED


def _print(when: str, pid: int) -> int:
    """Print what the server and its children have in memory; return the former, in bytes."""
    own, most = _memory(pid)
    children = [_memory(child)[0] for child in _children(pid)]
    print(
        f"{when:<13} server {own / MIB:.0f} MiB (at most {most / MIB:.0f} MiB),"
        f" {len(children)} children {sum(children) / MIB:.0f} MiB",
        flush=True,
    )
    return most


def _memory(pid: int) -> tuple[int, int]:
    """Return the resident memory of a process in bytes: now, and the most there ever was."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    return tuple(int(fields[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))  # type: ignore[return-value]  # mypy does not count


def _children(pid: int) -> list[int]:
    """Return the numbers of all processes that a process has started, and those have."""
    files = Path(f"/proc/{pid}/task").glob("*/children")
    children = [int(child) for file in files for child in file.read_text().split()]
    return children + [grandchild for child in children for grandchild in _children(child)]


async def main() -> None:
    """Read the options and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--jobs", type=int, default=5000)
    parser.add_argument("--bytes", type=int, default=1_000_000, help="size of each picture")
    options = parser.parse_args()
    async with asyncio.timeout(LIMIT):
        kept = await measure(options.jobs, options.bytes)
    sys.exit(not kept)


if __name__ == "__main__":
    asyncio.run(main())
