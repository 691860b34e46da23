"""Editing every image of a selection, a few at a time, with a manifest of what became of each.

What is found becomes rows of the record while the first images are being edited, so that
memory holds no more than what is in work, and a batch goes on where it was stopped.
"""

import asyncio
from contextlib import closing
from dataclasses import dataclass

import structlog

from imgsvc.errors import BucketNotAllowed, DiskRefuses, ImgsvcError, StorageError, describe
from imgsvc.jobs.batch_item import ItemEditor
from imgsvc.jobs.batch_run import BatchRun
from imgsvc.jobs.bodies import Ending, encode
from imgsvc.jobs.freezing import persist
from imgsvc.jobs.items import Items
from imgsvc.jobs.manifest_store import ManifestStore
from imgsvc.jobs.models import BatchSpec, Job, Outcome, StoredResult
from imgsvc.jobs.progress import ProgressTeller, RateMeter
from imgsvc.jobs.progress_posts import ProgressPosts
from imgsvc.jobs.selection import Selector, buckets_of
from imgsvc.jobs.story import Story
from imgsvc.jobs.summary import Summary
from imgsvc.storage.keys import BatchKeys

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchEditor:
    """Does jobs of the kind BATCH."""

    items: Items
    selector: Selector
    editor: ItemEditor
    manifests: ManifestStore
    posts: ProgressPosts
    slots: asyncio.Semaphore  # of images that all batches together have in work at once

    async def run(
        self,
        job: Job,
        spec: BatchSpec,
        story: Story,
        *,
        cancelled: asyncio.Event,
        stopping: asyncio.Event,
        given_up: ImgsvcError | None = None,
    ) -> Ending:
        """Begin or carry on a batch, write its manifests, and return the finished callback body.

        Once `stopping` is set no further image is begun; with `cancelled`, which sets it
        too, edits under way are given up. Without it they go on, and then JobStopping is
        raised if that was not all.
        Once the job's own budget is spent, or the storage has failed many images in a row,
        no further image is begun either, but those in work go on. The manifests tell what
        is there, and that is all that is done if the batch is `given_up`, for this reason. If a
        bucket is not allowed any more, that is the reason, and there are no manifests.
        Raises JobLost, or if there is nothing at all StorageError, PayloadLost or that reason.
        """
        bucket: str | None = None
        try:
            bucket = buckets_of(spec, self.editor.buckets).output
        except BucketNotAllowed as exc:
            given_up = exc
        listing = await persist(lambda: self.items.open(job))
        keys = BatchKeys(
            output_prefix=spec.output_prefix,
            job_id=listing.folder,
            input_prefix=spec.input_prefix,
        )
        teller = ProgressTeller(story=story, newest=listing.progress)
        batch = BatchRun(
            items=self.items,
            selector=self.selector,
            editor=self.editor,
            slots=self.slots,
            job=job,
            spec=spec,
            story=story,
            cancelled=cancelled,
            stopping=stopping,
            stopped=None if given_up is None else describe(given_up),
            begun_at=listing.begun_at,
            is_listed=listing.is_complete,
            last_key=listing.last_key,
            images=listing.images,
            teller=teller,
            meter=RateMeter(spec.concurrency),
        )
        with closing(teller):
            async with self.posts.of(job, teller):
                await batch.do()
            summary = await batch.summary()
            teller.is_over(summary.counters)
        reason = batch.listing_error or given_up
        if reason is not None and not summary.sums.states.total():
            raise reason
        where = None
        if bucket is not None:
            summary, where = await self._store_manifests(summary, keys, bucket)
        elif given_up is not None:
            summary = summary.with_note(f"{keys.manifest_key}: {describe(given_up)}")
        body = summary.callback(
            output_bucket=spec.output_bucket or self.editor.buckets.output_bucket
        )
        outcome = Outcome(
            state=summary.state,
            provider=body.provider,
            fallback_reason=body.fallback_reason,
            error=body.error,
            result=where,
            cost_unknown=summary.spent.is_unknown,
        )
        return Ending(outcome=outcome, body=encode(body))

    async def _store_manifests(
        self, summary: Summary, keys: BatchKeys, bucket: str
    ) -> tuple[Summary, StoredResult | None]:
        """Store both, and return where manifest.json is, and the summary with trouble added."""
        where: StoredResult | None = StoredResult(bucket=bucket, key=keys.manifest_key)
        # Last the one that tells of trouble with the other.
        for key, store in (
            (keys.table_key, self.manifests.store_csv),
            (keys.manifest_key, self.manifests.store_json),
        ):
            try:
                await store(summary, bucket, key)
            except (StorageError, DiskRefuses) as exc:
                log.warning("manifest_not_written", key=key, error=describe(exc))
                summary = summary.with_note(f"{key}: {describe(exc)}")
                if key == keys.manifest_key:
                    where = None
        return summary, where
