"""The file that the log stream of the audit log goes to, if it has one of its own."""

import logging
import os
from contextlib import suppress
from io import BufferedWriter, FileIO, TextIOWrapper
from logging.handlers import WatchedFileHandler
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)


class AuditFile(WatchedFileHandler):
    """Appends lines to a file, which is opened anew when it was moved or removed.

    While that fails, lines go where the others do; that it failed is said once.
    """

    def __init__(self, path: Path, *, instead: logging.Handler) -> None:
        super().__init__(path, encoding="utf-8", delay=True)
        self._instead = instead
        self._fails = False

    def _open(self) -> TextIOWrapper:
        """Open the file; a new one nobody else on the machine may read.

        A line that was cut off, by a full disk or a crash, is ended first: else the next one
        would be lost with it.
        """
        descriptor = os.open(self.baseFilename, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        # Buffered: to a raw file what does not fit any more would be dropped without an error.
        stream = TextIOWrapper(BufferedWriter(FileIO(descriptor, "a")), "utf-8")
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            stream.write(self.terminator)
        return stream

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, here or else among the others."""
        try:
            self.reopenIfNeeded()
            if self.stream is None:
                self.stream = self._open()
            self.stream.write(self.format(record) + self.terminator)
            self.stream.flush()
        except OSError as exc:
            if not self._fails:
                log.error("audit_file_failed", error=exc.strerror)  # noqa: TRY400 - no bug
            self._fails = True
            self._drop()
            self._instead.handle(record)
        else:
            self._fails = False

    def _drop(self) -> None:
        """Close the file without what could not be written: it is told elsewhere."""
        if self.stream is not None:
            with suppress(OSError):
                self.stream.close()
            self.stream = None
