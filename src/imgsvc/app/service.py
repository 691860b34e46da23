"""The service without its socket: what it is made of, its work, and the application."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from imgsvc.app.application import make_application
from imgsvc.app.resources import open_resources
from imgsvc.app.work import run_jobs, tidy_up
from imgsvc.config import Settings
from imgsvc.config.rotation import Rotation
from imgsvc.jobs import JobBackend
from imgsvc.providers import EditOptions
from imgsvc.web.readiness import Readiness


@dataclass(frozen=True, kw_only=True, slots=True)
class Service:
    """The running service without its socket."""

    app: web.Application
    backend: JobBackend
    readiness: Readiness
    provider: str  # that edits what names none
    rotation: Rotation


@asynccontextmanager
async def open_service(settings: Settings, *, base_url: str, port: int) -> AsyncIterator[Service]:
    """Open every resource in order, begin to work, and close them in reverse.

    `base_url` is how callers reach the server, `port` the one it listens on. Raises
    ConfigurationError, or what a resource raises that cannot be opened; what was open by then
    is closed again.
    """
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        resources = await enter(open_resources(settings, base_url=base_url, port=port))
        readiness = Readiness()
        # Last in, first out: the workers stop before anything they use.
        await enter(_running(resources.rotation.run(), name="secrets"))
        await enter(_running(tidy_up(resources), name="upkeep"))
        await enter(_running(resources.thumbnailer.run(), name="thumbnails"))
        await enter(_running(run_jobs(resources), name="workers"))
        yield Service(
            app=make_application(resources, readiness),
            backend=resources.backend,
            readiness=readiness,
            provider=resources.router.catalogue.asked_for(EditOptions(), has_mask=False),
            rotation=resources.rotation,
        )


@asynccontextmanager
async def _running(work: Coroutine[Any, Any, None], *, name: str) -> AsyncIterator[None]:
    """Do long-lived work while the context lasts; if it fails, so does the service."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(work, name=name)
        try:
            yield
        finally:
            task.cancel()
