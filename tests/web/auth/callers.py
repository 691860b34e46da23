"""A service with authentication, and callers of it with keys."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from imgsvc.config import Settings
from imgsvc.web.auth.api_keys import new_key
from imgsvc.web.auth.roles import Role
from standins.service import Caller, running_service, service_settings


@asynccontextmanager
async def guarded_service(folder: Path, **rooms: Any) -> AsyncIterator[Caller]:
    """Run a service that takes API keys."""
    auth = {"mode": "api_key"} | rooms.pop("auth", {})
    settings = Settings.model_validate(service_settings(folder, auth=auth, **rooms))
    async with running_service(settings) as caller:
        yield caller


async def key_of(
    service: Caller, client: str, roles: Iterable[Role], *, expires_at: datetime | None = None
) -> str:
    """Make a key, and return it."""
    kept, key = new_key(client, list(roles), expires_at=expires_at)
    assert await service.server.service.backend.api_keys.add(kept)
    return key


async def ask(
    service: Caller, method: str, path: str, headers: Any = None, body: Any = None
) -> tuple[int, Any, dict[str, str]]:
    """Send a request; return status, answer and headers."""
    async with service.session.request(
        method, service.server.url + path, headers=headers, json=body, allow_redirects=False
    ) as answer:
        is_json = "json" in answer.content_type
        text = await answer.json(content_type=None) if is_json else await answer.read()
        return answer.status, text, dict(answer.headers)
