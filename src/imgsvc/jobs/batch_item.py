"""Editing one image of a batch: from the input bucket to the output bucket."""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import unquote

import structlog

from imgsvc.errors import (
    BucketNotAllowed,
    BudgetSpent,
    ImgsvcError,
    JobPoisoned,
    NotAnImage,
    StorageError,
    StorageUnreachable,
    describe,
)
from imgsvc.imaging.admission import ImageGate
from imgsvc.jobs.blobs import BlobFolder
from imgsvc.jobs.deadline import deadline
from imgsvc.jobs.freezing import persist
from imgsvc.jobs.items import Item, ItemEnd, ItemState
from imgsvc.jobs.manifest import looks_like_image, shown
from imgsvc.jobs.metadata import result_metadata
from imgsvc.jobs.models import BatchSpec, Job
from imgsvc.jobs.selection import buckets_of
from imgsvc.jobs.spending import ItemAccount
from imgsvc.jobs.spent import Spent
from imgsvc.jobs.stopping import unless_cancelled
from imgsvc.jobs.story import Story
from imgsvc.killpoints import KillPoint, around
from imgsvc.providers import LOCAL, EditRequest, EditResult, EditRouter
from imgsvc.storage import ObjectStat, Storage, StorageConfig
from imgsvc.storage.keys import RESULT_EXTENSIONS
from imgsvc.storage.metadata import metadata_value

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class ItemEditor:
    """Does the items of batches, one at a call."""

    gate: ImageGate
    router: EditRouter
    blobs: BlobFolder
    storage: Storage
    buckets: StorageConfig
    timeout: float  # seconds that reading and editing an image may take
    max_attempts: int  # which end with the loss of the service, before an image is given up

    async def run(
        self, job: Job, spec: BatchSpec, item: Item, story: Story, cancelled: asyncio.Event
    ) -> ItemEnd:
        """Do an item that was begun, and return how it ended.

        Once `cancelled` is set an edit is given up, but what is edited by then is stored.
        Raises BudgetSpent if the job's own budget had no room for it and nothing was called,
        and StorageError if what failed is not to do with this image: the storage is away, or
        a result that was paid for could not be stored.
        """
        try:
            return await self._attempt(job, spec, item, story, cancelled)
        except NotAnImage as exc:
            is_image = looks_like_image(item.key) is not None
            return _failed(exc) if is_image else ItemEnd(state=ItemState.SKIPPED)
        except StorageError as exc:
            if isinstance(exc, StorageUnreachable) or story.spent.calls:
                raise
            return _failed(exc)
        except BudgetSpent as exc:
            if exc.of_job and not story.spent.calls:
                raise
            return _failed(exc)
        except ImgsvcError as exc:
            return _failed(exc)
        except Exception as exc:
            log.exception("item_crashed", key=shown(item.key))
            return _failed(exc)

    async def give_up(self, job: Job, spec: BatchSpec, item: Item, reason: str) -> ItemEnd:
        """End an item that is not begun again: its result may be in the bucket nevertheless."""
        try:
            end = await self._stored_before(job, spec, item)
        except (StorageError, BucketNotAllowed) as exc:
            return _failed(exc)
        return end or ItemEnd(state=ItemState.NOT_STARTED, error=reason)

    async def _attempt(
        self, job: Job, spec: BatchSpec, item: Item, story: Story, cancelled: asyncio.Event
    ) -> ItemEnd:
        if item.attempts and (end := await self._stored_before(job, spec, item)) is not None:
            return end
        if item.attempts - item.interruptions >= self.max_attempts:
            raise JobPoisoned
        result = await unless_cancelled(cancelled, self._edit(spec, item, story))
        story.edited(result)
        return await self._store(job, spec, item, result)

    async def _edit(self, spec: BatchSpec, item: Item, story: Story) -> EditResult:
        async with deadline(self.timeout) as until:
            bucket = buckets_of(spec, self.buckets).input
            data = await self.storage.get(bucket, item.key, max_bytes=self.gate.limits.max_bytes)
            self.gate.check_header(data)
            async with AsyncExitStack() as stack:
                # A disk that is full for a minute must not fail hundreds of images.
                path = await persist(partial(self._scratch, data, stack))
                del data  # the file is enough: one copy less while the provider works
                request = EditRequest(
                    prompt=spec.prompt,
                    image=path,
                    info=await self.gate.inspect(path),
                    filename=item.key.rpartition("/")[2],
                    options=spec.options,
                )
                with around(KillPoint.PROVIDER_CALLED):
                    return await self.router.edit(
                        request,
                        fallback_allowed=spec.fallback_allowed,
                        until=until,
                        observer=story,
                        account=ItemAccount(account=story.account, item=item.number),
                    )

    async def _scratch(self, data: bytes, stack: AsyncExitStack) -> Path:
        return await stack.enter_async_context(self.blobs.scratch(data))

    async def _store(self, job: Job, spec: BatchSpec, item: Item, result: EditResult) -> ItemEnd:
        """Store a result; neither deadline nor cancellation cut that off half way."""
        image, bucket = result.image, buckets_of(spec, self.buckets).output
        key = f"{item.output}.{image.format.extension}"
        data = await image.to_bytes()
        try:
            with around(KillPoint.RESULT_STORED):
                await self.storage.put(
                    bucket,
                    key,
                    data,
                    content_type=image.format.media_type,
                    metadata=result_metadata(job.id, result, source_key=item.key),
                )
        except StorageError:
            # Only the answer may have been lost: what is in the bucket counts.
            if not await self._is_there(job, item, bucket, key):
                raise
        is_local = result.provider == LOCAL
        return ItemEnd(
            state=_state(result.provider, is_fallback=result.fallback_reason is not None),
            output_key=key,
            provider=result.provider,
            model=result.model,
            fallback_reason=result.fallback_reason,
            operations=result.operations if is_local else None,
            ignored=result.ignored if is_local else None,
            bytes=len(data),
        )

    async def _is_there(self, job: Job, item: Item, bucket: str, key: str) -> bool:
        with suppress(StorageError):
            found = await self.storage.stat(bucket, key)
            return found is not None and _is_of(found.metadata, job, item)
        return False

    async def _stored_before(self, job: Job, spec: BatchSpec, item: Item) -> ItemEnd | None:
        """Return the end of an item whose result is in the bucket already, by its metadata.

        An attempt that was cut off may have got as far as that: it is paid for.
        """
        bucket = buckets_of(spec, self.buckets).output
        for extension in RESULT_EXTENSIONS:
            key = f"{item.output}.{extension}"
            found = await self.storage.stat(bucket, key)
            if found is not None and _is_of(found.metadata, job, item):
                log.info("item_found_stored", key=shown(item.key))
                return _end_of(item, key, found)
        return None


def _is_of(metadata: Mapping[str, str], job: Job, item: Item) -> bool:
    mine = {"job-id": metadata_value(job.id), "source-key": metadata_value(item.key)}
    return mine.items() <= metadata.items()


def _end_of(item: Item, key: str, found: ObjectStat) -> ItemEnd:
    told = {name: unquote(value) for name, value in found.metadata.items()}
    provider, reason = told.get("provider", LOCAL), told.get("fallback-reason")
    # An earlier version did not note which item a call was for.
    is_noted = item.end.spent.calls > 0 or (provider == LOCAL and reason is None)
    return ItemEnd(
        state=_state(provider, is_fallback=told.get("fallback") == "true"),
        output_key=key,
        provider=provider,
        model=told.get("model"),
        fallback_reason=reason,
        bytes=found.size,
        spent=Spent() if is_noted else Spent().plus(None),
    )


def _state(provider: str, *, is_fallback: bool) -> ItemState:
    if not is_fallback:
        return ItemState.PROCESSED
    return ItemState.FALLBACK_LOCAL if provider == LOCAL else ItemState.FALLBACK_OTHER


def _failed(exc: Exception) -> ItemEnd:
    return ItemEnd(state=ItemState.FAILED, error=describe(exc))
