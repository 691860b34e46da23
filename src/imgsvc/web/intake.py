"""From a request to the description of a job: read, check, keep the payload on disk."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

from aiohttp import web
from multidict import CIMultiDictProxy
from pydantic import ValidationError

from imgsvc.callbacks import CallbacksConfig, EgressPolicy, check_url, rewrite
from imgsvc.errors import (
    BodyTimeout,
    BodyTooLarge,
    FieldError,
    InvalidJson,
    InvalidObjectKey,
    InvalidRequest,
    InvalidUrl,
    MissingCallbackUrl,
    UnsupportedMediaType,
)
from imgsvc.imaging.admission import ImageGate
from imgsvc.imaging.formats import ImageFormat
from imgsvc.imaging.gate import ImageInfo
from imgsvc.jobs import WorkersConfig
from imgsvc.jobs.blobs import BlobFolder
from imgsvc.jobs.models import (
    BatchSpec,
    BlobRef,
    ImageSpec,
    JobKind,
    RemoteImage,
    StoredImage,
)
from imgsvc.providers import EditOptions
from imgsvc.storage import StorageConfig
from imgsvc.storage.keys import check_key, normal_prefix
from imgsvc.web.config import ServerConfig
from imgsvc.web.decode import decode_base64
from imgsvc.web.schemas import BatchRequest, ProcessImageRequest

CALLBACK_HEADER = "callbackUrl"

Body = TypeVar("Body", ProcessImageRequest, BatchRequest)
P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Intake:
    """Turns requests into job descriptions; every refusal is a RequestError or ImageError."""

    server: ServerConfig
    callbacks: CallbacksConfig
    workers: WorkersConfig
    buckets: StorageConfig
    policy: EgressPolicy
    gate: ImageGate
    blobs: BlobFolder
    # Threads that hold the interpreter lock by turns keep the event loop from getting it:
    # measured, /health took twice as long with 32 of them.
    unpacking: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(2))

    def callback_url(self, headers: CIMultiDictProxy[str]) -> str:
        """Return the URL in the header `callbackUrl`, checked as far as it can be now."""
        values = headers.getall(CALLBACK_HEADER, [])
        if not values or not values[0].strip():
            raise MissingCallbackUrl
        if len(values) > 1:
            raise InvalidUrl(f"The header {CALLBACK_HEADER} was sent {len(values)} times.")
        url = rewrite(check_url(values[0].strip()), self.callbacks.rewrite)
        self.policy.check_host(url.host or "")
        return values[0].strip()

    @asynccontextmanager
    async def image_spec(self, request: web.Request, kind: JobKind) -> AsyncIterator[ImageSpec]:
        """Yield the description of a single image's job.

        Its payload is on disk from here on; if the block fails, it is removed again.
        """
        body = await self._parse(request, ProcessImageRequest)
        kept: list[BlobRef] = []
        try:
            image = await self._image(body, kept)
            mask = await self._mask(body, image, kept)
            yield ImageSpec(
                kind=kind,
                prompt=body.prompt,
                image=image,
                filename=body.filename,
                mask=mask,
                options=_options(body, background=body.background),
                fallback_allowed=body.fallback != "never",
            )
        except BaseException:
            await self.blobs.delete(kept)
            raise

    async def batch_spec(self, request: web.Request) -> BatchSpec:
        """Return the description of a batch."""
        body = await self._parse(request, BatchRequest)
        most = self.workers.count
        if body.concurrency is not None and body.concurrency > most:
            raise InvalidRequest(
                [FieldError(field="concurrency", message=f"at most {most} on this server")]
            )
        buckets = self.buckets
        return BatchSpec(
            prompt=body.prompt,
            input_prefix=_prefix("input_prefix", body.input_prefix, buckets.input_prefix),
            output_prefix=_prefix("output_prefix", body.output_prefix, buckets.output_prefix),
            concurrency=body.concurrency or min(self.workers.batch_concurrency, most),
            options=_options(body),
            fallback_allowed=body.fallback != "never",
        )

    async def _image(
        self, body: ProcessImageRequest, kept: list[BlobRef]
    ) -> StoredImage | RemoteImage:
        if body.image_url is not None:
            self.policy.check_host(check_url(body.image_url).host or "")
            return RemoteImage(url=body.image_url)
        data = await self._unpack(
            decode_base64,
            body.image_base64 or "",
            field="image_base64",
            max_bytes=self.gate.max_bytes,
        )
        image_format = self.gate.check_header(data)
        blob = await self.blobs.put([data], content_type=image_format.media_type)
        kept.append(blob)
        return StoredImage(blob=blob, info=await self.gate.inspect(self.blobs.path(blob)))

    async def _mask(
        self, body: ProcessImageRequest, image: StoredImage | RemoteImage, kept: list[BlobRef]
    ) -> BlobRef | None:
        if body.mask_base64 is None:
            return None
        data = await self._unpack(
            decode_base64, body.mask_base64, field="mask_base64", max_bytes=self.gate.max_mask_bytes
        )
        blob = await self.blobs.put([data], content_type=ImageFormat.PNG.media_type)
        kept.append(blob)
        info: ImageInfo | None = image.info if isinstance(image, StoredImage) else None
        await self.gate.inspect_mask(self.blobs.path(blob), info)
        return blob

    async def _unpack(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function that may take some tens of milliseconds in a thread."""
        async with self.unpacking:
            return await asyncio.to_thread(function, *args, **kwargs)

    async def _parse(self, request: web.Request, schema: type[Body]) -> Body:
        data = await self._read(request)
        try:
            return await self._unpack(schema.model_validate_json, data)
        except ValidationError as exc:
            raise _explain(exc) from exc

    async def _read(self, request: web.Request) -> bytes:
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise UnsupportedMediaType("Send the body without Content-Encoding.")
        if request.content_type != "application/json":
            raise UnsupportedMediaType(
                "Send the body as JSON, with the header 'Content-Type: application/json'."
            )
        too_large = BodyTooLarge(
            f"The request body has more than {self.server.max_body_bytes} bytes."
            " Send a smaller image, or use image_url."
        )
        if (request.content_length or 0) > self.server.max_body_bytes:
            raise too_large
        try:
            async with asyncio.timeout(self.server.body_timeout):
                return await request.read()
        except TimeoutError as exc:
            raise BodyTimeout from exc
        except web.HTTPRequestEntityTooLarge as exc:
            raise too_large from exc


def _options(
    body: ProcessImageRequest | BatchRequest, *, background: str | None = None
) -> EditOptions:
    return EditOptions(
        model=body.model,
        quality=body.quality,
        size=body.size,
        background=background,
        output_format=None if body.output_format is None else ImageFormat(body.output_format),
    )


def _prefix(field: str, given: str | None, configured: str) -> str:
    if given is None:
        return configured
    prefix = normal_prefix(given)
    try:
        check_key(f"{prefix}x")
    except InvalidObjectKey as exc:
        raise InvalidRequest(
            [FieldError(field=field, message=exc.message)], f"{field}: {exc.message}"
        ) from exc
    return prefix


def _explain(exc: ValidationError) -> InvalidJson | InvalidRequest:
    """Return pydantic's findings as ours: one entry a field, without the values sent."""
    errors = exc.errors(include_url=False, include_input=False, include_context=False)
    if errors[0]["type"] == "json_invalid":
        return InvalidJson(f"{errors[0]['msg']}. Send one JSON object, encoded as UTF-8.")
    found = [
        FieldError(
            field=".".join(str(part) for part in error["loc"]) or "body",
            message=_MESSAGES.get(error["type"], error["msg"].removeprefix("Value error, ")),
        )
        for error in errors
    ]
    summary = "; ".join(f"{error.field}: {error.message}" for error in found[:5])
    return InvalidRequest(found, f"The request has wrong fields. {summary}.")


_MESSAGES = {
    "extra_forbidden": "unknown field; see /docs for those there are",
    "string_pattern_mismatch": "is not in the form that /docs shows for it",
    "missing": "this field is required",
    "model_type": "must be a JSON object",
}
