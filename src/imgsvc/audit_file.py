"""The file that the log stream of the audit log goes to, if it has one of its own."""

import logging
import os
from contextlib import nullcontext, suppress
from io import BufferedWriter, FileIO, TextIOWrapper
from logging.handlers import WatchedFileHandler
from pathlib import Path

import structlog

from imgsvc.errors import ConfigurationError

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
            stream = self._current()
            stream.write(self.format(record) + self.terminator)
            stream.flush()
        except OSError as exc:
            self._tell(exc)
            self._instead.handle(record)
        else:
            self._tell(None)

    async def reopen(self) -> bool:
        """Open the file if it is not open, or was moved, and tell whether that was needed.

        Raises ConfigurationError if it cannot be written.
        """
        before = self.stream
        with self.lock or nullcontext():
            try:
                stream = self._current()
                stream.flush()  # of a line that was cut off, its end
            except OSError as exc:
                self._tell(exc)
                raise ConfigurationError([f"{self.baseFilename}: {exc.strerror}"]) from exc
            self._tell(None)
        return stream is not before

    def _current(self) -> TextIOWrapper:
        """Return the file as it is there now; raise OSError."""
        self.reopenIfNeeded()
        if self.stream is None:
            self.stream = self._open()
            self._statstream()
        return self.stream

    def _tell(self, failure: OSError | None) -> None:
        """Say once that the file cannot be written, and once that it can again."""
        if failure is not None:
            if not self._fails:
                log.error(
                    "audit_file_failed",
                    file=self.baseFilename,
                    error=failure.strerror,
                    effect="its lines stand among the others",
                    mend="make the file and its folder writable for the server",
                )
            self._drop()
        elif self._fails:
            log.info("audit_file_works_again", file=self.baseFilename)
        self._fails = failure is not None

    def _drop(self) -> None:
        """Close the file without what could not be written: it is told elsewhere."""
        if self.stream is not None:
            with suppress(OSError):
                self.stream.close()
            self.stream = None
