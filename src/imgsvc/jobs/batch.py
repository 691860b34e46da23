"""Editing every image below a prefix, a few at a time, with a manifest of what became of each."""

import asyncio
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import TypeAlias

import structlog

from imgsvc.errors import BudgetSpent, ImgsvcError, JobCancelled, NotAnImage, StorageError, describe
from imgsvc.imaging.admission import ImageGate
from imgsvc.jobs.blobs import BlobFolder
from imgsvc.jobs.bodies import Ending, encode
from imgsvc.jobs.deadline import deadline
from imgsvc.jobs.manifest import Item, ItemState, Manifest, looks_like_image
from imgsvc.jobs.metadata import result_metadata
from imgsvc.jobs.models import BatchSpec, EventType, Job, Outcome, Spent, StoredResult
from imgsvc.jobs.stopping import unless_cancelled
from imgsvc.jobs.story import Story
from imgsvc.killpoints import KillPoint, around
from imgsvc.providers import LOCAL, EditRequest, EditResult, EditRouter
from imgsvc.storage import ObjectInfo, Storage, StorageConfig
from imgsvc.storage.keys import BatchKeys, is_result

log = structlog.get_logger(__name__)

# What is to be edited, and the output's key without its extension; None ends a task.
_Todo: TypeAlias = asyncio.Queue[tuple[ObjectInfo, str] | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchEditor:
    """Does jobs of the kind BATCH."""

    gate: ImageGate
    router: EditRouter
    blobs: BlobFolder
    storage: Storage
    buckets: StorageConfig
    item_timeout: float  # seconds one image may take

    async def run(
        self, job: Job, spec: BatchSpec, story: Story, cancelled: asyncio.Event
    ) -> Ending:
        """Edit all images, write the manifest, and return the finished callback body.

        Once `cancelled` is set no further image is begun, and those in work are given up.
        Once the job's own budget is spent no further image is begun either, but those in
        work go on. The manifest tells what is there. Raises StorageError if not even the
        listing works.
        """
        batch = _Batch(editor=self, job=job, spec=spec, story=story)
        manifest = batch.manifest
        try:
            await unless_cancelled(cancelled, batch.edit_all())
        except JobCancelled:
            manifest.cancelled = True
        manifest.spent = story.account.spent
        if batch.listing_error is not None and not manifest.items:
            raise batch.listing_error
        bucket, key = self.buckets.output_bucket, batch.keys.manifest_key
        written: StoredResult | None = StoredResult(bucket=bucket, key=key)
        try:
            with around(KillPoint.RESULT_STORED):
                await self.storage.put(
                    bucket,
                    key,
                    await asyncio.to_thread(manifest.to_json),  # as long as the batch is large
                    content_type="application/json",
                )
        except StorageError as exc:
            log.warning("manifest_not_written", error=describe(exc))
            manifest.notes.append(f"{key}: {describe(exc)}")
            written = None
        body = manifest.callback(output_bucket=bucket)
        outcome = Outcome(
            state=manifest.state,
            provider=body.provider,
            fallback_reason=body.fallback_reason,
            error=body.error,
            result=written,
            cost_unknown=manifest.spent.is_unknown,
        )
        return Ending(outcome=outcome, body=encode(body))


@dataclass(kw_only=True, slots=True)
class _Batch:
    """One run of a batch: `concurrency` tasks take keys from one listing."""

    editor: BatchEditor
    job: Job
    spec: BatchSpec
    story: Story
    keys: BatchKeys = field(init=False)
    manifest: Manifest = field(init=False)
    listing_error: StorageError | None = None
    listed: int = 0  # objects found so far, those that are no images too
    is_listed: bool = False  # whether that is all of them

    def __post_init__(self) -> None:
        self.keys = BatchKeys(
            output_prefix=self.spec.output_prefix,
            job_id=self.job.id,
            input_prefix=self.spec.input_prefix,
        )
        self.manifest = Manifest(
            job_id=self.job.id,
            provider=self.spec.asked_for(self.editor.router.catalogue),
            output_prefix=self.spec.output_prefix,
        )

    async def edit_all(self) -> None:
        """List and edit until the listing is at its end."""
        # The queue's bound holds the listing back: no more keys wait than are in work.
        todo: _Todo = asyncio.Queue(maxsize=self.spec.concurrency)
        async with asyncio.TaskGroup() as group:
            for number in range(self.spec.concurrency):
                group.create_task(self._work(todo), name=f"batch-{self.job.id}-{number}")
            try:
                await self._list(todo)
            except StorageError as exc:
                log.warning("listing_failed", error=describe(exc))
                self.listing_error = exc
                self.manifest.notes.append(f"{self.spec.input_prefix}: {describe(exc)}")
            self.is_listed = True
            for _ in range(self.spec.concurrency):
                await todo.put(None)

    async def _list(self, todo: _Todo) -> None:
        buckets = self.editor.buckets
        # What this and earlier jobs have put there is no input, whatever their output prefix.
        one_bucket = buckets.input_bucket == buckets.output_bucket
        listing = self.editor.storage.list(buckets.input_bucket, self.spec.input_prefix)
        async for found in listing:
            if found.key.endswith("/"):
                continue  # a folder marker
            if one_bucket and is_result(found.key):
                continue
            self.listed += 1
            if looks_like_image(found.key) is False:
                self.manifest.items.append(_skipped(found))
                continue
            # Named in the order of the listing, not in that in which the edits end.
            await todo.put((found, self.keys.reserve(found.key)))

    async def _work(self, todo: _Todo) -> None:
        while (next_one := await todo.get()) is not None:
            found, output = next_one
            if self.manifest.stopped is not None:
                self.manifest.items.append(self._not_started(found))
                continue
            # One for each image: which of them a call was for is told by nothing else.
            story = replace(self.story, spent=Spent())
            started = monotonic()
            item = _failed(found, JobCancelled())  # unless it comes to another end
            try:
                item = await self._item(found, output, story)
            finally:
                item.cost_usd = story.spent.usd
                item.cost_unknown = story.spent.is_unknown or None
                self.manifest.items.append(item)
            if item.state in {ItemState.SKIPPED, ItemState.NOT_STARTED}:
                continue
            item.seconds = round(monotonic() - started, 3)
            log.info("item_done", key=found.key, state=item.state, seconds=item.seconds)
            self.story.tell(
                EventType.ITEM_DONE,
                key=found.key,
                state=item.state.value,
                done=len(self.manifest.items),
                total=self.listed,
                listing="done" if self.is_listed else "going_on",
            )

    async def _item(self, found: ObjectInfo, output: str, story: Story) -> Item:
        """Edit one image, and return how that went."""
        try:
            async with deadline(self.editor.item_timeout) as until:
                return await self._edit(found, output, story, until)
        except NotAnImage as exc:
            return _skipped(found) if looks_like_image(found.key) is None else _failed(found, exc)
        except BudgetSpent as exc:
            if exc.of_job:
                self._stop(exc)
            is_begun = not exc.of_job or story.spent.calls
            return _failed(found, exc) if is_begun else self._not_started(found)
        except ImgsvcError as exc:
            return _failed(found, exc)
        except Exception as exc:
            log.exception("item_crashed", key=found.key)
            return _failed(found, exc)

    async def _edit(self, found: ObjectInfo, output: str, story: Story, until: float) -> Item:
        editor = self.editor
        data = await editor.storage.get(
            editor.buckets.input_bucket, found.key, max_bytes=editor.gate.limits.max_bytes
        )
        editor.gate.check_header(data)
        async with editor.blobs.scratch(data) as path:
            del data  # the file is enough: one copy less while the provider works
            request = EditRequest(
                prompt=self.spec.prompt,
                image=path,
                info=await editor.gate.inspect(path),
                filename=found.key.rpartition("/")[2],
                options=self.spec.options,
            )
            with around(KillPoint.PROVIDER_CALLED):
                result = await editor.router.edit(
                    request,
                    fallback_allowed=self.spec.fallback_allowed,
                    until=until,
                    observer=story,
                    account=story.account,
                )
        story.edited(result)
        return await self._store(found, output, result)

    async def _store(self, found: ObjectInfo, output: str, result: EditResult) -> Item:
        image = result.image
        key = f"{output}.{image.format.extension}"
        data = await image.to_bytes()
        with around(KillPoint.RESULT_STORED):
            await self.editor.storage.put(
                self.editor.buckets.output_bucket,
                key,
                data,
                content_type=image.format.media_type,
                metadata=result_metadata(self.job.id, result, source_key=found.key),
            )
        is_local = result.provider == LOCAL
        state = ItemState.PROCESSED
        if result.fallback_reason is not None:
            state = ItemState.FALLBACK_LOCAL if is_local else ItemState.FALLBACK_OTHER
        return Item(
            input_key=found.key,
            output_key=key,
            state=state,
            provider=result.provider,
            model=result.model,
            fallback_reason=result.fallback_reason,
            operations=result.operations if is_local else None,
            ignored=result.ignored if is_local else None,
            bytes=len(data),
        )

    def _stop(self, reason: BudgetSpent) -> None:
        """Begin no further image."""
        if self.manifest.stopped is None:
            self.manifest.stopped = describe(reason)
            log.warning("batch_stopped", reason=reason.message)

    def _not_started(self, found: ObjectInfo) -> Item:
        reason = self.manifest.stopped
        return Item(input_key=_shown(found), state=ItemState.NOT_STARTED, error=reason)


def _skipped(found: ObjectInfo) -> Item:
    return Item(input_key=_shown(found), state=ItemState.SKIPPED)


def _failed(found: ObjectInfo, exc: Exception) -> Item:
    return Item(input_key=_shown(found), state=ItemState.FAILED, error=describe(exc))


def _shown(found: ObjectInfo) -> str:
    """Return the key as JSON can hold it; a file's name may have bytes that are not UTF-8."""
    return found.key.encode(errors="backslashreplace").decode()
