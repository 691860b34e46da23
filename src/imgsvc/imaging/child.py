"""What runs inside a process of the image pool: its start, its limits, one task at a time."""

import ctypes
import math
import multiprocessing
import os
import resource
import signal
import time
from collections.abc import Callable
from ctypes import c_bool
from dataclasses import dataclass
from typing import TypeVar

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from imgsvc.errors import ImageTooComplex
from imgsvc.imaging import editing, exchange, gate, ops, thumbnail

T = TypeVar("T")

WARM = (
    BmpImagePlugin,
    GifImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
    editing,
    exchange,
    gate,
    ops,
    thumbnail,
)
"""Imported before a process is forked, so that its first task need not wait for them."""

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_M_ARENA_MAX = -8  # malloc.h
_NICENESS = 5
_KEPT_BLOCKS = 4
"""How many blocks of 16 MiB Pillow keeps for the next picture instead of giving them back.

The system hands out memory page by page, each set to zero: for a picture of 6 million pixels
that takes longer than to turn it grey.
"""

_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class ChildLimits:
    """What an image process may use."""

    max_memory_bytes: int  # address space
    max_pixels: int
    heic: bool  # whether HEIC files are opened


class _Taken:
    """Where this process notes that it has begun a task; set once, at its start."""

    flag: c_bool


def start(limits: ChildLimits, taken: c_bool) -> None:
    """Prepare this process for untrusted pictures; it ends with the server.

    taken is shared with the server and becomes true when a task begins here: only an
    unbegun task may be given to another process.
    """
    _Taken.flag = taken
    die_with_parent()
    server = multiprocessing.parent_process()
    if server is None or not server.is_alive():  # it ended before the kernel knew what to do then
        os._exit(1)
    # A Ctrl-C on the terminal reaches every process of the group; the server decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.nice(_NICENESS)
    _limit_decoders(limits)
    # Each further arena of glibc's malloc would reserve 128 MiB of the address space.
    if hasattr(_LIBC, "mallopt"):  # glibc has it, musl does not
        _LIBC.mallopt(_M_ARENA_MAX, 1)
    resource.setrlimit(resource.RLIMIT_AS, (limits.max_memory_bytes, limits.max_memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _silence()


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that started it ends.

    An image process was started by the process that it was forked from, and that one by
    the thread of the server's event loop: so all end with the server.
    """
    if _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")


def run_task(task: Callable[[], T], cpu_seconds: int) -> T:
    """Run one task within its CPU time; raises what it raises, or ImageTooComplex.

    When the CPU time is used up, the kernel ends the process with SIGXCPU.
    """
    _Taken.flag.value = True
    # The limit counts from the start of the process, not of the task.
    limit = math.ceil(time.process_time()) + cpu_seconds
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))
    try:
        return task()
    except MemoryError as exc:
        raise ImageTooComplex from exc


def _limit_decoders(limits: ChildLimits) -> None:
    Image.MAX_IMAGE_PIXELS = limits.max_pixels
    Image.core.set_blocks_max(_KEPT_BLOCKS)  # type: ignore[attr-defined] # documented, but untyped
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # one process uses one CPU
    if limits.heic:
        import pillow_heif  # noqa: PLC0415 - comes with the extra `heic` only

        pillow_heif.options.DECODE_THREADS = 1
        pillow_heif.register_heif_opener()


def _silence() -> None:
    """Keep what C libraries print away from the server's log."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    os.close(null)
