"""Puts the service together: the only place that knows every room."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import aiohttp
from aiohttp import web

from imgsvc.callbacks import CallbackSender, EgressPolicy, ProgressSender, open_session
from imgsvc.config import Settings
from imgsvc.config.rotation import Rotation, open_rotation
from imgsvc.config.view import shown
from imgsvc.imaging.admission import ImageGate
from imgsvc.imaging.pool import open_image_pool
from imgsvc.jobs import (
    BatchEditor,
    BlobFolder,
    CallbackDeliverer,
    Clients,
    Freezer,
    ImageEditor,
    ImageFetcher,
    ItemEditor,
    JobBackend,
    JobControl,
    JobRunner,
    ManifestStore,
    ProgressPosts,
    RunLimits,
    Selector,
    Spool,
    Thumbnailer,
    Upkeep,
    hold,
    open_blobs,
)
from imgsvc.providers import EditOptions, EditRouter, PromptFilter, open_prompt_filter, open_router
from imgsvc.secrets import Renewals
from imgsvc.signing_keys import load_signing_key
from imgsvc.storage import Storage
from imgsvc.web.auditing import auditing
from imgsvc.web.auth.api_keys import KeyVerifier
from imgsvc.web.auth.guard import Guard, guarding
from imgsvc.web.auth.throttle import Throttle
from imgsvc.web.auth.tokens import TokenVerifier, open_token_verifier
from imgsvc.web.body_budget import BodyBudget
from imgsvc.web.cursor import Cursors
from imgsvc.web.dry_run import DryRuns
from imgsvc.web.intake import Intake
from imgsvc.web.keys import CONTEXT, Context
from imgsvc.web.metrics import make_registry
from imgsvc.web.middlewares import MIDDLEWARES, set_headers
from imgsvc.web.protection import own_pages, preflight, protect
from imgsvc.web.quota import RequestLimiter, show_quota
from imgsvc.web.readiness import Readiness
from imgsvc.web.routes import ACTIONS, add_routes

INSPECTORS = 2
"""Image processes that look at new requests: a heavy one must not hold up all others."""

INSPECTION_CPU_SECONDS = 10
"""CPU time of a look, the body's JSON and base64 included; what is known to take longer than a
second is refused before, by `imaging.pieces`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Service:
    """The running service without its socket."""

    app: web.Application
    backend: JobBackend
    readiness: Readiness
    provider: str
    rotation: Rotation


@dataclass(frozen=True, kw_only=True, slots=True)
class _Opened:
    """The resources that jobs and handlers are made of."""

    blobs: BlobFolder
    gate: ImageGate
    storage: Storage
    router: EditRouter
    prompts: PromptFilter
    egress: EgressPolicy
    session: aiohttp.ClientSession  # for addresses that callers name
    progress: ProgressSender
    backend: JobBackend
    cursors: Cursors
    spool: Spool
    thumbnailer: Thumbnailer
    tokens: TokenVerifier | None
    clients: Clients
    renewals: Renewals


@asynccontextmanager
async def open_service(settings: Settings, *, base_url: str, port: int) -> AsyncIterator[Service]:
    """Open every resource in order, and close them in reverse.

    `base_url` is how callers reach the server, `port` the one it listens on. Raises
    ConfigurationError, or what a resource raises that cannot be opened; what was open by then
    is closed again.
    """
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        stack.enter_context(hold(settings.data_dir))
        rotation = await enter(open_rotation(settings))
        renewals = rotation.renewals
        blobs = await enter(open_blobs(settings.data_dir))
        editors = await enter(open_image_pool(settings.images))
        inspectors = await enter(
            open_image_pool(
                settings.images, processes=INSPECTORS, cpu_seconds=INSPECTION_CPU_SECONDS
            )
        )
        storage = await enter(_open_storage(settings, base_url, renewals))
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
        backend = await enter(settings.backend.open(settings.data_dir))
        cursor_key = await asyncio.to_thread(load_signing_key, settings.data_dir / "cursor.key")
        opened = _Opened(
            blobs=blobs,
            gate=ImageGate(inspectors=inspectors, limits=settings.images.limits),
            storage=storage,
            router=router,
            prompts=prompts,
            egress=egress,
            session=session,
            progress=ProgressSender(session, settings.callbacks),
            backend=backend,
            cursors=Cursors(cursor_key),
            spool=Spool(blobs=blobs, record=backend.size, limit=settings.backend.max_spool_bytes),
            thumbnailer=Thumbnailer(settings.images, blobs),
            tokens=await enter(open_token_verifier(settings.auth)),
            clients=Clients(settings.limits, settings.clients),
            renewals=renewals,
        )
        readiness = Readiness()
        # Last in, first out: the workers stop before anything they use.
        await enter(_running(rotation.run(), name="secrets"))
        await enter(_running(_upkeep(settings, opened), name="upkeep"))
        await enter(_running(opened.thumbnailer.run(), name="thumbnails"))
        await enter(_running(_work(settings, opened), name="workers"))
        app = _application(settings, opened, readiness, base_url)
        provider = router.catalogue.asked_for(EditOptions(), has_mask=False)
        yield Service(
            app=app, backend=backend, readiness=readiness, provider=provider, rotation=rotation
        )


def _open_storage(
    settings: Settings, base_url: str, renewals: Renewals
) -> AbstractAsyncContextManager[Storage]:
    return settings.storage.open(data_dir=settings.data_dir, base_url=base_url, renewals=renewals)


def _job_runner(settings: Settings, opened: _Opened) -> JobRunner:
    fetcher = ImageFetcher(
        session=opened.session,
        policy=opened.egress,
        config=settings.image_url,
        max_bytes=settings.images.max_bytes,
    )
    images = ImageEditor(
        gate=opened.gate,
        fetcher=fetcher,
        router=opened.router,
        blobs=opened.blobs,
        storage=opened.storage,
        buckets=settings.storage,
    )
    batches = BatchEditor(
        items=opened.backend.items,
        selector=_selector(settings, opened),
        editor=ItemEditor(
            gate=opened.gate,
            router=opened.router,
            blobs=opened.blobs,
            storage=opened.storage,
            buckets=settings.storage,
            timeout=settings.workers.job_timeout,
            max_attempts=settings.workers.max_attempts,
        ),
        manifests=ManifestStore(
            items=opened.backend.items, blobs=opened.blobs, storage=opened.storage
        ),
        posts=ProgressPosts(sender=opened.progress, interval=settings.callbacks.progress_interval),
        slots=asyncio.Semaphore(settings.workers.count),
    )
    return JobRunner(
        backend=opened.backend,
        blobs=opened.blobs,
        images=images,
        batches=batches,
        freezer=_freezer(settings, opened.blobs),
        thumbnailer=opened.thumbnailer,
        config=settings.workers,
        budgets=settings.budgets,
        clients=opened.clients,
    )


def _selector(settings: Settings, opened: _Opened) -> Selector:
    return Selector(
        storage=opened.storage,
        config=settings.storage,
        blobs=opened.blobs,
        max_bytes=settings.images.max_bytes,
    )


def _freezer(settings: Settings, blobs: BlobFolder) -> Freezer:
    return Freezer(blobs=blobs, first_delay=settings.callbacks.schedule[0])


def _application(
    settings: Settings, opened: _Opened, readiness: Readiness, base_url: str
) -> web.Application:
    intake = Intake(
        server=settings.server,
        callbacks=settings.callbacks,
        workers=settings.workers,
        buckets=settings.storage,
        policy=opened.egress,
        gate=opened.gate,
        prompts=opened.prompts,
        blobs=opened.blobs,
        catalogue=opened.router.catalogue,
        readiness=readiness,
        budget=_body_budget(settings),
    )
    server, auth = settings.server, settings.auth
    app = web.Application(
        middlewares=[*MIDDLEWARES, preflight(server)], client_max_size=server.max_body_bytes
    )
    if auth.mode is None:
        app.middlewares.append(own_pages(server, base_url))
    guard = Guard(
        add_routes(app.router, auth),
        Throttle(limit=auth.max_failures, window=auth.failure_window),
        keys=KeyVerifier(opened.backend.api_keys) if auth.takes_keys else None,
        tokens=opened.tokens,
        limiter=RequestLimiter(opened.backend.request_rates, opened.clients),
    )
    app.middlewares.append(auditing(opened.backend.audit, ACTIONS))
    app.middlewares.append(guarding(guard))
    app.on_response_prepare.append(set_headers)
    app.on_response_prepare.append(show_quota)
    app.on_response_prepare.append(protect(server))
    app[CONTEXT] = Context(
        base_url=base_url,
        guard=guard,
        intake=intake,
        dry_runs=DryRuns(
            selector=_selector(settings, opened),
            catalogue=opened.router.catalogue,
            readiness=readiness,
        ),
        backend=opened.backend,
        control=JobControl(
            backend=opened.backend,
            blobs=opened.blobs,
            freezer=_freezer(settings, opened.blobs),
            catalogue=opened.router.catalogue,
            storage=settings.storage,
            clients=opened.clients,
        ),
        clients=opened.clients,
        storage=opened.storage,
        buckets=settings.storage,
        catalogue=opened.router.catalogue,
        breakers=opened.router.breakers,
        cursors=opened.cursors,
        readiness=readiness,
        spool=opened.spool,
        metrics=make_registry(
            backend=opened.backend,
            spool=opened.spool,
            router=opened.router,
            progress=opened.progress,
            renewals=opened.renewals,
        ),
        configuration=shown(settings),
    )
    return app


def _body_budget(settings: Settings) -> BodyBudget:
    """Return the budget, of which a client whose name is proved gets half, or one body at least.

    Without authentication a client is an address, and behind a gateway there is one for all.
    """
    server = settings.server
    half = max(server.max_bodies_bytes // 2, server.max_body_bytes)
    return BodyBudget(
        limit=server.max_bodies_bytes, of_client=half if settings.auth.is_on else None
    )


async def _upkeep(settings: Settings, opened: _Opened) -> None:
    """Tidy up until cancelled."""
    upkeep = Upkeep(
        backend=opened.backend,
        blobs=opened.blobs,
        spool=opened.spool,
        retention=timedelta(seconds=settings.backend.retention),
        audit_retention=timedelta(seconds=settings.backend.audit_retention),
    )
    await upkeep.run()


async def _work(settings: Settings, opened: _Opened) -> None:
    """Run workers and deliveries until cancelled."""
    runner = _job_runner(settings, opened)
    deliverer = CallbackDeliverer(
        backend=opened.backend,
        blobs=opened.blobs,
        sender=CallbackSender(opened.session, settings.callbacks, proxy=opened.egress.proxy),
        schedule=settings.callbacks.schedule,
        clients=opened.clients,
    )
    limits = RunLimits(
        workers=settings.workers.count,
        batches=settings.workers.batches,
        callbacks=settings.callbacks.concurrency,
        callbacks_per_host=settings.callbacks.per_host,
        of_client=opened.clients.max_running_jobs,
    )
    await opened.backend.run(runner.process, deliverer.deliver, limits)


@asynccontextmanager
async def _running(work: Coroutine[Any, Any, None], *, name: str) -> AsyncIterator[None]:
    """Do long-lived work while the context lasts; if it fails, so does the service."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(work, name=name)
        try:
            yield
        finally:
            task.cancel()
