"""Lists the files below a folder as S3 lists keys: by prefix, in the order of their bytes."""

import heapq
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from imgsvc.errors import InvalidObjectKey
from imgsvc.storage.base import ObjectInfo
from imgsvc.storage.keys import check_key

_NAMES_AT_ONCE = 10_000  # of one folder; a larger one is read several times


def walk(root: Path, prefix: str, *, hidden: str) -> Iterator[ObjectInfo]:
    """Yield the regular files whose key starts with prefix.

    Left out are symbolic links and the folder `hidden` right below root. Files whose
    name is no valid key are yielded too; bytes that are not UTF-8 come as lone surrogates.
    Folders are read when their turn comes, so files that come and go meanwhile may or may
    not be seen.
    """
    start = prefix.rpartition("/")[0]
    if start:
        try:
            check_key(start)
        except InvalidObjectKey:
            return  # no object can have such a key
        if (root / start).resolve() != root.resolve() / start:
            return  # behind a symbolic link
    for key in _keys(os.fsencode(root), f"{start}/" if start else "", prefix):
        if key.split("/", 1)[0] == hidden:
            continue
        try:
            status = (root / key).stat(follow_symlinks=False)
        except FileNotFoundError:
            continue
        modified = datetime.fromtimestamp(status.st_mtime, UTC)
        yield ObjectInfo(key=key, size=status.st_size, modified=modified)


def _keys(root: bytes, folder: str, prefix: str) -> Iterator[str]:
    """Yield the keys below one folder (empty or with a slash at its end) in order."""
    for name in _sorted_names(root + b"/" + os.fsencode(folder)):
        key = folder + os.fsdecode(name)
        if key.endswith("/"):
            if key.startswith(prefix) or prefix.startswith(key):
                yield from _keys(root, key, prefix)
        elif key.startswith(prefix):
            yield key


def _sorted_names(folder: bytes) -> Iterator[bytes]:
    """Yield the names in one folder; those of folders end with a slash, which S3 sorts by."""
    last = b""
    while True:
        page = heapq.nsmallest(_NAMES_AT_ONCE, (n for n in _names(folder) if n > last))
        yield from page
        if len(page) < _NAMES_AT_ONCE:
            return
        last = page[-1]


def _names(folder: bytes) -> Iterator[bytes]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    yield entry.name + b"/"
                elif entry.is_file(follow_symlinks=False):
                    yield entry.name
    except (FileNotFoundError, NotADirectoryError):
        return  # removed since its name was read, or never there
