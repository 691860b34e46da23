"""API keys: imgsvc_<id>_<secret>.

The id says which key it is, and may be shown. The secret has 256 random bits, so that one
round of SHA-256 keeps it: there is nothing to guess.
"""

import hashlib
import hmac
import re
import secrets
import string
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from imgsvc.errors import CredentialsInvalid, DiskRefuses
from imgsvc.jobs.api_keys import ApiKey, ApiKeys
from imgsvc.web.auth.principal import Principal, Proof
from imgsvc.web.auth.roles import Role

PREFIX = "imgsvc_"
ID_LENGTH = 10
ID_PATTERN = rf"[a-z0-9]{{{ID_LENGTH}}}"
USE_NOTED_EVERY = timedelta(minutes=1)

_SECRET_BYTES = 32
_ALPHABET = string.ascii_lowercase + string.digits
_KEY = re.compile(rf"{PREFIX}({ID_PATTERN})_([A-Za-z0-9_-]{{43}})")
_NO_DIGEST = bytes(32)


@dataclass(frozen=True, slots=True)
class PresentedKey:
    """A key as a caller has sent it."""

    id: str
    digest: bytes


def parse(text: str) -> PresentedKey | None:
    """Return the parts of a key, its secret as a digest; None for what is no key."""
    found = _KEY.fullmatch(text)
    return None if found is None else PresentedKey(found[1], _digest(found[2]))


def new_key(
    client: str, roles: Collection[Role], *, expires_at: datetime | None = None
) -> tuple[ApiKey, str]:
    """Make up a key; return what is kept of it, and the key itself, which nobody keeps."""
    key_id = "".join(secrets.choice(_ALPHABET) for _ in range(ID_LENGTH))
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    kept = ApiKey(
        id=key_id,
        digest=_digest(secret),
        client=client,
        roles=frozenset(roles),
        created_at=datetime.now(UTC),
        expires_at=expires_at,
        made_until=expires_at,
    )
    return kept, f"{PREFIX}{key_id}_{secret}"


@dataclass(frozen=True, slots=True)
class KeyVerifier:
    """Tells whose a key is. It asks the record each time: a revoked key is none at once."""

    keys: ApiKeys

    async def verify(self, text: str) -> Principal:
        """Return who has this key; raise CredentialsInvalid for what is none, or DiskRefuses."""
        presented = parse(text)
        if presented is None:
            raise CredentialsInvalid
        kept = await self.keys.find(presented.id)
        # The same work for an id that does not exist.
        expected = _NO_DIGEST if kept is None else kept.digest
        if not hmac.compare_digest(presented.digest, expected) or kept is None:
            raise CredentialsInvalid(reason="unknown_key" if kept is None else "wrong_secret")
        now = datetime.now(UTC)
        _check_life(kept, now)
        if kept.last_used_at is None or now - kept.last_used_at >= USE_NOTED_EVERY:
            with suppress(DiskRefuses):  # no reason to refuse the caller
                await self.keys.used(kept.id, now)
        roles = frozenset(role for role in Role if role in kept.roles)
        return Principal(client=kept.client, roles=roles, proof=Proof.API_KEY, key_id=kept.id)


def _check_life(key: ApiKey, now: datetime) -> None:
    # Only who has the whole key comes to know this.
    if key.revoked_at is not None:
        raise CredentialsInvalid(
            "This key was revoked. Ask the operator for another.", reason="revoked"
        )
    if key.expires_at is not None and key.expires_at <= now:
        raise CredentialsInvalid(
            "This key has expired. Ask the operator for another.", reason="expired"
        )


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
