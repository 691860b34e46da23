"""What the paths beside the jobs do: parse, call, answer. Errors travel up to the middleware."""

from functools import lru_cache
from time import monotonic
from typing import Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from imgsvc import __version__
from imgsvc.errors import NotFound
from imgsvc.providers import EditOptions
from imgsvc.storage import FilesystemStorage, S3Config
from imgsvc.storage.filesystem import content_type
from imgsvc.web import openapi
from imgsvc.web.answers import json_response
from imgsvc.web.auth.guard import Guard
from imgsvc.web.breaker_view import not_closed
from imgsvc.web.keys import CONTEXT


async def health(request: web.Request) -> web.Response:
    """Tell that the server is there, and how busy it is."""
    context = request.app[CONTEXT]
    stats = context.backend.stats()
    return json_response(
        {
            "ok": True,
            "version": __version__,
            "ready": not context.readiness.draining,
            "uptime_seconds": round(monotonic() - context.readiness.started, 1),
            "provider": context.catalogue.asked_for(EditOptions(), has_mask=False),
            "breakers": not_closed(context.breakers),
            "storage": context.storage.kind,
            "queued": stats.queued,
            "running": stats.running,
            "callbacks_pending": stats.callbacks_pending,
            "callbacks_dead": stats.callbacks_dead,
            "spool_bytes": context.spool.size,
        }
    )


async def live(_request: web.Request) -> web.Response:
    """Tell that the process serves requests."""
    return json_response({"ok": True})


async def ready(request: web.Request) -> web.Response:
    """Tell whether new jobs are taken.

    An open breaker changes nothing in that: the local engine steps in, and all servers
    with the same account would leave a load balancer together.
    """
    context = request.app[CONTEXT]
    context.readiness.check()
    context.spool.check()
    await context.intake.blobs.check()
    await context.backend.check()
    return json_response({"ok": True, "breakers": not_closed(context.breakers)})


async def metrics(request: web.Request) -> web.Response:
    """Show figures in the text format of Prometheus."""
    return web.Response(
        body=generate_latest(request.app[CONTEXT].metrics),
        headers={"Content-Type": CONTENT_TYPE_LATEST},
    )


async def cos_config(request: web.Request) -> web.Response:
    """Show where batches read and results go; never a secret."""
    buckets = request.app[CONTEXT].buckets
    answer: dict[str, object] = {}
    if isinstance(buckets, S3Config):
        answer |= {"endpoint": str(buckets.endpoint), "region": buckets.region}
    return json_response(
        answer
        | {
            "input_bucket": buckets.input_bucket,
            "output_bucket": buckets.output_bucket,
            "input_prefix": buckets.input_prefix,
            "output_prefix": buckets.output_prefix,
            "presign_expires": buckets.presign_expires,
        }
    )


async def config(request: web.Request) -> web.Response:
    """Show the configuration in force; never a secret."""
    return json_response(dict(request.app[CONTEXT].configuration))


async def file(request: web.Request) -> web.StreamResponse:
    """Serve an object of the filesystem storage to whoever has a signed link."""
    storage = request.app[CONTEXT].storage
    if not isinstance(storage, FilesystemStorage):
        raise NotFound
    path = await storage.verify_link(
        request.match_info["bucket"],
        request.match_info["key"],
        expires=request.query.get("expires", ""),
        signature=request.query.get("signature", ""),
    )
    return web.FileResponse(
        path,
        headers={
            "Content-Type": content_type(path),
            "Cache-Control": "private",
            "X-Content-Type-Options": "nosniff",
        },
    )


async def front_page(_request: web.Request) -> web.Response:
    """Lead people who type the server's name to its documentation."""
    return web.Response(status=302, headers={"Location": "/docs"})


async def openapi_document(request: web.Request) -> web.Response:
    """Show the OpenAPI document: the tools, or with ?full=1 everything."""
    full = request.query.get("full", "") not in {"", "0", "false"}
    context = request.app[CONTEXT]
    return json_response(_document(context.base_url, context.guard, full=full))


@lru_cache(maxsize=2)
def _document(base_url: str, guard: Guard, *, full: bool) -> dict[str, Any]:
    """Keep the document: making it takes the event loop some milliseconds."""
    rules = None if guard.is_open else guard.rules
    return openapi.document(base_url, full=full, rules=rules)
