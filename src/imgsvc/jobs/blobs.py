"""Payloads on local disk: inputs, callback bodies and working copies.

What waits, waits here: memory holds only descriptions of jobs.
"""

import asyncio
import hashlib
import os
import shutil
import uuid
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

import structlog

from imgsvc.errors import DiskRefuses
from imgsvc.jobs.data_folder import unusable
from imgsvc.jobs.models import BlobRef

log = structlog.get_logger(__name__)


class BlobFolder:
    """A folder of files that are written whole or not at all.

    `put` and `adopt` are durable when they return; `scratch` and `scratch_folder` are
    working copies that are gone when their context ends. All raise DiskRefuses when the
    disk does not take the file, because it is full, say.
    """

    def __init__(self, folder: Path) -> None:
        self._blobs = folder / "blobs"
        self._scratch = folder / "scratch"
        self._refused = False

    async def put(self, parts: Iterable[bytes], *, content_type: str) -> BlobRef:
        """Write the concatenated parts durably: file, fsync, rename, fsync of the folder."""
        with self.noting_refusals():
            blob = await asyncio.to_thread(self._put, parts, content_type)
        self._refused = False
        return blob

    async def adopt(self, path: Path, content_type: str) -> BlobRef:
        """Make a file of a scratch folder a blob, as durably as `put`."""
        with self.noting_refusals():
            blob = await asyncio.to_thread(self._adopt, path, content_type)
        self._refused = False
        return blob

    async def copy(self, ref: BlobRef) -> BlobRef:
        """Make another blob with the same content, as durably as `put`; it takes no space.

        Raises FileNotFoundError if the blob is gone.
        """
        path = self.path(ref)
        if not await asyncio.to_thread(path.exists):
            raise FileNotFoundError(ref.key)
        with self.noting_refusals():
            return replace(ref, key=await asyncio.to_thread(self._link, path))

    def path(self, ref: BlobRef) -> Path:
        """Return where the blob's file is."""
        return self._blobs / ref.key

    async def delete(self, refs: Iterable[BlobRef]) -> None:
        """Remove blobs; one that is gone already is no error.

        One that cannot be removed is logged, and stays until the next sweep.
        """
        paths = [self.path(ref) for ref in refs]
        if paths:
            await asyncio.to_thread(_unlink_all, paths)

    @asynccontextmanager
    async def scratch_folder(self) -> AsyncIterator[Path]:
        """Yield an empty folder that lives as long as the context."""
        folder = self._scratch / uuid.uuid4().hex
        with self.noting_refusals():
            # Not in a thread, which could make it after it was removed.
            folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    @asynccontextmanager
    async def scratch(self, data: bytes) -> AsyncIterator[Path]:
        """Yield a file with this content that lives as long as the context."""
        path = self._scratch / uuid.uuid4().hex
        try:
            with self.noting_refusals():
                # Made here and only filled in the thread, which goes on when this task is
                # cancelled: it must not make the file after it was removed.
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
                await asyncio.to_thread(_fill, path, data)
            yield path
        finally:
            await asyncio.to_thread(path.unlink, missing_ok=True)

    async def check(self) -> None:
        """Raise DiskRefuses if the disk has refused lately and still does."""
        if self._refused:
            probe = await self.put([bytes(4096)], content_type="application/octet-stream")
            await self.delete([probe])

    @contextmanager
    def noting_refusals(self) -> Iterator[None]:
        """Raise DiskRefuses for an OSError of the block, and remember either for `check`."""
        try:
            yield
        except (OSError, DiskRefuses) as exc:
            self._refused = True
            # Image processes raise DiskRefuses themselves, and keep the number.
            number = exc.errno if isinstance(exc, OSError) else None
            log.error("disk_refuses", errno=number)  # noqa: TRY400 - expected: no traceback
            raise DiskRefuses from exc

    def _put(self, parts: Iterable[bytes], content_type: str) -> BlobRef:
        partial = self._scratch / uuid.uuid4().hex
        partial.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("wb") as file:
                file.writelines(parts)
            return self._adopt(partial, content_type)
        finally:
            partial.unlink(missing_ok=True)

    def _link(self, path: Path) -> str:
        final = self._blobs / uuid.uuid4().hex
        final.hardlink_to(path)
        _fsync_folder(self._blobs)
        return final.name

    def _adopt(self, path: Path, content_type: str) -> BlobRef:
        final = self._blobs / uuid.uuid4().hex
        final.parent.mkdir(parents=True, exist_ok=True)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.tell()
            os.fsync(file.fileno())
        path.rename(final)
        try:
            _fsync_folder(self._blobs)
        except BaseException:
            final.unlink(missing_ok=True)
            raise
        return BlobRef(key=final.name, size=size, sha256=digest, content_type=content_type)


@asynccontextmanager
async def open_blobs(data_dir: Path) -> AsyncIterator[BlobFolder]:
    """Yield the blob folder below data_dir, which this process holds alone.

    Blobs of an earlier process stay: its jobs go on. Its working copies are removed.
    Raises ConfigurationError if the folder cannot be used.
    """
    folder = data_dir / "spool"
    try:
        await asyncio.to_thread(_prepare, folder)
    except OSError as exc:
        raise unusable(data_dir, exc) from exc
    yield BlobFolder(folder)


def _prepare(folder: Path) -> None:
    (folder / "blobs").mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder / "scratch", ignore_errors=True)
    (folder / "scratch").mkdir()


def _fill(path: Path, data: bytes) -> None:
    with path.open("r+b") as file:
        file.write(data)


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unlink_all(paths: list[Path]) -> None:
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as exc:
            log.warning("blob_not_deleted", key=path.name, errno=exc.errno)
