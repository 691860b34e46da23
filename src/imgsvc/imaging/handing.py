"""Hands large files that are in memory to image processes."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path


@asynccontextmanager
async def held_as_file(content: bytes) -> AsyncIterator[Path]:
    """Yield the path of a file with this content that an image process can read.

    It is in memory, and gone with the context. As an argument the content would be pickled,
    which holds the interpreter lock, and with it the event loop: 30 MB take 0.1 s.
    """
    descriptor = os.memfd_create("imgsvc-picture")
    writing = asyncio.get_running_loop().run_in_executor(None, _write, descriptor, content)
    try:
        await asyncio.shield(writing)
        yield Path(f"/proc/{os.getpid()}/fd/{descriptor}")
    finally:
        # A thread goes on when its await is cancelled, and must not write to another file.
        writing.add_done_callback(lambda _: os.close(descriptor))


def _write(descriptor: int, content: bytes) -> None:
    with open(descriptor, "wb", closefd=False) as file:
        file.write(content)
