"""Making, ending and replacing keys, for commands and for the routes of admins."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from imgsvc.errors import ApiKeyNotFound, ApiKeyRevoked
from imgsvc.jobs.api_keys import ApiKey, ApiKeys
from imgsvc.jobs.audit import Actor
from imgsvc.web.auth.api_keys import new_key
from imgsvc.web.auth.roles import Role

OVERLAP = timedelta(hours=24)
"""How long a key that is replaced still works, unless it is said."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NewKey:
    """A key that was made, and what its holder gets: nobody can look that up later."""

    kept: ApiKey
    text: str


@dataclass(frozen=True, slots=True)
class KeyRing:
    """Looks after the keys of callers; who has it done goes into the audit log with it.

    All methods raise DiskRefuses while the disk takes nothing.
    """

    keys: ApiKeys

    async def list(self) -> Sequence[ApiKey]:
        """Return all keys, the oldest first."""
        return await self.keys.list()

    async def create(
        self, client: str, roles: Collection[Role], *, expires_at: datetime | None, by: Actor
    ) -> NewKey:
        """Make a key."""
        while True:
            kept, text = new_key(client, roles, expires_at=expires_at)
            if await self.keys.add(kept, by=by):  # else the id is taken, by 1 chance in 10 ** 15
                return NewKey(kept=kept, text=text)

    async def revoke(self, key_id: str, *, by: Actor) -> ApiKey:
        """End a key at once and for good; raise ApiKeyNotFound."""
        await self.keys.revoke(key_id, datetime.now(UTC), by=by)
        return await self._find(key_id)

    async def rotate(
        self,
        key_id: str,
        *,
        overlap: timedelta = OVERLAP,
        expires_at: datetime | Literal["never"] | None = None,
        by: Actor,
    ) -> NewKey:
        """Make a key of the same client and roles; the old one ends after the overlap.

        The new one lives as long as the old one was made to, unless its end is given. Raises
        ApiKeyNotFound or ApiKeyRevoked.
        """
        old, now = await self._find(key_id), datetime.now(UTC)
        roles = [role for role in Role if role in old.roles]
        if expires_at is None and old.made_until is not None:
            expires_at = now + (old.made_until - old.created_at)
        end = None if expires_at == "never" else expires_at
        kept, text = new_key(old.client, roles, expires_at=end)
        if not await self.keys.replace(old.id, kept, now + overlap, by=by):
            raise ApiKeyRevoked
        return NewKey(kept=kept, text=text)

    async def _find(self, key_id: str) -> ApiKey:
        key = await self.keys.find(key_id)
        if key is None:
            raise ApiKeyNotFound
        return key


def key_state(key: ApiKey, now: datetime) -> str:
    """Return `valid`, `expired` or `revoked`."""
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.expires_at is not None and key.expires_at <= now else "valid"
