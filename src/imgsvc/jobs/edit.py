"""Editing one image: fetch it if it is elsewhere, let the provider edit it, pass it on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from imgsvc.errors import PayloadLost
from imgsvc.imaging.admission import ImageGate
from imgsvc.imaging.gate import ImageInfo
from imgsvc.jobs.blobs import BlobFolder
from imgsvc.jobs.bodies import Ending, ImageToBase64Callback, ImageToStorageCallback, encode
from imgsvc.jobs.fetch import ImageFetcher
from imgsvc.jobs.metadata import result_metadata
from imgsvc.jobs.models import (
    EventType,
    ImageSpec,
    InlineResult,
    Job,
    JobKind,
    JobState,
    Outcome,
    RemoteImage,
    Result,
    StoredResult,
)
from imgsvc.jobs.story import Story
from imgsvc.killpoints import KillPoint, around
from imgsvc.providers import LOCAL, EditRequest, EditResult, EditRouter
from imgsvc.storage import Storage, StorageConfig
from imgsvc.storage.keys import result_key


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageEditor:
    """Does the jobs that edit one image."""

    gate: ImageGate
    fetcher: ImageFetcher
    router: EditRouter
    blobs: BlobFolder
    storage: Storage
    buckets: StorageConfig

    async def run(self, job: Job, spec: ImageSpec, story: Story, *, until: float) -> Ending:
        """Edit the image and return the finished callback body.

        `until` is when that must be done, as time.monotonic() counts.
        Raises ImgsvcError if there is no result.
        """
        mask = None if spec.mask is None else self.blobs.path(spec.mask)
        async with self._open_image(spec, mask) as (path, info):
            request = EditRequest(
                prompt=spec.prompt,
                image=path,
                info=info,
                filename=spec.filename,
                mask=mask,
                options=spec.options,
            )
            with around(KillPoint.PROVIDER_CALLED):
                result = await self.router.edit(
                    request,
                    fallback_allowed=spec.fallback_allowed,
                    until=until,
                    observer=story,
                    account=story.account,
                )
        story.edited(result)
        if spec.kind is JobKind.IMAGE_TO_BASE64:
            return await self._inline(job, spec, result, story)
        return await self._stored(job, spec, result, story)

    async def _inline(self, job: Job, spec: ImageSpec, result: EditResult, story: Story) -> Ending:
        """Return an ending with the image in the callback's body."""
        media_type = result.image.format.media_type
        fields = _fields(job, spec, result, story) | {"result_mime_type": media_type}
        callback = ImageToBase64Callback.model_validate(fields)
        body = encode(callback, image_base64=await result.image.to_base64())
        where = InlineResult(offset=len(body[0]), length=len(body[1]), media_type=media_type)
        return Ending(outcome=_completed(result, where, story), body=body)

    async def _stored(self, job: Job, spec: ImageSpec, result: EditResult, story: Story) -> Ending:
        """Store the image, and return an ending with a link to it."""
        image, bucket = result.image, self.buckets.output_bucket
        key = result_key(job.id, spec.filename, image.format.extension)
        data = await image.to_bytes()
        with around(KillPoint.RESULT_STORED):
            await self.storage.put(
                bucket,
                key,
                data,
                content_type=image.format.media_type,
                metadata=result_metadata(job.id, result),
            )
        story.tell(EventType.STORED, object_key=key, bytes=len(data))
        expires_in = self.buckets.presign_expires
        fields = _fields(job, spec, result, story)
        fields["object_key"] = key
        fields["result_url"] = await self.storage.presign(bucket, key, expires_in=expires_in)
        fields["expires_in"] = expires_in
        body = encode(ImageToStorageCallback.model_validate(fields))
        where = StoredResult(bucket=bucket, key=key)
        return Ending(outcome=_completed(result, where, story), body=body)

    @asynccontextmanager
    async def _open_image(
        self, spec: ImageSpec, mask: Path | None
    ) -> AsyncIterator[tuple[Path, ImageInfo]]:
        """Yield the image's file and what it is."""
        if not isinstance(spec.image, RemoteImage):
            path = self.blobs.path(spec.image.blob)
            if not await asyncio.to_thread(path.exists):
                raise PayloadLost
            yield path, spec.image.info
            return
        data = await self.fetcher.fetch(spec.image.url)
        self.gate.check_header(data)
        async with self.blobs.scratch(data) as path:
            del data
            info = await self.gate.inspect(path)
            if mask is not None:
                await self.gate.inspect_mask(mask, info)
            yield path, info


def _completed(result: EditResult, where: Result, story: Story) -> Outcome:
    return Outcome(
        state=JobState.COMPLETED,
        provider=result.provider,
        model=result.model,
        fallback_reason=result.fallback_reason,
        operations=result.operations,
        ignored=result.ignored,
        result=where,
        cost_unknown=story.account.spent.is_unknown,
    )


def _fields(job: Job, spec: ImageSpec, result: EditResult, story: Story) -> dict[str, object]:
    """Return what the callbacks of both kinds say."""
    is_local = result.provider == LOCAL
    return {
        "status": JobState.COMPLETED.value,
        "job_id": job.id,
        "filename": spec.filename,
        "provider": result.provider,
        "model": result.model,
        "fallback": result.fallback_reason is not None,
        "fallback_reason": result.fallback_reason,
        "operations": result.operations if is_local else None,
        "ignored": result.ignored if is_local else None,
        **story.account.spent.shown,
    }
