"""The server's certificate, read again when its files change."""

import asyncio
import ssl
from dataclasses import dataclass
from pathlib import Path

import structlog

from imgsvc.errors import ConfigurationError

log = structlog.get_logger(__name__)

LOOK_INTERVAL = 5.0
"""Seconds between two looks at the files."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Certificate:
    """A certificate chain and its key, as PEM files."""

    chain: Path
    key: Path

    def open(self) -> ssl.SSLContext:
        """Return a context for TLS 1.2 or later; raise ConfigurationError if it cannot be used."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            self._load(context)
        except (OSError, ssl.SSLError) as exc:
            message = f"server.tls_cert, server.tls_key: cannot be used ({exc.strerror or exc})"
            raise ConfigurationError([message]) from exc
        return context

    async def keep_fresh(self, context: ssl.SSLContext) -> None:
        """Use what is in the files whenever that changes; until cancelled.

        Handshakes from then on have the new certificate. Of files that cannot be used there is
        a warning, and the old ones stay.
        """
        seen = await asyncio.to_thread(self._stamp)
        while True:
            await asyncio.sleep(LOOK_INTERVAL)
            if (now := await asyncio.to_thread(self._stamp)) == seen:
                continue
            seen = now
            try:
                # A first load apart: one that fails half-way must not leave chain and key at odds.
                await asyncio.to_thread(self.open)
                self._load(context)
            except (ConfigurationError, OSError) as exc:
                log.warning("certificate_not_reloaded", reason=str(exc), effect="the old one stays")
            else:
                log.info("certificate_reloaded")

    def _load(self, context: ssl.SSLContext) -> None:
        # Without a function for it, a key with a pass phrase would ask the terminal.
        context.load_cert_chain(self.chain, self.key, password=lambda: b"")

    def _stamp(self) -> tuple[tuple[int, int, int], ...] | None:
        """Return what changes with the files; None while one is away."""
        try:
            stats = [file.stat() for file in (self.chain, self.key)]
        except OSError:
            return None
        return tuple((stat.st_mtime_ns, stat.st_size, stat.st_ino) for stat in stats)
