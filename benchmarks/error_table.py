"""What becomes of a job for each error of the image API, and of a batch that runs out of credit.

Real jobs against the stand-in for the image API; only waits before repetitions take no time.

    python benchmarks/error_table.py [--images 200] [--works 50] [--concurrency 4]
"""

import argparse
import asyncio
import logging
import sys
import tempfile
from pathlib import Path

import structlog

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from imgsvc.imaging.config import ImagesConfig
from imgsvc.imaging.pool import open_image_pool
from jobs.error_table import UNREACHABLE, Bench, Seen, open_bench
from standins.openai_wire import FAILURES

NO_ANSWER = ("hang", "disconnect", "disconnect_mid_answer", "gateway_html", "web_page")
COLUMNS = "{:34} {:>5}  {:20} {:9} {:7} {:26} {:7} {}"


def row(name: str, seen: Seen) -> str:
    """Return the line of one job."""
    said = seen.callback
    return COLUMNS.format(
        name,
        seen.calls,
        ", ".join(f"{wait:g}" for wait in seen.waits) or "-",
        said["status"],
        said["provider"],
        said.get("fallback_reason") or said.get("error", "-").partition(":")[0],
        seen.breaker,
        "cost unknown" if seen.cost_unknown else "",
    ).rstrip()


async def print_table(bench: Bench) -> None:
    """Do a job for each error, with a fallback and, where that matters, without."""
    print(
        COLUMNS.format(
            "error", "calls", "waits (s)", "status", "by", "reason or error", "breaker", ""
        )
    )
    for name in (*FAILURES, *NO_ANSWER, UNREACHABLE):
        print(row(name, await bench.edit(name)))
    for name in ("insufficient_quota", "rate_limit_exceeded"):
        print(row(f"{name}, never", await bench.edit(name, fallback_allowed=False)))
    seen = await bench.edit("rate_limit_exceeded", job_timeout=20)
    print(row("rate_limit_exceeded, 20 s left", seen))
    print(row("server_error, once", await bench.edit("server_error", times=1)))


async def print_batch(bench: Bench, images: int, works: int, concurrency: int) -> None:
    """Do a batch whose account reaches its limit."""
    seen = await bench.edit_batch(
        images, "billing_hard_limit_reached", works=works, concurrency=concurrency
    )
    said = seen.callback
    print(
        f"\nbatch of {images}, {concurrency} at once, limit after {works}: {seen.calls} calls"
        f" in {seen.seconds:.1f} s; {said['status']}, {said['processed']} processed,"
        f" {said['fallback_local']} by the local engine, {said['failed']} failed"
    )


async def main(args: argparse.Namespace) -> None:
    """Print everything."""
    with tempfile.TemporaryDirectory() as folder:
        async with (
            open_image_pool(ImagesConfig(processes=1)) as pool,
            open_bench(Path(folder), pool) as bench,
        ):
            await print_table(bench)
            await print_batch(bench, args.images, args.works, args.concurrency)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=200, help="images of the batch")
    parser.add_argument("--works", type=int, default=50, help="calls until the limit is reached")
    parser.add_argument("--concurrency", type=int, default=4, help="images in work at once")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    asyncio.run(main(parser.parse_args()))
