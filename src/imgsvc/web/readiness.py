"""Whether the server takes new jobs."""

import asyncio
from collections.abc import Coroutine
from time import monotonic
from typing import Any, TypeVar

from imgsvc.errors import ShuttingDown
from imgsvc.jobs.stopping import unless

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
        return await unless(self._draining, work, ShuttingDown)
