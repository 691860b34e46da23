"""A disk that takes no more."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def full_disk(allowed: int, *, pid: int | None = None) -> Iterator[None]:
    """Let files of a process grow to this many bytes: writing more fails, as on a full disk.

    It is this process, or one that was started by it; what that starts before is left alone.
    """
    process = os.getpid() if pid is None else pid
    limits = resource.prlimit(process, resource.RLIMIT_FSIZE)
    resource.prlimit(process, resource.RLIMIT_FSIZE, (allowed, limits[1]))
    try:
        yield
    finally:
        resource.prlimit(process, resource.RLIMIT_FSIZE, limits)
