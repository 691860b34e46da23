"""What every object storage offers."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectInfo:
    """One object as a listing shows it."""

    key: str
    size: int  # bytes
    modified: datetime  # aware


class Storage(Protocol):
    """Buckets of objects. Every method raises StorageError or one of its children."""

    @property
    def kind(self) -> str:
        """The word the configuration uses for this storage."""
        ...

    async def put(self, bucket: str, key: str, data: bytes, *, content_type: str) -> None:
        """Store an object whole, or not at all; an existing one is replaced."""
        ...

    async def get(self, bucket: str, key: str, *, max_bytes: int) -> bytes:
        """Return an object's content; raise ObjectTooLarge without reading a larger one."""
        ...

    def list(self, bucket: str, prefix: str) -> AsyncIterator[ObjectInfo]:
        """Yield the objects whose key starts with prefix, in key order, page by page.

        Nothing is left out in silence: a file whose name cannot be a key is listed, and
        `get` refuses it with InvalidObjectKey.
        """
        ...

    async def presign(self, bucket: str, key: str, *, expires_in: int) -> str:
        """Return a URL that anyone can GET the object from for expires_in seconds."""
        ...

    async def delete(self, bucket: str, key: str) -> None:
        """Remove an object; one that is not there is no error."""
        ...
