"""Payloads on local disk: inputs, callback bodies and working copies.

What waits, waits here: memory holds only descriptions of jobs.
"""

import asyncio
import hashlib
import os
import shutil
import threading
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import structlog

from imgsvc.errors import DiskRefuses
from imgsvc.jobs.data_folder import unusable
from imgsvc.jobs.folder_reader import FolderReader
from imgsvc.jobs.models import BlobRef

log = structlog.get_logger(__name__)


class BlobFolder:
    """A folder of files that are written whole or not at all.

    `put` and `adopt` are durable when they return; `scratch` and `scratch_folder` are
    working copies that are gone when their context ends. All raise DiskRefuses when the
    disk does not take the file, because it is full, say.
    """

    def __init__(self, folder: Path, *, size: int = 0) -> None:
        self._blobs = folder / "blobs"
        self._scratch = folder / "scratch"
        self._refused = False
        self._reserved: set[str] = set()
        self._size = size
        self._size_lock = threading.Lock()  # threads of several callers write and delete

    @property
    def size(self) -> int:
        """What the blobs take up, in bytes; a copy counts like any other blob."""
        return self._size

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
            return replace(ref, key=await asyncio.to_thread(self._link, path, ref.size))

    def path(self, ref: BlobRef) -> Path:
        """Return where the blob's file is."""
        return self._blobs / ref.key

    async def delete(self, refs: Iterable[BlobRef]) -> None:
        """Remove blobs; one that is gone already is no error.

        One that cannot be removed is logged, and stays until the next sweep.
        """
        await self.delete_keys([ref.key for ref in refs])

    async def delete_keys(self, keys: Iterable[str]) -> None:
        """Remove the blobs with these keys, as `delete` does."""
        paths = [self._blobs / key for key in keys]
        if paths:
            await asyncio.to_thread(self._unlink_all, paths)

    @contextmanager
    def reserved(self, ref: BlobRef) -> Iterator[None]:
        """Keep a blob out of `unreserved` while the block makes it known to the record.

        That can take as long as the disk refuses.
        """
        self._reserved.add(ref.key)
        try:
            yield
        finally:
            self._reserved.discard(ref.key)

    async def unreserved(self, *, before: datetime, portion: int) -> AsyncGenerator[list[str]]:
        """Yield the keys of blobs that were there before a time and are not reserved.

        The folder is read so many entries at a time. Raises DiskRefuses if that fails.
        """
        reader = FolderReader(self._blobs)
        try:
            while True:
                with self.noting_refusals():
                    keys = await asyncio.to_thread(_keys_before, before, reader, portion)
                if keys is None:
                    return
                yield [key for key in keys if key not in self._reserved]
        finally:
            await asyncio.to_thread(reader.close)

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

    def _link(self, path: Path, size: int) -> str:
        final = self._blobs / uuid.uuid4().hex
        final.hardlink_to(path)
        self._settle(final, size)
        return final.name

    def _adopt(self, path: Path, content_type: str) -> BlobRef:
        final = self._blobs / uuid.uuid4().hex
        final.parent.mkdir(parents=True, exist_ok=True)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.tell()
            os.fsync(file.fileno())
        path.rename(final)
        self._settle(final, size)
        return BlobRef(key=final.name, size=size, sha256=digest, content_type=content_type)

    def _settle(self, blob: Path, size: int) -> None:
        """Make a new blob's name durable and count it, or take it away again."""
        try:
            _fsync_folder(self._blobs)
        except BaseException:
            blob.unlink(missing_ok=True)
            raise
        self._count(size)

    def _unlink_all(self, paths: list[Path]) -> None:
        for path in paths:
            try:
                size = path.stat().st_size
                path.unlink()
            except FileNotFoundError:
                continue
            except OSError as exc:
                log.warning("blob_not_deleted", key=path.name, errno=exc.errno)
            else:
                self._count(-size)

    def _count(self, added: int) -> None:
        with self._size_lock:
            self._size += added


@asynccontextmanager
async def open_blobs(data_dir: Path) -> AsyncIterator[BlobFolder]:
    """Yield the blob folder below data_dir, which this process holds alone.

    Blobs of an earlier process stay: its jobs go on. Its working copies are removed.
    Raises ConfigurationError if the folder cannot be used.
    """
    folder = data_dir / "spool"
    try:
        size = await asyncio.to_thread(_prepare, folder)
    except OSError as exc:
        raise unusable(data_dir, exc) from exc
    yield BlobFolder(folder, size=size)


def _prepare(folder: Path) -> int:
    """Make the folders, empty that of working copies, and return the size of all blobs."""
    blobs, scratch = folder / "blobs", folder / "scratch"
    blobs.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    with os.scandir(blobs) as entries:
        return sum(entry.stat().st_size for entry in entries if entry.is_file())


def _keys_before(before: datetime, reader: FolderReader, portion: int) -> list[str] | None:
    """Return the names of those files that had got them by then; None at the end.

    It is ctime that a rename or a link sets: the time of content is older, much older in
    a copy.
    """
    entries = reader.take(portion)
    if not entries:
        return None
    keys = []
    for entry in entries:
        with suppress(FileNotFoundError):  # deleted in the meantime
            if entry.is_file() and entry.stat().st_ctime < before.timestamp():
                keys.append(entry.name)
    return keys


def _fill(path: Path, data: bytes) -> None:
    with path.open("r+b") as file:
        file.write(data)


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
