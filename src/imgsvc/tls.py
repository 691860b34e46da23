"""The server's certificate, read again when its files change."""

import asyncio
import ssl
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from imgsvc.errors import ConfigurationError
from imgsvc.file_stamp import Stamp, stamp_of

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

log = structlog.get_logger(__name__)

LOOK_INTERVAL = 5.0
"""Seconds between two looks at the files."""


class Certificate:
    """A certificate chain and its key, as PEM files, in use."""

    def __init__(self, *, chain: Path, key: Path) -> None:
        """Load both; raise ConfigurationError if they cannot be used."""
        self._chain = chain
        self._key = key
        self._seen = self._stamp()  # before the content: a change in between is seen later
        self.context = self._open()
        """For TLS 1.2 or later; handshakes have what was loaded last."""

    @property
    def ends_at(self) -> datetime:
        """When the certificate in the file expires."""
        from cryptography import x509  # noqa: PLC0415 - no start should wait for it

        return x509.load_pem_x509_certificate(self._chain.read_bytes()).not_valid_after_utc

    async def keep_fresh(self) -> None:
        """Use what is in the files whenever that changes; until cancelled.

        Of files that cannot be used there is a warning, and the old ones stay.
        """
        while True:
            await asyncio.sleep(LOOK_INTERVAL)
            if await asyncio.to_thread(self._stamp) == self._seen:
                continue
            try:
                await self.renew()
            except ConfigurationError as exc:
                log.warning(
                    "certificate_not_reloaded", reason=exc.message, effect="the old one stays"
                )

    async def renew(self) -> bool:
        """Use what is in the files for handshakes from now on, and tell whether it has changed.

        Raises ConfigurationError if it cannot be used; the old ones stay.
        """
        stamp = await asyncio.to_thread(self._stamp)
        has_changed, self._seen = stamp != self._seen, stamp
        # A first load apart: one that fails half-way must not leave chain and key at odds.
        await asyncio.to_thread(self._open)
        try:
            self._load(self.context)
        except (OSError, ssl.SSLError) as exc:  # changed since
            raise ConfigurationError([f"server.tls_cert, server.tls_key: {exc}"]) from exc
        if has_changed:
            log.info("certificate_reloaded")
        return has_changed

    def _open(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            self._load(context)
        except (OSError, ssl.SSLError) as exc:
            raise ConfigurationError([self._explain(exc)]) from exc
        return context

    def _load(self, context: ssl.SSLContext) -> None:
        # Without a function for it, a key with a pass phrase would ask the terminal.
        context.load_cert_chain(self._chain, self._key, password=lambda: b"")

    def _explain(self, error: OSError) -> str:
        """Return which file cannot be used and why, of which OpenSSL says little."""
        from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - as below

        unusable = f"server.tls_cert, server.tls_key: cannot be used ({error.strerror or error})"
        try:
            of_chain, of_key = _public_key_of_chain(self._chain), _public_key_of(self._key)
        except OSError as exc:
            return f"server.tls_cert, server.tls_key: cannot read {exc.filename} ({exc.strerror})"
        except ConfigurationError as exc:
            return exc.message
        except UnsupportedAlgorithm:
            return unusable
        if of_chain != of_key:
            return (
                f"server.tls_cert, server.tls_key: the key in {self._key} does not belong to the"
                f" certificate in {self._chain}, whose own must be the first in the file"
            )
        return unusable

    def _stamp(self) -> tuple[Stamp, Stamp] | None:
        """Return what changes with the files; None while one is away."""
        chain, key = stamp_of(self._chain), stamp_of(self._key)
        return None if chain is None or key is None else (chain, key)


def _public_key_of_chain(file: Path) -> "PublicKeyTypes":
    """Return the key in the first certificate of a file; raise OSError or ConfigurationError."""
    from cryptography import x509  # noqa: PLC0415 - no start should wait for it

    try:
        return x509.load_pem_x509_certificate(file.read_bytes()).public_key()
    except ValueError as exc:
        raise ConfigurationError([f"server.tls_cert: {file} is no certificate as PEM"]) from exc


def _public_key_of(file: Path) -> "PublicKeyTypes":
    """Return what belongs to the private key in a file; raise OSError or ConfigurationError."""
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415 - as above
        load_pem_private_key,
    )

    try:
        return load_pem_private_key(file.read_bytes(), password=None).public_key()
    except TypeError as exc:
        problem = f"server.tls_key: {file} has a pass phrase; take it out with `openssl pkey`"
        raise ConfigurationError([problem]) from exc
    except ValueError as exc:
        raise ConfigurationError([f"server.tls_key: {file} is no private key as PEM"]) from exc
