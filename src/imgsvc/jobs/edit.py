"""Editing one image: fetch it if it is elsewhere, let the provider edit it, pass it on."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from imgsvc.imaging.admission import ImageGate
from imgsvc.imaging.gate import ImageInfo
from imgsvc.jobs.blobs import BlobFolder
from imgsvc.jobs.bodies import ImageToBase64Callback, ImageToStorageCallback, encode
from imgsvc.jobs.fetch import ImageFetcher
from imgsvc.jobs.models import ImageSpec, Job, JobKind, JobState, Outcome, RemoteImage
from imgsvc.providers import EditRequest, EditResult, EditRouter
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

    async def run(self, job: Job, spec: ImageSpec) -> Outcome:
        """Edit the image and return the finished callback body.

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
            result = await self.router.edit(request, fallback_allowed=spec.fallback_allowed)
        return Outcome(state=JobState.COMPLETED, body=await self._body(job, spec, result))

    async def _body(self, job: Job, spec: ImageSpec, result: EditResult) -> list[bytes]:
        """Return the callback's body; a result that goes to the bucket is stored first."""
        fields: dict[str, object] = {
            "status": JobState.COMPLETED.value,
            "job_id": job.id,
            "filename": spec.filename,
            "provider": result.provider,
            "fallback": result.fallback_reason is not None,
            "fallback_reason": result.fallback_reason,
        }
        image = result.image
        if spec.kind is JobKind.IMAGE_TO_BASE64:
            fields["result_mime_type"] = image.format.media_type
            inline = ImageToBase64Callback.model_validate(fields)
            return encode(inline, image_base64=await image.to_base64())
        bucket, key = (
            self.buckets.output_bucket,
            result_key(job.id, spec.filename, image.format.extension),
        )
        data = await image.to_bytes()
        await self.storage.put(bucket, key, data, content_type=image.format.media_type)
        expires_in = self.buckets.presign_expires
        fields["object_key"] = key
        fields["result_url"] = await self.storage.presign(bucket, key, expires_in=expires_in)
        fields["expires_in"] = expires_in
        return encode(ImageToStorageCallback.model_validate(fields))

    @asynccontextmanager
    async def _open_image(
        self, spec: ImageSpec, mask: Path | None
    ) -> AsyncIterator[tuple[Path, ImageInfo]]:
        """Yield the image's file and what it is."""
        if not isinstance(spec.image, RemoteImage):
            yield self.blobs.path(spec.image.blob), spec.image.info
            return
        data = await self.fetcher.fetch(spec.image.url)
        self.gate.check_header(data)
        async with self.blobs.scratch(data) as path:
            del data
            info = await self.gate.inspect(path)
            if mask is not None:
                await self.gate.inspect_mask(mask, info)
            yield path, info
