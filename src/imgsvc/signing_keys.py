"""Secret keys that the service makes for itself and keeps in the data folder."""

import os
import secrets
from contextlib import suppress
from pathlib import Path

from imgsvc.errors import ConfigurationError

_KEY_BYTES = 32


def load_signing_key(path: Path) -> bytes:
    """Return the 32 secret bytes kept in the file; the first call makes them.

    The file appears whole or not at all, and of several processes that make it at the
    same time one wins. Raises ConfigurationError if it is damaged or cannot be made.
    """
    try:
        if not path.exists():
            _make_signing_key(path)
        signing_key = path.read_bytes()
    except OSError as exc:
        raise ConfigurationError(
            [f"data_dir cannot be used for {path.name}: {exc.strerror}"]
        ) from exc
    if len(signing_key) != _KEY_BYTES:
        raise ConfigurationError(
            [f"{path.name} in the data folder is damaged: remove it; what it has signed is void"]
        )
    return signing_key


def _make_signing_key(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):  # another process was quicker: its key counts
            path.hardlink_to(temporary)
    finally:
        temporary.unlink()
