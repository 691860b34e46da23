"""Reading a large folder portion by portion, in threads."""

import os
import threading
from itertools import islice
from pathlib import Path


class FolderReader:
    """The entries of a folder, so many at a time.

    A thread goes on when the task that waits for it is cancelled: after `close` it finds
    nothing more to take, and leaves nothing open.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._entries: os._ScandirIterator[str] | None = None
        self._closed = False

    def take(self, portion: int) -> list["os.DirEntry[str]"]:
        """Return the next entries, none at the end. Raises OSError."""
        with self._lock:
            if self._closed:
                return []
            if self._entries is None:
                self._entries = os.scandir(self._folder)
            return list(islice(self._entries, portion))

    def close(self) -> None:
        """End the reading."""
        with self._lock:
            self._closed = True
            if self._entries is not None:
                self._entries.close()
