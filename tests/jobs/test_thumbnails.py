"""Thumbnails of partial images, and what becomes of them when nobody waits any more."""

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from structlog.typing import EventDict

from imgsvc.errors import ProviderBadAnswer
from imgsvc.imaging.config import ImagesConfig
from imgsvc.imaging.thumbnail import EncodedThumbnail
from imgsvc.jobs import BlobFolder, Thumbnailer
from imgsvc.jobs.models import EventType
from imgsvc.jobs.story import Story
from imgsvc.jobs.thumbnails import WAITING, ThumbnailOrder
from imgsvc.providers import PartialImage, ProviderCall
from jobs.parts import JOB_ID, Told, files
from standins.pictures import picture
from standins.processes import children_of_this_process

pytestmark = pytest.mark.asyncio(loop_scope="session")

CALL = ProviderCall(provider="scripted", model="model-1", seconds=1)
BIG = picture(600, 300)


class Shown:
    """Somebody who waits for thumbnails."""

    def __init__(self) -> None:
        self.thumbnails: list[EncodedThumbnail] = []
        self.came = asyncio.Event()

    def order(self, content: bytes = BIG) -> ThumbnailOrder:
        partial = PartialImage(index=0, read=lambda: content)
        return ThumbnailOrder(partial=partial, job_id=JOB_ID, client="ann", show=self.show)

    def show(self, thumbnail: EncodedThumbnail) -> None:
        self.thumbnails.append(thumbnail)
        self.came.set()


@asynccontextmanager
async def working(blobs: BlobFolder) -> AsyncIterator[Thumbnailer]:
    thumbnailer = Thumbnailer(ImagesConfig(), blobs)
    task = asyncio.create_task(thumbnailer.run())
    try:
        yield thumbnailer
    finally:
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()


@contextmanager
def held(content: bytes = BIG) -> Iterator[tuple[PartialImage, threading.Event]]:
    """Yield a partial image that can be read only when the event is set."""
    free = threading.Event()

    def read() -> bytes:
        free.wait()
        return content

    try:
        yield PartialImage(index=0, read=read), free
    finally:
        free.set()


async def test_a_thumbnail_is_made_and_nothing_is_left_behind(
    blobs: BlobFolder, scratch: Path
) -> None:
    before, shown = children_of_this_process(), Shown()
    async with working(blobs) as thumbnailer:
        assert children_of_this_process() == before  # there is no process before the first one
        order = shown.order()
        thumbnailer.place(order)
        await shown.came.wait()
        [thumbnail] = shown.thumbnails
        assert (thumbnail.width, thumbnail.height) == (256, 128)
        assert len(children_of_this_process() - before) == 1
        shown.came.clear()
        thumbnailer.place(shown.order())
        await shown.came.wait()
        assert order.is_settled
        assert len(children_of_this_process() - before) == 1
    assert children_of_this_process() == before
    assert files(scratch) == []


async def test_what_fails_is_logged_and_the_next_one_is_made(
    blobs: BlobFolder, logs: list[EventDict]
) -> None:
    def invalid() -> bytes:
        raise ProviderBadAnswer

    shown = Shown()
    broken = [shown.order(b"no picture"), shown.order()]
    broken[1].partial = PartialImage(index=0, read=invalid)
    async with working(blobs) as thumbnailer:
        for order in [*broken, shown.order()]:
            thumbnailer.place(order)
        await shown.came.wait()
    assert len(shown.thumbnails) == 1
    assert all(order.is_settled for order in broken)
    failures = [line for line in logs if line["event"] == "thumbnail_failed"]
    assert [line["error"].partition(":")[0] for line in failures] == [
        "NotAnImage",
        "ProviderBadAnswer",
    ]
    assert {(line["job_id"], line["client"]) for line in failures} == {(JOB_ID, "ann")}


async def test_a_process_that_dies_is_replaced(blobs: BlobFolder, logs: list[EventDict]) -> None:
    before, shown = children_of_this_process(), Shown()
    async with working(blobs) as thumbnailer:
        thumbnailer.place(shown.order())
        await shown.came.wait()
        [pid] = children_of_this_process() - before
        os.kill(pid, signal.SIGKILL)
        shown.came.clear()
        thumbnailer.place(shown.order())
        await shown.came.wait()
    assert "thumbnail_failed" not in {line["event"] for line in logs}


async def test_a_process_that_hangs_ends_with_the_service(blobs: BlobFolder) -> None:
    before, shown = children_of_this_process(), Shown()
    async with working(blobs) as thumbnailer:
        thumbnailer.place(shown.order())
        await shown.came.wait()
        [pid] = children_of_this_process() - before
        os.kill(pid, signal.SIGSTOP)
        thumbnailer.place(shown.order())
    assert children_of_this_process() == before


async def test_orders_beyond_those_that_may_wait_are_dropped(blobs: BlobFolder) -> None:
    thumbnailer, shown = Thumbnailer(ImagesConfig(), blobs), Shown()
    orders = [shown.order() for _ in range(WAITING + 2)]
    for order in orders:
        thumbnailer.place(order)
    assert [order.is_settled for order in orders] == [False] * WAITING + [True] * 2


async def test_an_order_that_is_no_longer_wanted_is_not_even_begun(blobs: BlobFolder) -> None:
    def read() -> bytes:
        raise AssertionError("nobody wants it")

    shown = Shown()
    unwanted = ThumbnailOrder(
        partial=PartialImage(index=0, read=read),
        job_id=JOB_ID,
        client="ann",
        show=shown.show,
        is_settled=True,
    )
    async with working(blobs) as thumbnailer:
        thumbnailer.place(unwanted)
        thumbnailer.place(shown.order())
        await shown.came.wait()
    assert len(shown.thumbnails) == 1


# -- the story --------------------------------------------------------------------------


@dataclass(slots=True)
class Followed(Told):
    """A story that can be waited for."""

    came: asyncio.Event = field(default_factory=asyncio.Event)

    def record_event(self, job_id: str, kind: EventType, data: Mapping[str, Any]) -> None:
        Told.record_event(self, job_id, kind, data)
        self.came.set()

    async def until(self, events: int) -> None:
        while len(self.events) < events:
            self.came.clear()
            await self.came.wait()


def told_by(thumbnailer: Thumbnailer | None) -> tuple[Followed, Story]:
    told = Followed()
    story = told.story
    story.thumbnailer = thumbnailer
    return told, story


async def test_the_story_tells_of_each_partial_image_with_its_thumbnail(blobs: BlobFolder) -> None:
    async with working(blobs) as thumbnailer:
        told, story = told_by(thumbnailer)
        for index in range(2):
            story.partial_image(PartialImage(index=index, read=lambda: BIG))
            await told.until(index + 1)
    for index, (kind, data) in enumerate(told.events):
        assert kind is EventType.PARTIAL_IMAGE
        assert data.pop("thumbnail_base64").startswith("/9j/")
        assert data == {"index": index, "media_type": "image/jpeg", "width": 256, "height": 128}


async def test_a_partial_image_is_dropped_while_the_last_one_is_in_the_making(
    blobs: BlobFolder,
) -> None:
    async with working(blobs) as thumbnailer:
        told, story = told_by(thumbnailer)
        with held() as (slow, free):
            story.partial_image(slow)
            story.partial_image(PartialImage(index=1, read=lambda: BIG))
            free.set()
            await told.until(1)
        story.partial_image(PartialImage(index=2, read=lambda: BIG))
        await told.until(2)
    assert [data["index"] for _, data in told.events] == [0, 2]


async def test_nothing_is_told_of_a_call_that_has_ended(blobs: BlobFolder) -> None:
    shown = Shown()
    async with working(blobs) as thumbnailer:
        told, story = told_by(thumbnailer)
        with held() as (late, free):
            story.partial_image(late)
            story.provider_called(CALL)
            free.set()
            thumbnailer.place(shown.order())  # made after the late one
            await shown.came.wait()
        assert [kind for kind, _ in told.events] == [EventType.PROVIDER_CALLED]
        story.partial_image(PartialImage(index=0, read=lambda: BIG))  # of the next call
        await told.until(2)


async def test_a_story_without_thumbnails_tells_of_no_partial_image() -> None:
    told, story = told_by(None)
    story.partial_image(PartialImage(index=0, read=lambda: BIG))
    assert told.events == []
