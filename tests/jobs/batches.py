"""Batches to run, on buckets that can be told to fail."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, cast

from imgsvc.callbacks import ProgressSender
from imgsvc.errors import ImgsvcError, StorageError
from imgsvc.imaging.admission import ImageGate
from imgsvc.jobs import (
    BatchEditor,
    BlobFolder,
    ItemEditor,
    ManifestStore,
    ProgressPosts,
    Selector,
)
from imgsvc.jobs.bodies import Ending
from imgsvc.jobs.items import Items
from imgsvc.jobs.models import BatchSpec, Job, JobState
from imgsvc.jobs.sqlite import changes
from imgsvc.jobs.sqlite.items import SqliteItems
from imgsvc.jobs.sqlite.writer import Transaction
from imgsvc.providers import EditRouter
from imgsvc.storage import (
    FilesystemConfig,
    FilesystemStorage,
    ObjectInfo,
    Storage,
    StorageConfig,
)
from imgsvc.storage.disk import HIDDEN
from imgsvc.storage.links import LinkSigner
from imgsvc.storage.walk import walk
from jobs.parts import JOB_ID, Told, batch_spec, new_job

MakeEditor = Callable[..., BatchEditor]

MANIFEST = f"output/{JOB_ID}/manifest.json"
TABLE = f"output/{JOB_ID}/manifest.csv"


async def _nothing(_key: str) -> None:
    pass


class Buckets(FilesystemStorage):
    """A real storage; `refuses` says for which output keys it raises what."""

    def __init__(self, folder: Path, config: FilesystemConfig) -> None:
        signer = LinkSigner(signing_key=bytes(32), base_url="http://127.0.0.1:9")
        super().__init__(folder=folder, signer=signer)
        self.input = folder / config.input_bucket
        self.output = folder / config.output_bucket
        for bucket in (self.input, self.output):
            bucket.mkdir(parents=True, exist_ok=True)
        self.refuses: Callable[[str], StorageError | None] = lambda _key: None
        self.denies: Callable[[str], StorageError | None] = lambda _key: None  # to read it
        self.stored: Callable[[str], Awaitable[None]] = _nothing  # called when an image is there
        self.read: list[str] = []  # keys
        self.listing_breaks_after: int | None = None  # objects
        self.listing_waits_for: asyncio.Semaphore | None = None  # behind each object
        self.listed = 0  # objects, by all listings

    def add(self, key: str, data: bytes) -> None:
        """Put an object into the input bucket."""
        path = self.input / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def outputs(self, prefix: str = "") -> dict[str, bytes]:
        """Return what is in the output bucket, by key."""
        keys = (info.key for info in walk(self.output, prefix, after=None, hidden=HIDDEN))
        return {key: (self.output / key).read_bytes() for key in keys}

    async def put(
        self,
        bucket: str,
        key: str,
        data: bytes,
        *,
        content_type: str,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        if (error := self.refuses(key)) is not None:
            raise error
        await super().put(bucket, key, data, content_type=content_type, metadata=metadata)
        await self.stored(key)

    async def get(self, bucket: str, key: str, *, max_bytes: int) -> bytes:
        self.read.append(key)
        if (error := self.denies(key)) is not None:
            raise error
        return await super().get(bucket, key, max_bytes=max_bytes)

    async def put_file(
        self,
        bucket: str,
        key: str,
        path: Path,
        *,
        content_type: str,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        if (error := self.refuses(key)) is not None:
            raise error
        await super().put_file(bucket, key, path, content_type=content_type, metadata=metadata)

    async def list(
        self, bucket: str, prefix: str, *, after: str | None = None
    ) -> AsyncIterator[ObjectInfo]:
        number = 0  # of this listing
        async for info in super().list(bucket, prefix, after=after):
            if number == self.listing_breaks_after:
                raise StorageError("The listing broke off.")
            number += 1
            self.listed += 1
            yield info
            if self.listing_waits_for is not None:
                await self.listing_waits_for.acquire()
        if self.listing_breaks_after is not None:
            raise StorageError("The listing broke off.")


def make_batch_editor(
    *,
    items: Items,
    gate: ImageGate,
    router: EditRouter,
    blobs: BlobFolder,
    storage: Storage,
    buckets: StorageConfig,
    timeout: float,
    slots: int = 100,
) -> BatchEditor:
    """Put together what does batches."""
    return BatchEditor(
        items=items,
        selector=Selector(
            storage=storage, config=buckets, blobs=blobs, max_bytes=gate.limits.max_bytes
        ),
        editor=ItemEditor(
            gate=gate,
            router=router,
            blobs=blobs,
            storage=storage,
            buckets=buckets,
            timeout=timeout,
            max_attempts=3,
        ),
        manifests=ManifestStore(items=items, blobs=blobs, storage=storage),
        posts=ProgressPosts(sender=cast("ProgressSender", None), interval=10),  # nobody wants any
        slots=asyncio.Semaphore(slots),
    )


async def run(editor: BatchEditor, **options: Any) -> dict[str, Any]:
    """Do a batch and return its callback."""
    return callback(await end(editor, **options))


async def end(
    editor: BatchEditor,
    *,
    told: Told | None = None,
    cancelled: asyncio.Event | None = None,
    stopping: asyncio.Event | None = None,
    given_up: ImgsvcError | None = None,
    job_id: str = JOB_ID,
    **spec: Any,
) -> Ending:
    """Do a batch, a new one or one that was begun, and return how it ended."""
    assert isinstance(editor.items, SqliteItems)
    asked = batch_spec(**spec)
    job = await editor.items.database.call(lambda tx: _claimed(tx, asked, job_id))
    cancelled = cancelled or asyncio.Event()
    return await editor.run(
        job,
        asked,
        (told or Told()).story,
        cancelled=cancelled,
        stopping=stopping or cancelled,
        given_up=given_up,
    )


def _claimed(tx: Transaction, spec: BatchSpec, job_id: str) -> Job:
    """Return the job with this id as a worker has it after claiming it."""
    if tx.one("SELECT 1 FROM jobs WHERE id = ?", (job_id,)) is None:
        made = changes.accept(tx, new_job(spec=spec)).job
        tx.execute("UPDATE jobs SET id = ? WHERE id = ?", (job_id, made.id))
    if changes.get(tx, job_id).state is JobState.RUNNING:
        changes.put_back(tx, orderly=False)
    job = changes.start(tx, job_id)
    assert job is not None
    return job


def callback(ending: Ending) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(b"".join(ending.body))
    assert body["status"] == ending.outcome.state.value
    return body


def counts(body: dict[str, Any]) -> tuple[int, int, int, int]:
    """Return total_files, processed, fallback_local and failed."""
    assert body["total_files_processed"] == body["processed"] + body["fallback_local"]
    return (body["total_files"], body["processed"], body["fallback_local"], body["failed"])


def manifest(buckets: Buckets, key: str = MANIFEST) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(buckets.outputs()[key])
    return parsed
