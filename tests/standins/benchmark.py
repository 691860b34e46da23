"""The programs in `benchmarks/`, as somebody runs them who wants to see."""

import asyncio
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


async def run_benchmark(name: str, *options: str) -> tuple[int, str]:
    """Run one to its end; return its exit code and all that it prints."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(BENCHMARKS / name), *options),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, output.decode()
