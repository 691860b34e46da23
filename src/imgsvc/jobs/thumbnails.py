"""Thumbnails of partial images: made in the background, and dropped rather than waited for."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

import structlog
from structlog.contextvars import bound_contextvars

from imgsvc.errors import describe
from imgsvc.imaging.config import ImagesConfig
from imgsvc.imaging.pool import ImagePool, open_image_pool
from imgsvc.imaging.thumbnail import EncodedThumbnail, make_thumbnail
from imgsvc.jobs.blobs import BlobFolder
from imgsvc.providers import PartialImage

log = structlog.get_logger(__name__)

WAITING = 8
"""Partial images, of all jobs, that wait for their thumbnails; whatever comes on top is dropped."""


@dataclass(kw_only=True, slots=True, eq=False)
class ThumbnailOrder:
    """A thumbnail that somebody would like to see."""

    partial: PartialImage
    job_id: str
    client: str
    show: Callable[[EncodedThumbnail], None]
    is_settled: bool = False  # shown, failed, or not wanted any more


class Thumbnailer:
    """Makes one thumbnail at a time, in a process of its own that no edit waits for."""

    def __init__(self, config: ImagesConfig, blobs: BlobFolder) -> None:
        self._config = config
        self._blobs = blobs
        self._pool: ImagePool | None = None
        self._orders: asyncio.Queue[ThumbnailOrder] = asyncio.Queue(WAITING)

    def place(self, order: ThumbnailOrder) -> None:
        """Have a thumbnail made; too busy, settle the order at once without showing any."""
        try:
            self._orders.put_nowait(order)
        except asyncio.QueueFull:
            order.is_settled = True

    async def run(self) -> None:
        """Make what is ordered until cancelled; the process starts with the first order."""
        async with AsyncExitStack() as stack:
            while True:
                await self._fulfil(await self._orders.get(), stack)

    async def _fulfil(self, order: ThumbnailOrder, stack: AsyncExitStack) -> None:
        if order.is_settled:
            return
        with bound_contextvars(job_id=order.job_id, client=order.client):
            try:
                if self._pool is None:
                    opening = open_image_pool(self._config, processes=1)
                    self._pool = await stack.enter_async_context(opening)
                content = await asyncio.to_thread(order.partial.read)
                async with self._blobs.scratch(content) as path:
                    thumbnail = await self._pool.run(make_thumbnail, path)
                if not order.is_settled:
                    order.show(thumbnail)
            except Exception as exc:  # noqa: BLE001 - no edit may fail for its thumbnail
                log.warning("thumbnail_failed", error=describe(exc))
        order.is_settled = True
