"""The operator's list of patterns that no prompt may hold, in a file."""

import asyncio
import threading
from pathlib import Path

import structlog

from imgsvc.errors import ConfigurationError
from imgsvc.file_stamp import stamp_of
from imgsvc.providers.patterns import Patterns

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

MAX_BYTES = 2**20
"""The largest file that is read."""

MAX_PATTERNS = 10_000
"""The most patterns that a file may have."""


class DenyList:
    """The patterns of a file, which is read again once it has changed.

    `find` waits for the disk: it is for threads, and safe to call from many.
    """

    def __init__(self, file: Path) -> None:
        """Read the file; raise ConfigurationError with every line that is wrong."""
        self._file = file
        self._lock = threading.Lock()
        self._stamp = stamp_of(file)  # before the content: a change in between is seen later
        self._patterns = read_patterns(file)

    def find(self, prompt: str) -> int | None:
        """Return the number of a line whose pattern is in the prompt, or None."""
        return self._current().find(prompt)

    async def read_again(self) -> bool:
        """Read the file, and tell whether it has changed.

        Raises ConfigurationError if it cannot be used; the patterns that it had before stay.
        """
        return await asyncio.to_thread(self._read_again)

    def _read_again(self) -> bool:
        with self._lock:
            stamp = stamp_of(self._file)
            has_changed, self._stamp = stamp != self._stamp, stamp
            self._patterns = read_patterns(self._file)
            return has_changed

    def _current(self) -> Patterns:
        """Return the patterns of the file as it is; of one that is wrong, those it had before."""
        with self._lock:
            stamp = stamp_of(self._file)
            if stamp != self._stamp:
                self._stamp = stamp
                try:
                    self._patterns = read_patterns(self._file)
                except ConfigurationError as exc:
                    _log.error("deny_list_wrong", problems=exc.problems)
                else:
                    _log.info("deny_list_read", patterns=len(self._patterns))
            return self._patterns


def read_patterns(file: Path) -> Patterns:
    """Return the patterns of a file; raise ConfigurationError with every line that is wrong."""
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_BYTES + 1)
    except OSError as exc:
        raise ConfigurationError([f"the file {file} cannot be read: {exc.strerror}"]) from exc
    if len(content) > MAX_BYTES:
        raise ConfigurationError([f"the file {file} has more than {MAX_BYTES:,} bytes"])
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        number = content.count(b"\n", 0, exc.start) + 1
        raise ConfigurationError([f"line {number} of {file}: it is not UTF-8"]) from exc
    lines = enumerate(map(str.strip, text.split("\n")), start=1)
    patterns = {number: line for number, line in lines if line and not line.startswith("#")}
    if len(patterns) > MAX_PATTERNS:
        raise ConfigurationError([f"the file {file} has more than {MAX_PATTERNS:,} patterns"])
    return Patterns(patterns, place=str(file))
