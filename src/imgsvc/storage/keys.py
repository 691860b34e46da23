"""Object keys: which are allowed, and which ones results are stored under.

Nothing here touches a disk or a bucket.
"""

import re
from itertools import count
from pathlib import PurePosixPath

from imgsvc.errors import InvalidObjectKey

MAX_KEY_BYTES = 1024  # as S3 has it, in UTF-8
MAX_SEGMENT_BYTES = 255  # a file name on Linux file systems
_MAX_STEM = 200  # characters, all ASCII
_MAX_FOLDER_SEGMENT_BYTES = 240  # leaves room for a numbered suffix
_MAX_ROOT_BYTES = 512  # output prefix and job id
_FILE_NAME_RESERVE = 240  # the longest stem, `_modified`, a number and an extension

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9_.-]+")


def check_key(key: str) -> None:
    """Raise InvalidObjectKey unless key can be a path of plain file names below a folder."""
    if _CONTROL.search(key):
        raise InvalidObjectKey("The object key holds a control character.")
    if len(key.encode()) > MAX_KEY_BYTES:
        raise InvalidObjectKey(f"The object key is longer than {MAX_KEY_BYTES} bytes.")
    for segment in key.split("/"):
        if segment in {"", ".", ".."}:
            raise InvalidObjectKey(
                f"The object key {key!r} is not allowed: "
                "it has an empty part, or one that is `.` or `..`."
            )
        if len(segment.encode()) > MAX_SEGMENT_BYTES:
            raise InvalidObjectKey(
                f"The object key has a part longer than {MAX_SEGMENT_BYTES} bytes between slashes."
            )


def normal_prefix(prefix: str) -> str:
    """Return prefix with single slashes, none in front and one at its end; empty stays empty."""
    segments = [segment for segment in prefix.split("/") if segment]
    return "".join(f"{segment}/" for segment in segments)


def stem(filename: str | None) -> str:
    """Return the plain ASCII name that results are called after: no folder, no extension."""
    name = re.split(r"[/\\]", filename or "")[-1]
    plain = _NOT_PLAIN.sub("_", PurePosixPath(name).stem.replace(" ", "_"))
    return plain.strip("._-")[:_MAX_STEM].rstrip("._-") or "image"


def result_key(job_id: str, filename: str | None, extension: str) -> str:
    """Return where the result of a single image is stored."""
    return f"results/{job_id}/{stem(filename)}_modified.{extension}"


class BatchKeys:
    """Names the outputs of one batch, no two alike.

    Ask once for every input, in the order of the listing: the same inputs then get the
    same names again when the batch is run a second time.

    Raises InvalidObjectKey if the output prefix is too long or would leave the bucket.
    """

    def __init__(self, *, output_prefix: str, job_id: str, input_prefix: str) -> None:
        self._input_prefix = normal_prefix(input_prefix)
        self._root = f"{normal_prefix(output_prefix)}{job_id}/"
        if len(self._root.encode(errors="replace")) > _MAX_ROOT_BYTES:
            raise InvalidObjectKey(
                f"The output prefix is longer than {_MAX_ROOT_BYTES - 37} bytes."
            )
        self.manifest_key = f"{self._root}manifest.json"
        check_key(self.manifest_key)
        self._files = {self.manifest_key}
        self._folders: set[str] = set()
        self._next_number: dict[
            str, int
        ] = {}  # a thousand equal stems must not cost a million tries

    def output_key(self, input_key: str, extension: str) -> str:
        """Return the key for the output made of input_key, with folders kept."""
        *folders, name = input_key.removeprefix(self._input_prefix).split("/")
        path = f"{self._folder(folders)}{stem(name)}_modified"
        key = f"{path}.{extension}"
        if key in self._files or key in self._folders:
            for number in count(self._next_number.get(key, 2)):
                numbered = f"{path}_{number}.{extension}"
                if numbered not in self._files and numbered not in self._folders:
                    self._next_number[key] = number + 1
                    key = numbered
                    break
        self._files.add(key)
        return key

    def _folder(self, segments: list[str]) -> str:
        """Return the output folder with a slash at its end.

        A file storage cannot hold a file and a folder of one name: such a folder gets a
        number. Folders too deep for a key are left out; the file names stay apart anyway.
        """
        path = self._root
        for segment in filter(None, segments):
            folder = path + _safe_segment(segment)
            if folder in self._files:
                folder = next(
                    other for n in count(2) if (other := f"{folder}_{n}") not in self._files
                )
            if len(folder.encode()) > MAX_KEY_BYTES - _FILE_NAME_RESERVE:
                break
            self._folders.add(folder)
            path = f"{folder}/"
        return path


def _safe_segment(segment: str) -> str:
    """Return a folder name as it is, or the nearest one that a file system can hold."""
    plain = _CONTROL.sub("_", segment)
    if plain in {".", ".."}:
        return "_" * len(plain)
    return plain.encode()[:_MAX_FOLDER_SEGMENT_BYTES].decode(errors="ignore")
