"""Whether the server takes new jobs."""

import asyncio
from collections.abc import Coroutine
from time import monotonic
from typing import Any, TypeVar

from imgsvc.errors import ShuttingDown

T = TypeVar("T")


class Readiness:
    """Ready from the start until it drains."""

    def __init__(self) -> None:
        self.started = monotonic()
        self._draining = asyncio.Event()

    def drain(self) -> None:
        """Take no new jobs from now on."""
        self._draining.set()

    @property
    def draining(self) -> bool:
        """Whether new jobs are refused."""
        return self._draining.is_set()

    def check(self) -> None:
        """Raise ShuttingDown if new jobs are refused."""
        if self.draining:
            raise ShuttingDown

    async def unless_draining(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what work returns, or stop it and raise ShuttingDown once the server drains."""
        doing = asyncio.create_task(work, name="unless-draining")
        draining = asyncio.create_task(self._draining.wait(), name="draining")
        try:
            await asyncio.wait({doing, draining}, return_when=asyncio.FIRST_COMPLETED)
            if doing.done():
                return doing.result()
            raise ShuttingDown
        finally:
            draining.cancel()
            doing.cancel()
            await asyncio.wait({doing})  # it may hold a file open
