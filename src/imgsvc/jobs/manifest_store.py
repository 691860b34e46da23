"""Writing the manifests of a batch from the record to the bucket, whatever its size."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

from imgsvc.jobs.blobs import BlobFolder
from imgsvc.jobs.items import Item, ItemFilter, Items
from imgsvc.jobs.manifest import csv_parts, json_parts, write_file
from imgsvc.jobs.models import Job
from imgsvc.jobs.summary import Summary
from imgsvc.killpoints import KillPoint, around
from imgsvc.storage import Storage

PORTION = 500
"""Items that are read from the record at once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ManifestStore:
    """Makes a file of a batch's items, and stores it; raises StorageError or DiskRefuses."""

    items: Items
    blobs: BlobFolder
    storage: Storage

    async def store_csv(self, summary: Summary, bucket: str, key: str) -> None:
        """Store manifest.csv."""
        parts = csv_parts(self._rows(summary.job))
        await self._store(parts, bucket, key, "text/csv; charset=utf-8")

    async def store_json(self, summary: Summary, bucket: str, key: str) -> None:
        """Store manifest.json."""
        parts = json_parts(summary.head, self._rows(summary.job))
        with around(KillPoint.RESULT_STORED):
            await self._store(parts, bucket, key, "application/json")

    async def _store(
        self, parts: AsyncGenerator[bytes], bucket: str, key: str, content_type: str
    ) -> None:
        async with self.blobs.scratch_folder() as folder:
            path = folder / "manifest"
            with self.blobs.noting_refusals():
                await write_file(path, parts)
            await self.storage.put_file(bucket, key, path, content_type=content_type)

    async def _rows(self, job: Job) -> AsyncGenerator[Sequence[Item]]:
        after = 0
        wanted = ItemFilter(job_id=job.id)
        while rows := await self.items.page(wanted, after=after, limit=PORTION):
            yield rows
            after = rows[-1].number
