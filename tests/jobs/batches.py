"""Batches to run, on buckets that can be told to fail."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

from imgsvc.errors import StorageError
from imgsvc.jobs import BatchEditor
from imgsvc.jobs.bodies import Ending
from imgsvc.storage import FilesystemConfig, FilesystemStorage, ObjectInfo
from imgsvc.storage.disk import HIDDEN
from imgsvc.storage.links import LinkSigner
from imgsvc.storage.walk import walk
from jobs.parts import JOB_ID, Told, batch_spec, make_job

MakeEditor = Callable[..., BatchEditor]

MANIFEST = f"output/{JOB_ID}/manifest.json"


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
        self.listing_breaks_after: int | None = None  # objects
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
        if self.listing_breaks_after is not None:
            raise StorageError("The listing broke off.")


async def run(editor: BatchEditor, *, job_id: str = JOB_ID, **spec: Any) -> dict[str, Any]:
    """Do a batch and return its callback."""
    return callback(await end(editor, job_id=job_id, **spec))


async def end(
    editor: BatchEditor,
    *,
    told: Told | None = None,
    cancelled: asyncio.Event | None = None,
    job_id: str = JOB_ID,
    **spec: Any,
) -> Ending:
    """Do a batch and return how it ended."""
    asked = batch_spec(**spec)
    return await editor.run(
        make_job(asked, job_id=job_id), asked, (told or Told()).story, cancelled or asyncio.Event()
    )


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
