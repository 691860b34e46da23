"""The server and the stand-in for the image API, as programs of their own, and their pictures."""

import asyncio
import io
import os
import random
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson
from PIL import Image

STANDIN = Path(__file__).parents[1] / "tests" / "standins" / "openai.py"
KEY = "sk-benchmark"


@dataclass(frozen=True, kw_only=True, slots=True)
class RunningServer:
    """A server that answers requests."""

    url: str
    process: asyncio.subprocess.Process

    @property
    def pid(self) -> int:
        """The number of its process."""
        return self.process.pid


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
async def running_server(
    *, latency: float, answer: bytes, **environment: str
) -> AsyncIterator[RunningServer]:
    """Run a server whose image API takes `latency` seconds to answer every edit the same.

    A ready answer: the image API's work is not what is measured.
    """
    with tempfile.TemporaryDirectory() as folder:
        picture, data_dir = Path(folder) / "answer.png", Path(folder) / "data"
        picture.write_bytes(answer)
        arguments = ("--latency", str(latency), "--key", KEY, "--answer", str(picture))
        async with program(str(STANDIN), *arguments) as standin:
            base_url = (await first_line(standin)).decode().strip()
            variables = {
                "OPENAI_API_KEY": KEY,
                "OPENAI_BASE_URL": base_url,
                "IMGSVC_DATA_DIR": str(data_dir),
                "IMGSVC_SERVER__PORT": "0",
            }
            async with started_server(variables | environment) as server:
                yield server


@asynccontextmanager
async def started_server(
    environment: Mapping[str, str], command: Sequence[str] = ("-m", "imgsvc")
) -> AsyncIterator[RunningServer]:
    """Run a server with these variables, which is up when it is yielded."""
    async with program(*command, **environment) as process:
        line: dict[str, str] = {}
        while "listening" not in line:  # before it the log tells what a killed server has left
            line = orjson.loads(await first_line(process))
        log = asyncio.create_task(_discard(process))  # a full pipe would stop it
        yield RunningServer(url=line["listening"], process=process)
        log.cancel()
        await asyncio.wait({log})


async def _discard(process: asyncio.subprocess.Process) -> None:
    assert process.stdout is not None
    while await process.stdout.read(2**16):
        pass
