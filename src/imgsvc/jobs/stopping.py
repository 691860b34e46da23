"""Stopping work whose result nobody wants any more."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from imgsvc.errors import JobCancelled

T = TypeVar("T")


class JobStopping(Exception):
    """Nothing more of the job is begun: it is cancelled, or it goes on at the next start."""


async def unless(event: asyncio.Event, work: Coroutine[Any, Any, T], error: type[Exception]) -> T:
    """Return what work returns, or stop it and raise error once the event is set.

    Work that has ended counts, even if the event is set by then.
    """
    doing = asyncio.create_task(work, name="stoppable-work")
    waiting = asyncio.create_task(event.wait(), name="reason-to-stop")
    try:
        await asyncio.wait({doing, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            return doing.result()
        raise error
    finally:
        waiting.cancel()
        doing.cancel()
        await asyncio.wait({doing})  # it gives back what it holds


async def unless_cancelled(cancelled: asyncio.Event, work: Coroutine[Any, Any, T]) -> T:
    """Return what work returns, or stop it and raise JobCancelled once the job is cancelled."""
    return await unless(cancelled, work, JobCancelled)
