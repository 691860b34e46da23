"""How much of the local disk jobs take up, and how much that may be."""

from collections.abc import Callable
from dataclasses import dataclass

from imgsvc.errors import SpoolFull
from imgsvc.jobs.blobs import BlobFolder


@dataclass(frozen=True, kw_only=True, slots=True)
class Spool:
    """What waits or is kept on disk: the blobs and the record.

    The limit is for new jobs: what those that are accepted still have to write, results
    and callbacks, is written all the same.
    """

    blobs: BlobFolder
    record: Callable[[], int]  # the bytes that the record uses
    limit: int  # bytes

    @property
    def size(self) -> int:
        """All of it, in bytes."""
        return self.blobs.size + self.record()

    @property
    def is_full(self) -> bool:
        """Whether new jobs are refused."""
        return self.size >= self.limit

    def check(self) -> None:
        """Raise SpoolFull if new jobs are refused."""
        if self.is_full:
            raise SpoolFull
