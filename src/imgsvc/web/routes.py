"""Every path of the server, in one list, with the rule who may use it beside it."""

from aiohttp import web
from aiohttp.typedefs import Handler

from imgsvc.jobs.audit import Action
from imgsvc.web import audit_log, docs_page, events, handlers, jobs, key_admin, submit, usage
from imgsvc.web.auditing import Actions
from imgsvc.web.auth.config import AuthConfig
from imgsvc.web.auth.rules import (
    ADMIN,
    CHANGE_JOB,
    OPERATE,
    PUBLIC,
    READ,
    SIGNED_LINK,
    SUBMIT,
    Rule,
    Rules,
)
from imgsvc.web.body import wait_with_body

JOB = "/jobs/{job_id:[^/]+}"
"""A job; what is no id finds its way to the handler too, which says so."""

KEY = "/keys/{key_id:[^/]+}"
"""A key of a caller."""


def _tool(path: str, handler: Handler) -> tuple[web.RouteDef, Rule]:
    return web.post(path, handler), SUBMIT


ROUTES: list[tuple[web.RouteDef, Rule]] = [
    # The three tools
    _tool("/process-image-async-b64", submit.process_image_to_base64),
    _tool("/process-image-async", submit.process_image_to_storage),
    _tool("/batch-process-images", submit.batch_process_images),
    # Jobs
    (web.get("/jobs", jobs.list_jobs), READ),
    (web.get(JOB, jobs.get_job), READ),
    # HEAD would be a stream without an end
    (web.get(f"{JOB}/events", events.job_events, allow_head=False), READ),
    (web.get(f"{JOB}/result", jobs.get_result), READ),
    (web.get(f"{JOB}/items", jobs.list_items), READ),
    (web.post(f"{JOB}/cancel", jobs.cancel_job), CHANGE_JOB),
    (web.post(f"{JOB}/retry", jobs.retry_job), CHANGE_JOB),
    (web.post(f"{JOB}/callback/redeliver", jobs.redeliver_callback), OPERATE),
    # Results of the filesystem storage
    (web.get("/files/{bucket}/{key:.+}", handlers.file), SIGNED_LINK),
    # For operators
    (web.get("/usage", usage.get_usage), READ),
    (web.get("/health", handlers.health), PUBLIC),
    (web.get("/health/live", handlers.live), PUBLIC),
    (web.get("/health/ready", handlers.ready), PUBLIC),
    (web.get("/metrics", handlers.metrics), OPERATE),
    (web.get("/cos/config", handlers.cos_config), ADMIN),
    # For admins
    (web.get("/config", handlers.config), ADMIN),
    (web.get("/audit", audit_log.list_rows), ADMIN),
    (web.get("/keys", key_admin.list_keys), ADMIN),
    (web.post("/keys", key_admin.create_key, expect_handler=wait_with_body), ADMIN),
    (
        web.post(f"{KEY}/rotate", key_admin.rotate_key, expect_handler=wait_with_body),
        ADMIN,
    ),
    (web.post(f"{KEY}/revoke", key_admin.revoke_key), ADMIN),
    # The interface, for machines and for people
    (web.get("/", handlers.front_page), PUBLIC),
    (web.get("/openapi.json", handlers.openapi_document), PUBLIC),
    *((route, PUBLIC) for route in docs_page.routes()),
]

ACTIONS: Actions = {
    ("POST", "/process-image-async-b64"): Action.JOB_SUBMIT,
    ("POST", "/process-image-async"): Action.JOB_SUBMIT,
    ("POST", "/batch-process-images"): Action.JOB_SUBMIT,
    ("GET", "/jobs/{job_id}"): Action.JOB_READ,
    ("GET", "/jobs/{job_id}/events"): Action.JOB_READ,
    ("GET", "/jobs/{job_id}/result"): Action.JOB_READ,
    ("GET", "/jobs/{job_id}/items"): Action.JOB_READ,
    ("POST", "/jobs/{job_id}/cancel"): Action.JOB_CANCEL,
    ("POST", "/jobs/{job_id}/retry"): Action.JOB_RETRY,
    ("POST", "/jobs/{job_id}/callback/redeliver"): Action.CALLBACK_REDELIVER,
    ("GET", "/cos/config"): Action.CONFIG_READ,
    ("GET", "/config"): Action.CONFIG_READ,
    ("GET", "/audit"): Action.AUDIT_READ,
    ("GET", "/keys"): Action.KEY_LIST,
    ("POST", "/keys"): Action.KEY_CREATE,
    ("POST", "/keys/{key_id}/rotate"): Action.KEY_ROTATE,
    ("POST", "/keys/{key_id}/revoke"): Action.KEY_REVOKE,
}
"""What the audit log calls a request to a path."""

METRICS = ("GET", "/metrics")


def rules_of(config: AuthConfig) -> Rules | None:
    """Return who may use each path; None if everybody may do everything."""
    return add_routes(web.UrlDispatcher(), config) if config.is_on else None


def add_routes(router: web.UrlDispatcher, config: AuthConfig) -> Rules:
    """Give the router all paths, and return who may use each."""
    rules: Rules = {}
    for definition, rule in ROUTES:
        options = definition.kwargs | {"expect_handler": wait_with_body}
        each = web.RouteDef(definition.method, definition.path, definition.handler, options)
        for route in each.register(router):
            if route.resource is not None:  # it is one: each has a path
                rules[route.method, route.resource.canonical] = rule
    if config.public_metrics:
        rules[METRICS] = PUBLIC
    return rules
