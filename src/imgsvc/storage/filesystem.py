"""A folder as object storage: each bucket is a folder in it, each object a file."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from imgsvc.errors import ObjectNotFound
from imgsvc.secrets import NO_RENEWALS, Renewals
from imgsvc.signing_keys import load_signing_key
from imgsvc.storage import disk
from imgsvc.storage.base import ObjectInfo, ObjectStat
from imgsvc.storage.keys import check_key
from imgsvc.storage.links import LinkSigner
from imgsvc.storage.metadata import check_metadata
from imgsvc.storage.settings import StorageSettings
from imgsvc.storage.sidecar import Sidecar
from imgsvc.storage.walk import walk

_BUCKET_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$"  # hence never `..`, nor a path
_PAGE = 250  # objects

# Types that a browser shows without running anything in them: no HTML, no SVG.
_CONTENT_TYPES = {
    ".avif": "image/avif",
    ".bmp": "image/bmp",
    ".csv": "text/csv; charset=utf-8",
    ".gif": "image/gif",
    ".heic": "image/heic",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".json": "application/json",
    ".png": "image/png",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".txt": "text/plain; charset=utf-8",
    ".webp": "image/webp",
}


def content_type(path: Path) -> str:
    """Return the media type to serve a file as, by its extension."""
    return _CONTENT_TYPES.get(path.suffix.lower(), "application/octet-stream")


class FilesystemConfig(StorageSettings):
    """Files in a folder of this machine."""

    kind: Literal["filesystem"] = Field(
        "filesystem", description="Keep objects as files of this machine."
    )
    folder: Path | None = Field(
        None, description="Folder that holds the buckets; `files` in the data folder if not set."
    )
    input_bucket: str = Field(
        "input", pattern=_BUCKET_NAME, description="Folder in it that batches read from."
    )
    output_bucket: str = Field(
        "output", pattern=_BUCKET_NAME, description="Folder in it that results are written to."
    )

    allow_buckets: list[Annotated[str, Field(pattern=_BUCKET_NAME)]] = Field(
        [],
        description="Further folders in it that batches may name as `input_bucket` or"
        " `output_bucket`.",
    )

    @asynccontextmanager
    async def open(
        self,
        *,
        data_dir: Path,
        base_url: str,
        renewals: Renewals = NO_RENEWALS,  # noqa: ARG002 - this one needs no secrets
    ) -> AsyncIterator["FilesystemStorage"]:
        """Make the folders and the key that signs links, and yield the storage.

        Links begin with base_url. Raises ConfigurationError if the folders cannot be used.
        """
        folder = self.folder or data_dir / "files"
        names = (self.input_bucket, self.output_bucket, *self.allow_buckets)
        await asyncio.to_thread(disk.make_buckets, [folder / name for name in names])
        signing_key = await asyncio.to_thread(load_signing_key, data_dir / "link-signing.key")
        signer = LinkSigner(signing_key=signing_key, base_url=base_url)
        yield FilesystemStorage(folder=folder, signer=signer)


class FilesystemStorage:
    """Objects as files; links serve them with the content type of the key's extension.

    Symbolic links below a bucket are not followed. An object cannot be the folder of
    another one: with `a` stored, `a/b` is refused.
    """

    kind = "filesystem"

    def __init__(self, *, folder: Path, signer: LinkSigner) -> None:
        self._folder = folder
        self._signer = signer

    def _path(self, bucket: str) -> Path:
        if not re.fullmatch(_BUCKET_NAME, bucket):
            raise disk.no_bucket(bucket)
        return self._folder / bucket

    async def put(
        self,
        bucket: str,
        key: str,
        data: bytes,
        *,
        content_type: str,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Store an object whole, or not at all; it is on the disk when this returns."""
        extra = _sidecar(key, content_type, metadata)
        with disk.mapped(key):
            await asyncio.to_thread(
                disk.write, self._path(bucket), key, lambda file: file.write(data), extra
            )

    async def put_file(
        self,
        bucket: str,
        key: str,
        path: Path,
        *,
        content_type: str,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Store a copy of a file whole, or not at all; it is on the disk when this returns."""
        extra = _sidecar(key, content_type, metadata)
        with await asyncio.to_thread(path.open, "rb") as source, disk.mapped(key):
            await asyncio.to_thread(disk.write, self._path(bucket), key, disk.copier(source), extra)

    async def get(self, bucket: str, key: str, *, max_bytes: int) -> bytes:
        """Return an object's content; raise ObjectTooLarge without reading a larger one."""
        with disk.mapped(key):
            return await asyncio.to_thread(disk.read, self._path(bucket), key, max_bytes)

    async def stat(self, bucket: str, key: str) -> ObjectStat | None:
        """Return what is known of an object, None if there is none of this key."""
        try:
            with disk.mapped(key):
                status, extra = await asyncio.to_thread(disk.describe, self._path(bucket), key)
        except ObjectNotFound:
            return None
        return ObjectStat(
            size=status.st_size,
            modified=datetime.fromtimestamp(status.st_mtime, UTC),
            content_type=extra.content_type if extra else content_type(Path(key)),
            metadata=extra.metadata if extra else {},
        )

    async def list(
        self, bucket: str, prefix: str, *, after: str | None = None
    ) -> AsyncIterator[ObjectInfo]:
        """Yield the objects whose key starts with prefix, in key order, page by page."""
        with disk.mapped(prefix):
            root = await asyncio.to_thread(disk.existing, self._path(bucket))
        files = walk(root, prefix, after=after, hidden=disk.HIDDEN)
        while True:
            with disk.mapped(prefix):
                page = await asyncio.to_thread(lambda: tuple(islice(files, _PAGE)))
            for info in page:
                yield info
            if len(page) < _PAGE:
                return

    async def presign(self, bucket: str, key: str, *, expires_in: int) -> str:
        """Return a URL that anyone can GET the object from for expires_in seconds."""
        check_key(key)
        return self._signer.url(bucket, key, expires_in=expires_in)

    async def delete(self, bucket: str, key: str) -> None:
        """Remove an object; one that is not there is no error."""
        with disk.mapped(key):
            await asyncio.to_thread(disk.remove, self._path(bucket), key)

    async def verify_link(self, bucket: str, key: str, *, expires: str, signature: str) -> Path:
        """Return the file that a link made by `presign` leads to.

        Raises LinkInvalid, LinkExpired or ObjectNotFound.
        """
        self._signer.verify(bucket, key, expires=expires, signature=signature)
        with disk.mapped(key):
            path, _ = await asyncio.to_thread(disk.find, self._path(bucket), key)
        return path


def _sidecar(key: str, stated: str, metadata: Mapping[str, str] | None) -> Sidecar | None:
    """Return what has to be kept beside the file, None if the file tells everything itself."""
    checked = check_metadata(metadata)
    if not checked and stated == content_type(Path(key)):
        return None
    return Sidecar(content_type=stated, metadata=checked)
