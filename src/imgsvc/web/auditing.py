"""What is told to the audit log of requests that were refused, or that only look."""

import re
from collections.abc import Mapping
from contextlib import suppress
from time import monotonic
from uuid import UUID

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from imgsvc.errors import DiskRefuses, ImgsvcError, NotAllowedForClient
from imgsvc.jobs.audit import Action, Actor, Audit, AuditEntry, tell
from imgsvc.web.auth.api_keys import ID_LENGTH
from imgsvc.web.auth.principal import PRINCIPAL, Proof
from imgsvc.web.auth.throttle import CAPACITY, Failures
from imgsvc.web.keys import REQUEST_ID

Actions = Mapping[tuple[str, str], Action]
"""What a route is for, by its method and its path."""

ROWS_AN_HOUR = 100
"""Refused actions of one client that become rows; the others are in the log stream alone.

A client that is refused all year long fills about 350 MB of disk.
"""

_LIKE_A_KEY_ID = re.compile(rf"[a-z0-9]{{1,{2 * ID_LENGTH}}}")
_SEEN = frozenset({Action.KEY_LIST, Action.CONFIG_READ, Action.AUDIT_READ})
_MAY_NOT = frozenset({403, 404})
_CANNOT = frozenset({403, 404, 409, 410})


def actor_of(request: web.Request) -> Actor:
    """Return who has sent a request that the guard has let in."""
    principal = request[PRINCIPAL]
    return Actor(
        name=principal.client,
        proof=principal.proof,
        key_id=principal.key_id,
        address=request.remote,
        request_id=request[REQUEST_ID],
    )


def auditing(audit: Audit, actions: Actions) -> Middleware:
    """Return the middleware that notes what known callers may not do, and what admins look at.

    What is done to a job or key is not noted here, but together with that.
    """
    rows = Failures[str](limit=ROWS_AN_HOUR, window=3600, capacity=CAPACITY, clock=monotonic)

    async def refused(request: web.Request, action: Action, error: ImgsvcError) -> None:
        actor = actor_of(request)
        rule = {"rule": error.rule} if isinstance(error, NotAllowedForClient) else {}
        entry = AuditEntry(
            actor=actor,
            action=action,
            target=_target(request),
            outcome=error.code,
            details=rule,
        )
        # Without authentication anybody could fill the disk, under ever other addresses.
        if actor.proof != Proof.NONE and rows.wait(actor.name) == 0:
            rows.add(actor.name)
            with suppress(DiskRefuses):  # the caller is to have the reason, not this one
                await audit.append(entry)
                return
        tell(entry)

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        action = _action(request, actions)
        if action is None:
            return await handler(request)
        try:
            response = await handler(request)
        except ImgsvcError as exc:
            notable = _MAY_NOT if request.method in {"GET", "HEAD"} else _CANNOT
            if exc.status in notable and PRINCIPAL in request:
                await refused(request, action, exc)
            raise
        if action in _SEEN:
            tell(AuditEntry(actor=actor_of(request), action=action, target=None))
        return response

    return check


def _action(request: web.Request, actions: Actions) -> Action | None:
    resource = request.match_info.route.resource
    method = "GET" if request.method == "HEAD" else request.method
    return None if resource is None else actions.get((method, resource.canonical))


def _target(request: web.Request) -> str | None:
    """Return the id in the path, if it is one: whatever else was sent is not kept.

    An id of a key may be mistyped, but not so long that it could be a key.
    """
    given = request.match_info.get("job_id", "")
    with suppress(ValueError):
        return str(UUID(given))
    key_id = request.match_info.get("key_id", "")
    return key_id if _LIKE_A_KEY_ID.fullmatch(key_id) else None
