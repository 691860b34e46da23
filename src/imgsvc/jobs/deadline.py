"""The time one image may take."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

from imgsvc.errors import JobTimeout


@asynccontextmanager
async def deadline(seconds: float) -> AsyncIterator[float]:
    """Stop the block after this many seconds and raise JobTimeout.

    Yields when that will be, as time.monotonic() counts.
    A TimeoutError from inside the block that has another origin passes unchanged.
    """
    timeout = asyncio.timeout(seconds)
    try:
        async with timeout:
            yield monotonic() + seconds
    except TimeoutError as exc:
        if not timeout.expired():
            raise
        raise JobTimeout(
            f"The image took longer than the {seconds:g} s allowed (workers.job_timeout)."
            " Send a smaller image or choose a lower quality."
        ) from exc
