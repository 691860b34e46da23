"""Objects as files of one bucket's folder. Everything here blocks: call it in a thread."""

import errno
import os
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from imgsvc.errors import (
    BucketNotFound,
    ConfigurationError,
    InvalidObjectKey,
    ObjectNotFound,
    ObjectTooLarge,
    StorageAccessDenied,
    StorageError,
)
from imgsvc.storage import sidecar
from imgsvc.storage.durable import make_folders, sync_folder
from imgsvc.storage.keys import check_key

STAGING = ".imgsvc-staging"  # unfinished files of a bucket, on the same file system as it
HIDDEN = frozenset({STAGING, sidecar.METADATA})  # folders of a bucket that hold no objects
_STALE_AFTER = 3600  # seconds without a byte; an upload that goes on has none so long
_PIECE = 1 << 20  # bytes copied at a time


def make_buckets(buckets: list[Path]) -> None:
    """Make the folders of buckets, and drop what crashed uploads left in them.

    Raises ConfigurationError if they cannot be used.
    """
    try:
        for bucket in buckets:
            staging = bucket / STAGING
            staging.mkdir(parents=True, exist_ok=True)
            for path in staging.iterdir():
                with suppress(FileNotFoundError):  # another process has just finished it
                    if path.stat().st_mtime < time.time() - _STALE_AFTER:
                        path.unlink()
    except OSError as exc:
        raise ConfigurationError([f"storage.folder cannot be used: {exc.strerror}"]) from exc


def existing(bucket: Path) -> Path:
    """Return the bucket's real folder; raise BucketNotFound if there is none."""
    if not bucket.is_dir():
        raise no_bucket(bucket.name)
    return bucket.resolve()


def _locate(bucket: Path, key: str) -> Path:
    """Return the path of a key, which stays inside the bucket."""
    check_key(key)
    root = existing(bucket)
    path = root / key
    if (first := path.parts[len(root.parts)]) in HIDDEN:
        raise InvalidObjectKey(f"Object keys must not begin with {first}.")
    if Path(os.path.realpath(path.parent)) != path.parent:
        raise InvalidObjectKey(f"The object key {key!r} leads through a symbolic link.")
    return path


def find(bucket: Path, key: str) -> tuple[Path, os.stat_result]:
    """Return path and status of an object that is there, or raise ObjectNotFound."""
    path = _locate(bucket, key)
    try:
        status = path.stat(follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError) as exc:  # the latter: `a/b`, with `a` a file
        raise ObjectNotFound(_not_found(key)) from exc
    if not stat.S_ISREG(status.st_mode):
        raise ObjectNotFound(_not_found(key))
    return path, status


def describe(bucket: Path, key: str) -> tuple[os.stat_result, sidecar.Sidecar | None]:
    """Return the status of an object and what was put with it, or raise ObjectNotFound."""
    root = existing(bucket)
    _, status = find(bucket, key)
    while True:
        extra = sidecar.read(root, key, status)
        _, now = find(bucket, key)
        if extra is not None or sidecar.same_content(status, now):
            return status, extra
        status = now  # replaced meanwhile, and its metadata gone with it


def read(bucket: Path, key: str, max_bytes: int) -> bytes:
    """Return an object's content; raise ObjectTooLarge without reading a larger one."""
    path, status = find(bucket, key)
    size = status.st_size
    if size > max_bytes:
        raise ObjectTooLarge(f"The object {key} has {size} bytes, more than {max_bytes}.")
    with path.open("rb") as file:
        return file.read(size)


def write(
    bucket: Path, key: str, fill: Callable[[BinaryIO], object], extra: sidecar.Sidecar | None
) -> None:
    """Store what `fill` writes whole, or not at all; it survives a power cut when this returns."""
    path, root = _locate(bucket, key), existing(bucket)
    with _staged(root, fill) as (temporary, status):
        make_folders(path.parent)
        try:
            if extra is not None:
                extra.write(root, key, status)
            replaced = _replace(path, temporary)
        except BaseException:
            sidecar.remove(root, key, status)
            raise
    sync_folder(path.parent)
    if replaced is not None and not sidecar.same_content(replaced, status):
        sidecar.remove(root, key, replaced)


@contextmanager
def _staged(
    root: Path, fill: Callable[[BinaryIO], object]
) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield a finished file to be moved into place, and its status; it is dropped if it stays."""
    staging = root / STAGING
    staging.mkdir(exist_ok=True)
    temporary = staging / secrets.token_hex(16)
    try:
        with temporary.open("xb") as file:
            fill(file)
            file.flush()
            # What the kernel sets is as coarse as its ticks; two contents of a key must differ.
            now = time.time_ns()
            os.utime(file.fileno(), ns=(now, now))
            os.fsync(file.fileno())
            status = os.fstat(file.fileno())
        yield temporary, status
    finally:
        temporary.unlink(missing_ok=True)


def _replace(path: Path, temporary: Path) -> os.stat_result | None:
    """Move a file into place, and return the status of the one that was there."""
    try:
        replaced = path.stat(follow_symlinks=False)
    except FileNotFoundError:
        replaced = None
    temporary.replace(path)
    return replaced


def copier(source: BinaryIO) -> Callable[[BinaryIO], object]:
    """Return what fills a file with the rest of source, a piece at a time."""
    return lambda target: shutil.copyfileobj(source, target, _PIECE)


def remove(bucket: Path, key: str) -> None:
    """Remove an object if it is there."""
    path, root = _locate(bucket, key), existing(bucket)
    with suppress(ObjectNotFound):
        _, status = find(bucket, key)
        path.unlink(missing_ok=True)
        sync_folder(path.parent)
        sidecar.remove(root, key, status)


# -- errors -------------------------------------------------------------------------------


@contextmanager
def mapped(key: str) -> Iterator[None]:
    """Raise errors of the operating system as ours."""
    try:
        yield
    except OSError as exc:
        raise storage_error(exc, key) from exc


def storage_error(exc: OSError, key: str) -> StorageError:
    """Return the error of ours that an error of the operating system stands for."""
    match exc.errno:
        case errno.ENOENT:
            return ObjectNotFound(_not_found(key))
        case errno.ENOTDIR | errno.EISDIR | errno.EEXIST:
            return InvalidObjectKey(
                f"The object key {key!r} cannot be used: a file and a folder "
                "of one name exclude each other in this storage."
            )
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return StorageAccessDenied(
                "The storage folder may not be read or written by the server. "
                "The operator has to check its owner and permissions."
            )
        case errno.ENOSPC | errno.EDQUOT:
            return StorageError(
                "The disk of the storage folder is full. Make room, then try again."
            )
        case _:
            reason = os.strerror(exc.errno) if exc.errno else type(exc).__name__
            return StorageError(f"The storage folder failed: {reason}.")


def no_bucket(bucket: str) -> BucketNotFound:
    """Return the error for a bucket without a folder."""
    return BucketNotFound(
        f"The bucket {bucket!r} does not exist. "
        "Create its folder, or correct its name in the configuration."
    )


def _not_found(key: str) -> str:
    return f"The object {key} does not exist, or no longer."
