"""What admins do to the keys of callers."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypeVar

from aiohttp import web
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
)

from imgsvc.errors import ApiKeyNotFound, ApiKeysNotInForce
from imgsvc.jobs.api_keys import ApiKey
from imgsvc.web.answers import json_response
from imgsvc.web.auditing import actor_of
from imgsvc.web.auth.api_keys import ID_PATTERN
from imgsvc.web.auth.client_names import CLIENT_PATTERN
from imgsvc.web.auth.key_ring import OVERLAP, KeyRing, NewKey, key_state
from imgsvc.web.auth.roles import Role
from imgsvc.web.batch_schemas import rfc3339
from imgsvc.web.body import read_small_object
from imgsvc.web.keys import CONTEXT
from imgsvc.web.validation import explain

MAX_OVERLAP = timedelta(days=365)
MAX_LIFE = timedelta(days=36525)

_NOT_KEPT = {"Cache-Control": "no-store"}
"""Of answers with a key."""


def _ahead(time: datetime) -> datetime:
    now = datetime.now(UTC)
    if not now < time < now + MAX_LIFE:
        raise ValueError("must be a time that is still to come, and within a hundred years")
    return time.astimezone(UTC)


ExpiresAt = Annotated[
    datetime | None,
    BeforeValidator(rfc3339),  # null would be taken for a key that never ends
    AfterValidator(_ahead),
    Field(description="When it ends: RFC 3339, with the offset from UTC. Without it, it does not."),
]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class KeyRequest(_Body):
    """A key to make."""

    client: str = Field(pattern=rf"^{CLIENT_PATTERN}$", description="Whose it is.")
    roles: list[Role] = Field(
        min_length=1, max_length=len(Role), description="What it may be used for."
    )
    expires_at: ExpiresAt = None


class RotateRequest(_Body):
    """How a key is replaced."""

    overlap_seconds: int = Field(
        int(OVERLAP.total_seconds()),
        strict=True,
        ge=0,
        le=int(MAX_OVERLAP.total_seconds()),
        description="How long the old key still works; a day without it.",
    )
    expires_at: Annotated[
        ExpiresAt,
        Field(description="When the new key ends. Without it, it lives as long as the old one."),
    ] = None


class KeyView(BaseModel):
    """A key without its secret."""

    id: str = Field(description="The part of the key that is no secret.")
    client: str = Field(description="Whose it is.")
    roles: list[Role] = Field(description="What it may be used for.")
    state: str = Field(description="`valid`, `expired` or `revoked`.")
    created_at: datetime
    expires_at: datetime | None = Field(None, description="When it ends, if it does.")
    last_used_at: datetime | None = Field(None, description="To the minute, if it was used.")
    revoked_at: datetime | None = Field(None, description="When it was revoked, if it was.")


class KeyList(BaseModel):
    """All keys, the oldest first."""

    keys: list[KeyView]


class NewKeyView(KeyView):
    """A key that was made."""

    key: str = Field(description="The key itself. It is shown this once: nobody can look it up.")


async def list_keys(request: web.Request) -> web.Response:
    """List the keys, without their secrets."""
    keys = await _ring(request).list()
    return json_response({"keys": [key_view(key) for key in keys]})


async def create_key(request: web.Request) -> web.Response:
    """Make a key, and show it this once."""
    _check_in_force(request)
    wanted = await _wanted(request, KeyRequest)
    made = await _ring(request).create(
        wanted.client, set(wanted.roles), expires_at=wanted.expires_at, by=actor_of(request)
    )
    return _hand_over(made)


async def rotate_key(request: web.Request) -> web.Response:
    """Make a key that takes the place of another, and show it this once."""
    _check_in_force(request)
    key_id = _key_id(request)
    wanted = await _wanted(request, RotateRequest) if request.body_exists else RotateRequest()
    made = await _ring(request).rotate(
        key_id,
        overlap=timedelta(seconds=wanted.overlap_seconds),
        expires_at=wanted.expires_at,
        by=actor_of(request),
    )
    return _hand_over(made)


async def revoke_key(request: web.Request) -> web.Response:
    """End a key at once and for good."""
    _check_in_force(request)
    key = await _ring(request).revoke(_key_id(request), by=actor_of(request))
    return json_response(key_view(key))


def key_view(key: ApiKey) -> dict[str, Any]:
    """Return the JSON document of a key."""
    view = KeyView(
        id=key.id,
        client=key.client,
        roles=[role for role in Role if role in key.roles],
        state=key_state(key, datetime.now(UTC)),
        created_at=key.created_at,
        expires_at=key.expires_at,
        last_used_at=key.last_used_at,
        revoked_at=key.revoked_at,
    )
    return view.model_dump(mode="json", exclude_none=True)


def _ring(request: web.Request) -> KeyRing:
    return KeyRing(request.app[CONTEXT].backend.api_keys)


def _check_in_force(request: web.Request) -> None:
    """Raise ApiKeysNotInForce: a key that somebody makes now would work later, unasked."""
    if not request.app[CONTEXT].guard.takes_keys:
        raise ApiKeysNotInForce


def _key_id(request: web.Request) -> str:
    given = request.match_info["key_id"]
    if not re.fullmatch(ID_PATTERN, given):
        raise ApiKeyNotFound
    return given


def _hand_over(made: NewKey) -> web.Response:
    answer = json_response(key_view(made.kept) | {"key": made.text}, status=201)
    answer.headers.update(_NOT_KEPT)
    return answer


Body = TypeVar("Body", bound=_Body)


async def _wanted(request: web.Request, schema: type[Body]) -> Body:
    context = request.app[CONTEXT]
    fields = await read_small_object(request, timeout=context.intake.server.body_timeout)
    # Else a key that is being revoked could still make another.
    await context.guard.check_again(request)
    try:
        return schema.model_validate(fields)
    except ValidationError as exc:
        raise explain(exc) from exc
