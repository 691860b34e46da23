"""Tasks for image processes that do what pictures should not: hang, crash, eat memory."""

import os
import resource
import signal
import sys
import time
import warnings
from multiprocessing.connection import Connection
from pathlib import Path

from PIL import Image

from imgsvc.errors import ImageError


def raise_error(error: type[ImageError], message: str | None) -> None:
    raise error(message)


def spin(started: Path) -> None:
    started.touch()
    while True:
        pass


def wait_for(path: Path) -> None:
    while not path.exists():
        time.sleep(0.01)


def die(*_args: object) -> None:
    signal.raise_signal(signal.SIGKILL)


def die_while_sending() -> bytes:
    def send_a_little(connection: Connection, data: bytes) -> None:
        os.write(connection.fileno(), data[:100])
        signal.raise_signal(signal.SIGKILL)

    Connection._send = send_a_little  # type: ignore[attr-defined]  # noqa: SLF001 - in a child that ends here
    return bytes(1_000_000)


def eat_memory() -> int:
    return len([bytes(64 * 1024**2) for _ in range(1024)])


def scribble() -> None:
    warnings.warn("a warning from a decoder", stacklevel=1)
    print("printed in a child")  # noqa: T201 - what must not reach the server's log
    os.write(1, b"written to stdout in a child\n")
    os.write(2, b"written to stderr in a child\n")
    sys.stdout.flush()


def pixel_limit() -> int | None:
    return Image.MAX_IMAGE_PIXELS


def limits() -> dict[str, tuple[int, int]]:
    return {
        "memory": resource.getrlimit(resource.RLIMIT_AS),
        "cpu": resource.getrlimit(resource.RLIMIT_CPU),
        "core": resource.getrlimit(resource.RLIMIT_CORE),
    }


def niceness() -> int:
    return os.nice(0)


class Unreadable:
    """A result that pickles, but cannot be read again."""

    def __reduce__(self) -> tuple[object, ...]:
        return int, ("not a number",)


def unreadable_result() -> Unreadable:
    return Unreadable()


def modules() -> set[str]:
    return set(sys.modules)
