"""The keys that callers prove themselves with, as the record keeps them.

A key's secret is not among what is kept, only its digest. What the roles mean is not known
here: see `web.auth`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from imgsvc.jobs.audit import Actor


@dataclass(frozen=True, kw_only=True, slots=True)
class ApiKey:
    """One key, without its secret."""

    id: str  # the part that is no secret
    digest: bytes  # SHA-256 of the secret, 32 bytes
    client: str
    roles: frozenset[str]
    created_at: datetime  # all times in UTC
    expires_at: datetime | None = None
    made_until: datetime | None = None  # `expires_at`, before a successor let it end earlier
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None


class ApiKeys(Protocol):
    """Keeps keys durably. All methods raise DiskRefuses while the disk takes nothing.

    `by` is who has something done, as in `JobBackend`.
    """

    async def add(self, key: ApiKey, *, by: Actor | None = None) -> bool:
        """Keep a new key; return False, and change nothing, if there is one with its id."""
        ...

    async def find(self, key_id: str) -> ApiKey | None:
        """Return the key with this id, revoked and expired ones too."""
        ...

    async def list(self) -> Sequence[ApiKey]:
        """Return all keys, the oldest first."""
        ...

    async def revoke(self, key_id: str, at: datetime, *, by: Actor | None = None) -> bool:
        """End a key for good; return whether there is one. The first time stays."""
        ...

    async def replace(
        self, key_id: str, successor: ApiKey, until: datetime, *, by: Actor | None = None
    ) -> bool:
        """Keep a new key, and let the old one end at `until`, if it does not end before.

        Return False, and change nothing, if there is no old one, it is revoked, or the new
        one's id is taken.
        """
        ...

    async def used(self, key_id: str, at: datetime) -> None:
        """Take note that a key was used."""
        ...
