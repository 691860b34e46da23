"""From a request to the order of a job: read, check, keep the payload on disk."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, cast

from aiohttp import web
from multidict import CIMultiDictProxy
from pydantic import ValidationError
from yarl import URL

from imgsvc.callbacks import CallbacksConfig, EgressPolicy, check_url, rewrite
from imgsvc.errors import (
    ImageProcessDied,
    InvalidObjectKey,
    InvalidUrl,
    MissingCallbackUrl,
    naming,
)
from imgsvc.imaging.admission import ImageGate
from imgsvc.imaging.formats import ImageFormat
from imgsvc.imaging.gate import ImageInfo
from imgsvc.jobs import ClientConfig, WorkersConfig
from imgsvc.jobs.blobs import BlobFolder
from imgsvc.jobs.client_rules import (
    check_callback,
    check_places,
    checked_options,
    checked_priority,
)
from imgsvc.jobs.models import (
    BatchSpec,
    BlobRef,
    ImageSpec,
    JobKind,
    JobSpec,
    RemoteImage,
    StoredImage,
)
from imgsvc.killpoints import KillPoint, around
from imgsvc.providers import Catalogue, EditOptions, PromptFilter
from imgsvc.providers.pricing import in_nano
from imgsvc.storage import StorageConfig
from imgsvc.storage.keys import MAX_PREFIX_BYTES, check_key, normal_prefix
from imgsvc.web.auth.principal import PRINCIPAL
from imgsvc.web.batch_schemas import BatchRequest
from imgsvc.web.body import check_head, receive
from imgsvc.web.body_budget import BodyBudget, Share
from imgsvc.web.config import ServerConfig
from imgsvc.web.idempotency import digest
from imgsvc.web.readiness import Readiness
from imgsvc.web.schemas import ProcessImageRequest
from imgsvc.web.unpack import Unpacked, unpack
from imgsvc.web.validation import explain, wrong_field

CALLBACK_HEADER = "callbackUrl"
PROGRESS_HEADER = "progressUrl"

IMAGE, MASK = "image", "mask"
"""Names of the files that a body's pictures are written to."""

Body = TypeVar("Body", ProcessImageRequest, BatchRequest)


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """What the body of a request asks for."""

    spec: JobSpec
    priority: int
    digest: str  # the same for every request that asks for the same


@dataclass(frozen=True, kw_only=True, slots=True)
class Intake:
    """Turns requests into orders.

    Every refusal is a RequestError, an ImageError or a ServiceOverloaded.
    """

    server: ServerConfig
    callbacks: CallbacksConfig
    workers: WorkersConfig
    buckets: StorageConfig
    policy: EgressPolicy
    gate: ImageGate
    prompts: PromptFilter
    blobs: BlobFolder
    catalogue: Catalogue
    readiness: Readiness
    budget: BodyBudget

    def callback_url(self, headers: CIMultiDictProxy[str], limits: ClientConfig) -> str | None:
        """Return the URL in the header `callbackUrl`, checked as far as it can be now.

        Without one, return None.
        """
        return self._url(headers, CALLBACK_HEADER, limits)

    def progress_url(
        self, headers: CIMultiDictProxy[str], limits: ClientConfig, *, callback_url: str | None
    ) -> str | None:
        """Return the URL in the header `progressUrl`, checked in the same way.

        It must lead elsewhere than the callback: whose receiver is waiting for one POST
        takes the first one for the result.
        """
        url = self._url(headers, PROGRESS_HEADER, limits)
        if url is None or callback_url is None:
            return url
        one, other = (
            rewrite(check_url(each), self.callbacks.rewrite) for each in (url, callback_url)
        )
        if _target(one) == _target(other):
            raise InvalidUrl(
                f"{PROGRESS_HEADER} and {CALLBACK_HEADER} are the same. Nothing but the result may"
                " go there: use another URL, or leave it out."
            )
        return url

    def _url(self, headers: CIMultiDictProxy[str], name: str, limits: ClientConfig) -> str | None:
        values = headers.getall(name, [])
        if len(values) > 1:
            raise InvalidUrl(f"The header {name} was sent {len(values)} times.")
        if not values or not values[0].strip():
            return None
        with naming(name):
            self.policy.check(rewrite(check_url(values[0].strip()), self.callbacks.rewrite))
        check_callback(limits, values[0].strip())
        return values[0].strip()

    @asynccontextmanager
    async def image_order(
        self, request: web.Request, kind: JobKind, limits: ClientConfig
    ) -> AsyncIterator[Order]:
        """Yield the order of a single image's job.

        Its payload is on disk from here on; if the block fails, it is removed again.
        """
        kept: list[BlobRef] = []
        try:
            async with self._unpacked(request) as (unpacked, folder):
                body = _validate(ProcessImageRequest, unpacked.fields)
                unpacked.raise_what_is_wrong()
                options = replace(
                    _options(body),
                    background=body.background,
                    stream_partials=body.stream_partials or 0,
                )
                has_mask = body.mask_base64 is not None
                self.catalogue.check(options, has_mask=has_mask)
                options = checked_options(limits, options, self.catalogue, has_mask=has_mask)
                priority = checked_priority(limits, body.priority)
                if body.image_url is not None:
                    with naming("image_url"):
                        self.policy.check(check_url(body.image_url))
                await self._check_prompt(body.prompt)
                image: StoredImage | RemoteImage
                if body.image_url is not None:
                    image = RemoteImage(url=body.image_url)
                else:
                    info = cast("ImageInfo", unpacked.image)  # neither missing nor wrong: see above
                    with around(KillPoint.BLOB_WRITTEN):
                        kept.append(await self.blobs.adopt(folder / IMAGE, info.format.media_type))
                    image = StoredImage(blob=kept[0], info=info)
                mask = None
                if body.mask_base64 is not None:
                    mask = await self.blobs.adopt(folder / MASK, ImageFormat.PNG.media_type)
                    kept.append(mask)
            spec = ImageSpec(
                kind=kind,
                prompt=body.prompt,
                image=image,
                filename=body.filename,
                mask=mask,
                options=options,
                fallback_allowed=body.fallback != "never",
                max_cost=_max_cost(body),
            )
            yield Order(spec=spec, priority=priority, digest=digest(spec, body))
        except Exception:
            # Not when it is cut off: the job may be recorded already. What belongs to none
            # is swept up later.
            await self.blobs.delete(kept)
            raise

    async def batch_request(self, request: web.Request, *, dry_only: bool) -> BatchRequest:
        """Return the body of a request for a batch.

        If it may ask for a dry run only, because there is no callbackUrl, anything else
        raises MissingCallbackUrl.
        """
        async with self._unpacked(request) as (unpacked, _):
            if dry_only and (unpacked.fields or {}).get("dry_run") is not True:
                raise MissingCallbackUrl
            # In a thread: there may be very many keys.
            return await asyncio.to_thread(_validate, BatchRequest, unpacked.fields)

    async def batch_spec(self, body: BatchRequest, limits: ClientConfig) -> BatchSpec:
        """Return what a request for a batch asks for, its keys left out."""
        checked_priority(limits, body.priority)
        most = self.workers.count
        if body.concurrency is not None and body.concurrency > most:
            raise wrong_field("concurrency", f"at most {most} on this server")
        options, buckets = _options(body), self.buckets
        self.catalogue.check(options, has_mask=False)
        options = checked_options(limits, options, self.catalogue, has_mask=False)
        spec = BatchSpec(
            prompt=body.prompt,
            input_prefix=(
                _prefix("input_prefix", body.input_prefix, buckets.input_prefix)
                if body.keys is None
                else ""
            ),
            output_prefix=_prefix("output_prefix", body.output_prefix, buckets.output_prefix),
            concurrency=body.concurrency or min(self.workers.batch_concurrency, most),
            options=options,
            fallback_allowed=body.fallback != "never",
            max_cost=_max_cost(body),
            input_bucket=body.input_bucket or buckets.input_bucket,
            output_bucket=body.output_bucket or buckets.output_bucket,
            include=tuple(body.include or ()),
            exclude=tuple(body.exclude or ()),
            since=body.since,
            limit=body.limit,
        )
        inputs = [spec.input_prefix] if body.keys is None else body.keys
        check_places(limits, spec, buckets, inputs)
        await self._check_prompt(body.prompt)
        return spec

    @asynccontextmanager
    async def batch_order(
        self, spec: BatchSpec, body: BatchRequest, limits: ClientConfig
    ) -> AsyncIterator[Order]:
        """Yield the order of a batch, with its keys as `image_order` has its payload."""
        kept: list[BlobRef] = []
        try:
            if body.keys is not None:
                lines = [f"{key}\n".encode() for key in body.keys]
                with around(KillPoint.BLOB_WRITTEN):
                    kept.append(await self.blobs.put(lines, content_type="text/plain"))
                spec = replace(spec, keys=kept[0])
            priority = checked_priority(limits, body.priority)
            yield Order(spec=spec, priority=priority, digest=digest(spec, body))
        except Exception:
            await self.blobs.delete(kept)  # as in image_order
            raise

    async def _check_prompt(self, prompt: str) -> None:
        # Moderation may take a while to answer, and what drains takes no new jobs.
        await self.readiness.unless_draining(self.prompts.check(prompt))

    @asynccontextmanager
    async def _unpacked(self, request: web.Request) -> AsyncIterator[tuple[Unpacked, Path]]:
        """Receive the body, and yield what is in it and the folder of its pictures."""
        check_head(request, max_bytes=self.server.max_body_bytes)
        client = request[PRINCIPAL].client
        with self.budget.share(client, request.content_length or 0) as share:
            async with self.blobs.scratch_folder() as folder:
                with self.blobs.noting_refusals():
                    taking_in = self._take_in(request, folder, share)
                    unpacked = await self.readiness.unless_draining(taking_in)
                yield unpacked, folder

    async def _take_in(self, request: web.Request, folder: Path, share: Share) -> Unpacked:
        server, body = self.server, folder / "body.json"
        await receive(
            request,
            body,
            max_bytes=server.max_body_bytes,
            timeout=server.body_timeout,
            take=share.take,
        )
        arguments = (body, folder / IMAGE, folder / MASK, self.gate.limits)
        try:
            return await self.gate.inspectors.run(unpack, *arguments)
        except ImageProcessDied:
            # Perhaps through no fault of this body: one more try, which changes nothing else.
            return await self.gate.inspectors.run(unpack, *arguments)


def _validate(schema: type[Body], fields: Any) -> Body:
    try:
        return schema.model_validate(fields)
    except ValidationError as exc:
        raise explain(exc) from exc


def _target(url: URL) -> tuple[object, ...]:
    """Return where a URL leads, the same for all ways to write it that are known to be one."""
    # Not `encoded`: dots in the path and needless percent signs go (RFC 3986, section 6.2.2).
    plain = URL(str(url))
    host = (plain.raw_host or "").removesuffix(".")
    return plain.scheme, host, plain.port, plain.raw_path_qs


def _options(body: ProcessImageRequest | BatchRequest) -> EditOptions:
    return EditOptions(
        model=body.model,
        quality=body.quality,
        size=body.size,
        output_format=None if body.output_format is None else ImageFormat(body.output_format),
    )


def _max_cost(body: ProcessImageRequest | BatchRequest) -> int | None:
    return None if body.max_cost_usd is None else in_nano(body.max_cost_usd)


def _prefix(field: str, given: str | None, configured: str) -> str:
    if given is None:
        return configured
    prefix = normal_prefix(given)
    if len(prefix.encode()) > MAX_PREFIX_BYTES:
        raise wrong_field(field, f"has more than {MAX_PREFIX_BYTES} bytes")
    try:
        check_key(f"{prefix}x")
    except InvalidObjectKey as exc:
        raise wrong_field(
            field, "is no folder of a bucket: no `.` or `..`, no control characters, short parts"
        ) from exc
    return prefix
