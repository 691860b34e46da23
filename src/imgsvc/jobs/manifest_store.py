"""Writing the manifests of a batch from the record to the bucket, whatever its size."""

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass

from imgsvc.jobs.blobs import BlobFolder
from imgsvc.jobs.freezing import DISK_ATTEMPTS, persist
from imgsvc.jobs.items import Item, ItemFilter, Items
from imgsvc.jobs.manifest import csv_parts, json_parts, write_file
from imgsvc.jobs.models import Job
from imgsvc.jobs.summary import Summary
from imgsvc.killpoints import KillPoint, around
from imgsvc.storage import Storage

PORTION = 200
"""Items that are read from the record at once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ManifestStore:
    """Makes a file of a batch's items, and stores it.

    Raises StorageError, or DiskRefuses if the disk takes no such file for a minute.
    """

    items: Items
    blobs: BlobFolder
    storage: Storage

    async def store_csv(self, summary: Summary, bucket: str, key: str) -> None:
        """Store manifest.csv."""
        await self._store(
            lambda: csv_parts(self._rows(summary.job)), bucket, key, "text/csv; charset=utf-8"
        )

    async def store_json(self, summary: Summary, bucket: str, key: str) -> None:
        """Store manifest.json."""
        with around(KillPoint.RESULT_STORED):
            await self._store(
                lambda: json_parts(summary.head, self._rows(summary.job)),
                bucket,
                key,
                "application/json",
            )

    async def _store(
        self,
        make_parts: Callable[[], AsyncGenerator[bytes]],
        bucket: str,
        key: str,
        content_type: str,
    ) -> None:
        async def attempt() -> None:
            async with self.blobs.scratch_folder() as folder:
                path = folder / "manifest"
                with self.blobs.noting_refusals():
                    await write_file(path, make_parts())
                await self.storage.put_file(bucket, key, path, content_type=content_type)

        await persist(attempt, attempts=DISK_ATTEMPTS)

    async def _rows(self, job: Job) -> AsyncGenerator[Sequence[Item]]:
        after = 0
        wanted = ItemFilter(job_id=job.id)
        while rows := await self.items.page(wanted, after=after, limit=PORTION):
            yield rows
            after = rows[-1].number
