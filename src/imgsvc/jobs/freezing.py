"""Freezing a callback: its body is written once, and never changes again."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from imgsvc.errors import DiskRefuses
from imgsvc.jobs.backend import Frozen
from imgsvc.jobs.blobs import BlobFolder
from imgsvc.jobs.bodies import Ending

T = TypeVar("T")

DISK_RETRY = 5.0
"""Seconds between two attempts to write to a disk that refuses."""

DISK_ATTEMPTS = 12
"""Attempts to write what may be too large for the disk, before it is given up."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Freezer:
    """Writes the bodies of callbacks, and plans their first delivery."""

    blobs: BlobFolder
    first_delay: float  # seconds from the job's end to the first delivery

    async def freeze(self, ending: Ending) -> Frozen:
        """Write the body durably; raise DiskRefuses if the disk does not take it."""
        body = await self.blobs.put(ending.body, content_type="application/json")
        return Frozen(body=body, due_at=datetime.now(UTC) + timedelta(seconds=self.first_delay))


async def persist(store: Callable[[], Awaitable[T]], *, attempts: int | None = None) -> T:
    """Return what store returns, and try again for as long as the disk refuses.

    After so many `attempts`, if a number is given, raises DiskRefuses.
    """
    attempt = 1
    while True:
        try:
            return await store()
        except DiskRefuses:
            if attempt == attempts:
                raise
        attempt += 1
        await asyncio.sleep(DISK_RETRY)
