"""The service without its socket: what it is made of, its work, and the application."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from imgsvc.app.application import make_application
from imgsvc.app.resources import Resources, open_resources
from imgsvc.app.work import run_jobs, tidy_up
from imgsvc.config import Settings
from imgsvc.config.rotation import Rotation
from imgsvc.jobs import JobBackend
from imgsvc.providers import EditOptions
from imgsvc.reload import ReadAgain
from imgsvc.web.readiness import Readiness


@dataclass(frozen=True, kw_only=True, slots=True)
class Service:
    """The running service without its socket."""

    app: web.Application
    backend: JobBackend
    readiness: Readiness
    provider: str  # that edits what names none
    rotation: Rotation
    sources: Mapping[str, ReadAgain]  # what can be read again, by its name


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
            sources=_sources(resources),
        )


def _sources(resources: Resources) -> dict[str, ReadAgain]:
    rotation, sources = resources.rotation, dict[str, ReadAgain]()
    if rotation.has_file:
        sources["configuration"] = rotation.compare_file
    if rotation.sources:
        sources["secrets"] = rotation.read_again
    if resources.tokens is not None:
        sources["token_keys"] = resources.tokens.keys.read_again
    if resources.prompts.deny_list is not None:
        sources["deny_list"] = resources.prompts.deny_list.read_again
    return sources


@asynccontextmanager
async def _running(work: Coroutine[Any, Any, None], *, name: str) -> AsyncIterator[None]:
    """Do long-lived work while the context lasts; if it fails, so does the service."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(work, name=name)
        try:
            yield
        finally:
            task.cancel()
