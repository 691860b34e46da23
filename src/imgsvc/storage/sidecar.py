"""Content type and metadata of the files in a bucket, each in a small file of its own.

    {bucket}/.imgsvc-metadata/{2 digits}/{rest of SHA-256 of the key}.{size}.{mtime}

Size in bytes and modification time in nanoseconds, both hexadecimal, say which content of
the key it belongs to. It is written before the content gets its name, so the one rename
that replaces an object replaces its metadata too, and a file that is changed by hand has
none. Extended attributes would need no such care, but not every file system has them. A
crash can leave a sidecar behind that belongs to nothing: it is never read.

Everything here blocks: call it in a thread.
"""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from imgsvc.storage.durable import make_folders, sync_folder

METADATA = ".imgsvc-metadata"  # a folder of each bucket


class Sidecar(BaseModel):
    """What a file itself does not tell."""

    model_config = ConfigDict(frozen=True)

    content_type: str
    metadata: Mapping[str, str]

    def write(self, bucket: Path, key: str, status: os.stat_result) -> None:
        """Write it for the content that has this status; it is on the disk when this returns."""
        path = _path(bucket, key, status)
        make_folders(path.parent)
        with path.open("w", encoding="utf-8") as file:
            file.write(self.model_dump_json())
            file.flush()
            os.fsync(file.fileno())
        sync_folder(path.parent)


def read(bucket: Path, key: str, status: os.stat_result) -> Sidecar | None:
    """Return what was written for the content that has this status, None if nothing was."""
    try:
        return Sidecar.model_validate_json(_path(bucket, key, status).read_bytes())
    except (FileNotFoundError, ValidationError):  # the latter: damaged
        return None


def remove(bucket: Path, key: str, status: os.stat_result) -> None:
    """Remove what was written for the content that has this status, if anything was."""
    _path(bucket, key, status).unlink(missing_ok=True)


def same_content(one: os.stat_result, other: os.stat_result) -> bool:
    """Tell whether two statuses of one key are those of the same content."""
    return (one.st_size, one.st_mtime_ns) == (other.st_size, other.st_mtime_ns)


def _path(bucket: Path, key: str, status: os.stat_result) -> Path:
    digest = hashlib.sha256(key.encode()).hexdigest()
    name = f"{digest[2:]}.{status.st_size:x}.{status.st_mtime_ns:x}"
    return bucket / METADATA / digest[:2] / name
