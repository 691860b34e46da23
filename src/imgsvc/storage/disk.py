"""Objects as files of one bucket's folder. Everything here blocks: call it in a thread."""

import errno
import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from imgsvc.errors import (
    BucketNotFound,
    ConfigurationError,
    InvalidObjectKey,
    ObjectNotFound,
    ObjectTooLarge,
    StorageAccessDenied,
    StorageError,
)
from imgsvc.storage.keys import check_key

STAGING = ".imgsvc-staging"  # unfinished files of a bucket, on the same file system as it
_STALE_AFTER = 3600  # seconds; an upload takes less


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
    if path.parts[len(root.parts)] == STAGING:
        raise InvalidObjectKey(f"Object keys must not begin with {STAGING}.")
    if Path(os.path.realpath(path.parent)) != path.parent:
        raise InvalidObjectKey(f"The object key {key!r} leads through a symbolic link.")
    return path


def find(bucket: Path, key: str) -> tuple[Path, int]:
    """Return path and size of an object that is there, or raise ObjectNotFound."""
    path = _locate(bucket, key)
    try:
        status = path.stat(follow_symlinks=False)
    except NotADirectoryError as exc:  # for `a/b` with `a` a file
        raise ObjectNotFound(_not_found(key)) from exc
    if not stat.S_ISREG(status.st_mode):
        raise ObjectNotFound(_not_found(key))
    return path, status.st_size


def read(bucket: Path, key: str, max_bytes: int) -> bytes:
    """Return an object's content; raise ObjectTooLarge without reading a larger one."""
    path, size = find(bucket, key)
    if size > max_bytes:
        raise ObjectTooLarge(f"The object {key} has {size} bytes, more than {max_bytes}.")
    with path.open("rb") as file:
        return file.read(size)


def write(bucket: Path, key: str, data: bytes) -> None:
    """Store an object whole, or not at all; it survives a power cut when this returns."""
    path = _locate(bucket, key)
    staging = existing(bucket) / STAGING
    staging.mkdir(exist_ok=True)
    temporary = staging / secrets.token_hex(16)
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        _make_folders(path.parent)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _make_folders(folder: Path) -> None:
    """Make a folder and those above it, each of them safe against a power cut."""
    if folder.is_dir():
        return
    _make_folders(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(bucket: Path, key: str) -> None:
    """Remove an object if it is there."""
    path = _locate(bucket, key)
    if path.is_file():
        path.unlink(missing_ok=True)
        _sync_folder(path.parent)


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
