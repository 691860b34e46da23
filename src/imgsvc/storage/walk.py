"""Lists the files below a folder as S3 lists keys: by prefix, in the order of their bytes."""

import heapq
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from imgsvc.errors import InvalidObjectKey
from imgsvc.storage.base import ObjectInfo
from imgsvc.storage.keys import check_key

_NAMES_AT_ONCE = 10_000  # of one folder; a larger one is read several times


def walk(
    root: Path, prefix: str, *, after: str | None, hidden: Collection[str]
) -> Iterator[ObjectInfo]:
    """Yield the regular files whose key starts with prefix, those behind the key `after`.

    Left out are symbolic links and the folders `hidden` right below root. Files whose
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
    wanted = _Wanted(prefix=os.fsencode(prefix), after=os.fsencode(after or ""))
    folder = os.fsencode(f"{start}/" if start else "")
    for key in map(os.fsdecode, _keys(os.fsencode(root), folder, wanted)):
        if key.split("/", 1)[0] in hidden:
            continue
        try:
            status = (root / key).stat(follow_symlinks=False)
        except FileNotFoundError:
            continue
        modified = datetime.fromtimestamp(status.st_mtime, UTC)
        yield ObjectInfo(key=key, size=status.st_size, modified=modified)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Wanted:
    """Which keys are yielded, as bytes: their order is not that of text with surrogates."""

    prefix: bytes
    after: bytes

    def has(self, key: bytes) -> bool:
        return key.startswith(self.prefix) and key > self.after

    def may_lie_in(self, folder: bytes) -> bool:
        """Tell whether a key in the folder (with a slash at its end) can be wanted."""
        in_prefix = folder.startswith(self.prefix) or self.prefix.startswith(folder)
        return in_prefix and (folder > self.after or self.after.startswith(folder))

    def first_name(self, folder: bytes) -> bytes:
        """Return a name that those of wanted keys right in the folder do not come before."""
        if not self.after.startswith(folder):
            return b""
        name, slash, _ = self.after[len(folder) :].partition(b"/")
        return name + slash


def _keys(root: bytes, folder: bytes, wanted: _Wanted) -> Iterator[bytes]:
    """Yield the wanted keys in one folder (empty or with a slash at its end) in order."""
    for name in _sorted_names(root + b"/" + folder, wanted.first_name(folder)):
        key = folder + name
        if key.endswith(b"/"):
            if wanted.may_lie_in(key):
                yield from _keys(root, key, wanted)
        elif wanted.has(key):
            yield key


def _sorted_names(folder: bytes, first: bytes) -> Iterator[bytes]:
    """Yield the names in one folder, not those before `first`.

    Those of folders end with a slash, which S3 sorts by.
    """
    last = b""
    while True:
        page = heapq.nsmallest(
            _NAMES_AT_ONCE, (n for n in _names(folder) if n >= first and n > last)
        )
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
