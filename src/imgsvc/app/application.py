"""The aiohttp application: middlewares in their order, and what handlers find in it."""

from collections import Counter

from aiohttp import web

from imgsvc.app.resources import Resources
from imgsvc.config import Settings
from imgsvc.config.view import shown
from imgsvc.jobs import JobControl
from imgsvc.web.auditing import auditing
from imgsvc.web.auth.api_keys import KeyVerifier
from imgsvc.web.auth.guard import Guard, guarding
from imgsvc.web.auth.throttle import Throttle
from imgsvc.web.body_budget import BodyBudget
from imgsvc.web.dry_run import AT_ONCE_OF_CLIENT, DryRuns
from imgsvc.web.intake import Intake
from imgsvc.web.keys import CONTEXT, Context
from imgsvc.web.metrics import make_registry
from imgsvc.web.middlewares import MIDDLEWARES, set_headers
from imgsvc.web.protection import own_pages, preflight, protect
from imgsvc.web.quota import RequestLimiter, show_quota
from imgsvc.web.readiness import Readiness
from imgsvc.web.refusals import counting, no_refusals
from imgsvc.web.routes import ACTIONS, add_routes


def make_application(resources: Resources, readiness: Readiness) -> web.Application:
    """Return the application, with every route and the rule who may use it."""
    server, auth = resources.settings.server, resources.settings.auth
    refusals = no_refusals()
    app = web.Application(
        middlewares=[*MIDDLEWARES, counting(refusals), preflight(server)],
        client_max_size=server.max_body_bytes,
    )
    if auth.mode is None:
        app.middlewares.append(own_pages(server, resources.base_url))
    guard = Guard(
        add_routes(app.router, auth),
        Throttle(limit=auth.max_failures, window=auth.failure_window),
        keys=KeyVerifier(resources.backend.api_keys) if auth.takes_keys else None,
        tokens=resources.tokens,
        limiter=RequestLimiter(resources.backend.request_rates, resources.clients),
        blocked=[name for name, client in resources.settings.clients.items() if client.blocked],
    )
    app.middlewares.append(auditing(resources.backend.audit, ACTIONS))
    app.middlewares.append(guarding(guard))
    app.on_response_prepare.append(set_headers)
    app.on_response_prepare.append(show_quota)
    app.on_response_prepare.append(protect(server))
    app[CONTEXT] = _context(resources, guard, readiness, refusals)
    return app


def _context(
    resources: Resources, guard: Guard, readiness: Readiness, refusals: Counter[str]
) -> Context:
    settings, catalogue = resources.settings, resources.router.catalogue
    return Context(
        base_url=resources.base_url,
        guard=guard,
        intake=Intake(
            server=settings.server,
            callbacks=settings.callbacks,
            workers=settings.workers,
            buckets=settings.storage,
            policy=resources.egress,
            gate=resources.gate,
            prompts=resources.prompts,
            blobs=resources.blobs,
            catalogue=catalogue,
            readiness=readiness,
            budget=_body_budget(settings),
        ),
        dry_runs=DryRuns(
            selector=resources.selector,
            catalogue=catalogue,
            readiness=readiness,
            of_client=AT_ONCE_OF_CLIENT if settings.auth.is_on else None,
        ),
        backend=resources.backend,
        control=JobControl(
            backend=resources.backend,
            blobs=resources.blobs,
            freezer=resources.freezer,
            catalogue=catalogue,
            storage=settings.storage,
            clients=resources.clients,
        ),
        clients=resources.clients,
        storage=resources.storage,
        buckets=settings.storage,
        catalogue=catalogue,
        breakers=resources.router.breakers,
        cursors=resources.cursors,
        readiness=readiness,
        spool=resources.spool,
        metrics=make_registry(
            backend=resources.backend,
            spool=resources.spool,
            router=resources.router,
            progress=resources.progress,
            renewals=resources.rotation.renewals,
            refusals=refusals,
        ),
        configuration=shown(settings),
    )


def _body_budget(settings: Settings) -> BodyBudget:
    """Return the budget, of which a client whose name is proved gets half, or one body at least.

    Without authentication a client is an address, and behind a gateway there is one for all.
    """
    server = settings.server
    half = max(server.max_bodies_bytes // 2, server.max_body_bytes)
    return BodyBudget(
        limit=server.max_bodies_bytes, of_client=half if settings.auth.is_on else None
    )
