"""The public keys that tokens are signed with: JSON Web Key Sets (RFC 7517).

They come from a file or a URL of the operator's. A set that cannot be read leaves the one
before in force; it is tried again a little later, and a new key is looked for when a token
names one that is not known.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, ClassVar, Protocol

import aiohttp
import jwt
import orjson
import structlog
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from yarl import URL

from imgsvc.errors import ConfigurationError, TokenKeysUnavailable

log = structlog.get_logger(__name__)

MAX_BYTES = 2**20
MAX_KEYS = 100
MIN_RSA_BITS = 2048
"""RFC 7518, section 3.3; the library only warns of shorter ones."""

TIMEOUT = 5.0
"""Seconds that fetching a set may take."""

LIFETIME = 300.0
"""Seconds after which a set is fetched again, so that a key that is withdrawn ends."""

FILE_LIFETIME = 10.0
"""The same for a file."""

PATIENCE = 10.0
"""Seconds between two tries at least, whatever tokens name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SigningKey:
    """A public key of a set."""

    kid: str | None
    algorithm: str | None  # the only one that it is for, if the set says so
    key: Any  # as `cryptography` has it


class KeySource(Protocol):
    """Where the bytes of a set come from."""

    setting: ClassVar[str]

    @property
    def place(self) -> str:
        """Where that is, without what may be secret."""
        ...

    async def read(self) -> bytes:
        """Return the set; raise OSError, aiohttp.ClientError, TimeoutError or ValueError."""
        ...


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A set in a file."""

    setting: ClassVar[str] = "auth.jwt_jwks_file"
    path: Path

    @property
    def place(self) -> str:
        """The file."""
        return str(self.path)

    async def read(self) -> bytes:
        """Return what is in the file."""
        return await asyncio.to_thread(self._read)

    def _read(self) -> bytes:
        with self.path.open("rb") as file:
            return file.read(MAX_BYTES + 1)


@dataclass(frozen=True, slots=True)
class KeyUrl:
    """A set at a URL."""

    setting: ClassVar[str] = "auth.jwt_jwks_url"
    url: str
    session: aiohttp.ClientSession

    @property
    def place(self) -> str:
        """The URL, as far as it goes without a query."""
        return str(URL(self.url).with_query(None))

    async def read(self) -> bytes:
        """Return what a GET answers, without following it elsewhere."""
        timeout = aiohttp.ClientTimeout(total=TIMEOUT)
        async with self.session.get(self.url, allow_redirects=False, timeout=timeout) as answer:
            if answer.status != 200:
                raise ValueError(f"the answer has the status {answer.status}")
            content = bytearray()
            async for chunk in answer.content.iter_any():
                content += chunk
                if len(content) > MAX_BYTES:
                    break
            return bytes(content)


class KeySet:
    """The keys of a source, as new as needed."""

    def __init__(self, source: KeySource, *, lifetime: float = LIFETIME) -> None:
        self._source = source
        self._lifetime = lifetime
        self._keys: Sequence[SigningKey] | None = None
        self._tried = -float("inf")
        self._failed: str | None = None  # why it could not be read the last time
        self._lock = asyncio.Lock()

    async def find(self, kid: str | None) -> SigningKey | None:
        """Return the key of this name; without a name, the only one there is.

        Raises TokenKeysUnavailable if there has never been a set that could be read.
        """
        is_old = monotonic() - self._tried > self._lifetime
        # One caller waits for a newer set; meanwhile the others take the one there is.
        if self._keys is None or (is_old and not self._lock.locked()):
            await self._refresh()
        found = self._named(kid)
        if found is None:
            await self._refresh()
            found = self._named(kid)
        if self._keys is None:
            raise TokenKeysUnavailable
        return found

    async def read_again(self) -> bool:
        """Read the set, and tell whether it has changed.

        Raises ConfigurationError if it cannot be read; the keys known before stay.
        """
        before, self._tried = self._keys, -float("inf")
        await self._refresh()
        if self._failed is not None:
            raise ConfigurationError([self._failed])
        return before is not None and self._keys != before

    async def count(self) -> int:
        """Return how many keys there are; raise ConfigurationError if they cannot be read."""
        await self.read_again()
        return len(self._keys or ())

    def _named(self, kid: str | None) -> SigningKey | None:
        keys = self._keys or ()
        named = [key for key in keys if kid is None or key.kid == kid]
        return named[0] if len(named) == 1 else None

    async def _refresh(self) -> None:
        """Read the set again, unless that was tried a moment ago."""
        async with self._lock:
            if monotonic() - self._tried < PATIENCE:
                return
            try:
                self._keys = parse(await self._source.read())
                self._failed = None
            except (OSError, aiohttp.ClientError, TimeoutError, ValueError) as exc:
                self._failed = f"{self._source.place}: {_what(exc)}"
                last = "are refused with 503" if self._keys is None else "go by the keys of before"
                log.warning(
                    "token_keys_unreadable",
                    place=self._source.place,
                    error=_what(exc),
                    effect=f"tokens {last}",
                    mend=f"see that {self._source.setting} leads to a JSON Web Key Set",
                )
            self._tried = monotonic()


def _what(exc: Exception) -> str:
    """Return what went wrong; URLs, which some texts have, are not in these."""
    if isinstance(exc, TimeoutError):
        return f"no answer within {TIMEOUT:g} seconds"
    if isinstance(exc, aiohttp.ClientConnectorCertificateError):
        return f"certificate not trusted: {exc.certificate_error}"
    if isinstance(exc, aiohttp.ClientConnectorError):
        return f"no connection: {exc.strerror}"
    if isinstance(exc, OSError):
        return exc.strerror or type(exc).__name__
    return type(exc).__name__ if isinstance(exc, aiohttp.ClientError) else str(exc)


def parse(content: bytes) -> Sequence[SigningKey]:
    """Return the public keys that are for signatures; raise ValueError for what is no set."""
    if len(content) > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES} bytes")
    document = orjson.loads(content)
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list) or len(entries) > MAX_KEYS:
        raise ValueError("no JSON Web Key Set, or one with too many keys")
    return [key for entry in entries if (key := _key(entry)) is not None]


def _key(entry: object) -> SigningKey | None:
    """Return a key; None for one that is secret, weak, not for signatures, or of unknown kind."""
    if not isinstance(entry, dict) or not _is_fit(entry):
        return None
    kid, algorithm = entry.get("kid"), entry.get("alg")
    if not isinstance(kid, str | None) or not isinstance(algorithm, str | None):
        return None
    try:
        key = jwt.PyJWK(entry).key
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    if isinstance(key, RSAPublicKey) and key.key_size < MIN_RSA_BITS:
        return None
    return SigningKey(kid=kid, algorithm=algorithm, key=key)


def _is_fit(entry: dict[str, Any]) -> bool:
    """Tell whether it says that it is a public key to check signatures with."""
    # Tuples, because what is looked for may be of any type, and unhashable.
    if entry.get("kty") not in ("RSA", "EC", "OKP") or "d" in entry:
        return False
    operations = entry.get("key_ops", ["verify"])
    is_for_checks = isinstance(operations, list) and "verify" in operations
    return entry.get("use", "sig") == "sig" and is_for_checks
