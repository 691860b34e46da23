"""The data folder: one process at a time holds it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imgsvc.errors import ConfigurationError


@contextmanager
def hold(data_dir: Path) -> Iterator[None]:
    """Hold the data folder's lock, and make the folder if it is not there.

    The lock ends with the process, however that ends. Raises ConfigurationError, which
    names the holder, if another process has it, or if the folder cannot be used.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = (data_dir / "lock").open("a+")
    except OSError as exc:
        raise unusable(data_dir, exc) from exc
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            raise ConfigurationError(
                [f"data_dir: the folder {data_dir} is in use by process {holder}"]
            ) from exc
        try:
            # Past the file object: what its buffer could not write, it tries again on close.
            os.truncate(lock.fileno(), 0)
            os.write(lock.fileno(), f"{os.getpid()}\n".encode())
        except OSError as exc:
            raise unusable(data_dir, exc) from exc
        yield


def unusable(data_dir: Path, exc: OSError) -> ConfigurationError:
    """Return the error for a folder that cannot be written."""
    return ConfigurationError(
        [f"data_dir: the folder {data_dir} cannot be written ({exc.strerror})"]
    )
