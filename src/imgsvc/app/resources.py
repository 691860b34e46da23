"""What the service is made of: opened in order, closed in reverse."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import aiohttp

from imgsvc.callbacks import EgressPolicy, ProgressSender, open_session
from imgsvc.config import Settings
from imgsvc.config.rotation import Rotation, open_rotation
from imgsvc.imaging.admission import ImageGate
from imgsvc.imaging.pool import open_image_pool
from imgsvc.jobs import (
    BlobFolder,
    Clients,
    Freezer,
    JobBackend,
    Selector,
    Spool,
    Thumbnailer,
    hold,
    open_blobs,
)
from imgsvc.providers import EditRouter, PromptFilter, open_prompt_filter, open_router
from imgsvc.signing_keys import load_signing_key
from imgsvc.storage import Storage
from imgsvc.web.auth.tokens import TokenVerifier, open_token_verifier
from imgsvc.web.cursor import Cursors

INSPECTORS = 2
"""Image processes that look at new requests: a heavy one must not hold up all others."""

INSPECTION_CPU_SECONDS = 10
"""CPU time of a look, the body's JSON and base64 included; what is known to take longer than a
second is refused before, by `imaging.pieces`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Resources:
    """What jobs and handlers work with."""

    settings: Settings
    base_url: str  # how callers reach the server
    rotation: Rotation
    blobs: BlobFolder
    gate: ImageGate
    storage: Storage
    selector: Selector
    router: EditRouter
    prompts: PromptFilter
    egress: EgressPolicy
    session: aiohttp.ClientSession  # for addresses that callers name
    progress: ProgressSender
    backend: JobBackend
    freezer: Freezer
    cursors: Cursors
    spool: Spool
    thumbnailer: Thumbnailer
    tokens: TokenVerifier | None
    clients: Clients


@asynccontextmanager
async def open_resources(
    settings: Settings, *, base_url: str, port: int
) -> AsyncIterator[Resources]:
    """Open everything that the service on this port works with.

    Raises ConfigurationError, or what a resource raises that cannot be opened; what was open
    by then is closed again.
    """
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        data_dir, images = settings.data_dir, settings.images
        stack.enter_context(hold(data_dir))
        rotation = await enter(open_rotation(settings))
        renewals = rotation.renewals
        blobs = await enter(open_blobs(data_dir))
        editors = await enter(open_image_pool(images))
        inspectors = await enter(
            open_image_pool(images, processes=INSPECTORS, cpu_seconds=INSPECTION_CPU_SECONDS)
        )
        storage: Storage = await enter(
            settings.storage.open(data_dir=data_dir, base_url=base_url, renewals=renewals)
        )
        router = await enter(
            open_router(
                settings.image_apis, settings.routing, settings.local, editors, renewals=renewals
            )
        )
        renewals.tell(router.breakers.try_new_keys)
        prompts = await enter(
            open_prompt_filter(settings.prompts, settings.openai, renewals=renewals)
        )
        egress = settings.egress_policy(own_port=port)
        session = await enter(open_session(egress))
        backend = await enter(settings.backend.open(data_dir))
        cursor_key = await asyncio.to_thread(load_signing_key, data_dir / "cursor.key")
        yield Resources(
            settings=settings,
            base_url=base_url,
            rotation=rotation,
            blobs=blobs,
            gate=ImageGate(inspectors=inspectors, limits=images.limits),
            storage=storage,
            selector=Selector(
                storage=storage,
                config=settings.storage,
                blobs=blobs,
                max_bytes=images.max_bytes,
            ),
            router=router,
            prompts=prompts,
            egress=egress,
            session=session,
            progress=ProgressSender(session, settings.callbacks),
            backend=backend,
            freezer=Freezer(blobs=blobs, first_delay=settings.callbacks.schedule[0]),
            cursors=Cursors(cursor_key),
            spool=Spool(blobs=blobs, record=backend.size, limit=settings.backend.max_spool_bytes),
            thumbnailer=Thumbnailer(images, blobs),
            tokens=await enter(open_token_verifier(settings.auth)),
            clients=Clients(settings.limits, settings.clients),
        )
