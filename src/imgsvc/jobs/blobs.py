"""Payloads on local disk: inputs, callback bodies and working copies.

What waits, waits here: memory holds only descriptions of jobs.
"""

import asyncio
import fcntl
import hashlib
import os
import shutil
import uuid
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import structlog

from imgsvc.errors import ConfigurationError, DiskRefuses
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

    def path(self, ref: BlobRef) -> Path:
        """Return where the blob's file is."""
        return self._blobs / ref.key

    async def delete(self, refs: Iterable[BlobRef]) -> None:
        """Remove blobs; one that is gone already is no error.

        One that cannot be removed is logged and stays until the next start.
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
    """Yield the blob folder below data_dir, which this process then holds alone.

    Files of an earlier process are removed: the jobs they belonged to ended with it.
    Raises ConfigurationError if the folder cannot be used or another process holds it.
    """
    folder = data_dir / "spool"
    with _exclusive(data_dir):
        try:
            await asyncio.to_thread(_make_empty, folder)
        except OSError as exc:
            raise _unusable(data_dir, exc) from exc
        try:
            yield BlobFolder(folder)
        finally:
            # No payload stays behind: the jobs it belonged to end with this process.
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _exclusive(data_dir: Path) -> Iterator[None]:
    """Hold the data folder's lock: two processes must not share one folder."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = (data_dir / "lock").open("a+")
    except OSError as exc:
        raise _unusable(data_dir, exc) from exc
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            raise ConfigurationError(
                [f"data_dir: the folder {data_dir} is in use by process {holder}"]
            ) from exc
        try:
            # Past the file object: what its buffer could not write, it tries again on close.
            os.truncate(lock.fileno(), 0)
            os.write(lock.fileno(), f"{os.getpid()}\n".encode())
        except OSError as exc:
            raise _unusable(data_dir, exc) from exc
        yield


def _unusable(data_dir: Path, exc: OSError) -> ConfigurationError:
    return ConfigurationError(
        [f"data_dir: the folder {data_dir} cannot be written ({exc.strerror})"]
    )


def _make_empty(folder: Path) -> None:
    for name in ("blobs", "scratch"):
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir(parents=True)


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
