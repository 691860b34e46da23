"""What every object storage offers."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectInfo:
    """One object as a listing shows it."""

    key: str
    size: int  # bytes
    modified: datetime  # aware


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectStat:
    """What is known of one object without reading it."""

    size: int  # bytes
    modified: datetime  # aware
    content_type: str
    metadata: Mapping[str, str]  # what it was put with; empty for files that came otherwise


class Storage(Protocol):
    """Buckets of objects. Every method raises StorageError or one of its children."""

    @property
    def kind(self) -> str:
        """The word the configuration uses for this storage."""
        ...

    async def put(
        self,
        bucket: str,
        key: str,
        data: bytes,
        *,
        content_type: str,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Store an object whole, or not at all; an existing one is replaced with its metadata.

        Raises ValueError unless metadata is as `metadata.check_metadata` wants it.
        """
        ...

    async def put_file(
        self,
        bucket: str,
        key: str,
        path: Path,
        *,
        content_type: str,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Store a file of any size as `put` does, reading it a piece at a time.

        Raises OSError if the file cannot be opened.
        """
        ...

    async def get(self, bucket: str, key: str, *, max_bytes: int) -> bytes:
        """Return an object's content; raise ObjectTooLarge without reading a larger one."""
        ...

    async def stat(self, bucket: str, key: str) -> ObjectStat | None:
        """Return what is known of an object, None if there is none of this key."""
        ...

    def list(
        self, bucket: str, prefix: str, *, after: str | None = None
    ) -> AsyncIterator[ObjectInfo]:
        """Yield the objects whose key starts with prefix, in key order, page by page.

        The order is that of the keys' UTF-8 bytes. With `after` only those behind this key
        are yielded; it need not exist.

        Nothing is left out in silence: a file whose name cannot be a key is listed, and
        `get` refuses it with InvalidObjectKey.
        """
        ...

    async def presign(self, bucket: str, key: str, *, expires_in: int) -> str:
        """Return a URL that anyone can GET the object from for expires_in seconds."""
        ...

    async def delete(self, bucket: str, key: str) -> None:
        """Remove an object and its metadata; one that is not there is no error."""
        ...
