"""Object keys: which are allowed, and which ones results are stored under.

Nothing here touches a disk or a bucket.
"""

import re
from dataclasses import dataclass
from itertools import count
from pathlib import PurePosixPath
from typing import Protocol

from imgsvc.errors import InvalidObjectKey

MAX_KEY_BYTES = 1024  # as S3 has it, in UTF-8
MAX_SEGMENT_BYTES = 255  # a file name on Linux file systems
_MAX_STEM = 200  # characters, all ASCII
_MAX_FOLDER_SEGMENT_BYTES = 240  # leaves room for a numbered suffix
MAX_PREFIX_BYTES = 475  # of a batch, in UTF-8: leaves room for a job id, folders and names
_FILE_NAME_RESERVE = 240  # the longest stem, `_modified`, a number and an extension

_MANIFESTS = ("manifest.json", "manifest.csv")
RESULT_EXTENSIONS = ("jpg", "png", "webp")
"""Of every format an edit can have."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9_.-]+")
_JOB_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ENDING = rf"\.({'|'.join(RESULT_EXTENSIONS)})"
_RESULT_NAME = re.compile(rf".+_modified(_[0-9]+)?{_ENDING}")
_OUTPUT = re.compile(rf"(.+_modified)(?:_([1-9][0-9]{{0,17}}))?{_ENDING}", re.DOTALL)


def check_key(key: str) -> None:
    """Raise InvalidObjectKey unless key can be a path of plain file names below a folder."""
    if _CONTROL.search(key):
        raise InvalidObjectKey(
            "The object key holds a control character, or is not UTF-8. Choose another name."
        )
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


def is_result(key: str) -> bool:
    """Say whether key has the form of a result: of a single image, or of any batch.

    That is a file `…_modified.png` or `…_modified_2.png` (jpg and webp too) somewhere below
    a folder named by a job id, or a manifest in such a folder.
    """
    *folders, name = key.split("/")
    if name in _MANIFESTS:
        return bool(folders) and _JOB_ID.fullmatch(folders[-1]) is not None
    return _RESULT_NAME.fullmatch(name) is not None and any(map(_JOB_ID.fullmatch, folders))


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputName:
    """What an output of a batch is called: its key without the extension."""

    path: str  # ends with `_modified`
    copy: int  # from 1; outputs whose inputs have one name are numbered

    def __str__(self) -> str:
        """Return the key without the extension."""
        return self.path if self.copy == 1 else f"{self.path}_{self.copy}"


class TakenNames(Protocol):
    """The names that the outputs of a batch have got so far."""

    def newest_copy(self, path: str) -> int:
        """Return the highest number of this path, 0 if there is none."""
        ...

    def has_folder(self, folder: str) -> bool:
        """Say whether an output lies somewhere below this folder, given without a slash."""
        ...


class BatchKeys:
    """Names the outputs of one batch, no two alike; it keeps nothing of what it has named.

    Name every input once, in the order of the listing: the same inputs then get the same
    names again when the batch is run a second time, whichever edit ends first.

    Raises InvalidObjectKey if the output prefix is too long or would leave the bucket.
    """

    def __init__(self, *, output_prefix: str, job_id: str, input_prefix: str) -> None:
        self._input_prefix = normal_prefix(input_prefix)
        self._root = f"{normal_prefix(output_prefix)}{job_id}/"
        if len(self._root.encode(errors="replace")) > MAX_PREFIX_BYTES + 37:
            raise InvalidObjectKey(f"The output prefix is longer than {MAX_PREFIX_BYTES} bytes.")
        self.manifest_key, self.table_key = (f"{self._root}{name}" for name in _MANIFESTS)
        check_key(self.manifest_key)

    def name(self, input_key: str, taken: TakenNames) -> OutputName:
        """Name the output made of input_key, folders kept.

        To be added are a dot and `png`, `jpg` or `webp`, once the edit has told which. No
        other output gets this name, whatever its extension.
        """
        *folders, name = input_key.removeprefix(self._input_prefix).split("/")
        path = f"{self._folder(folders, taken)}{stem(name)}_modified"
        # The next number, not the first free one: a thousand equal stems must not cost a
        # million tries.
        for copy in count(taken.newest_copy(path) + 1):
            output = OutputName(path=path, copy=copy)
            if not any(taken.has_folder(f"{output}.{ending}") for ending in RESULT_EXTENSIONS):
                return output
        raise AssertionError("unreachable: there is always another number")

    def _folder(self, segments: list[str], taken: TakenNames) -> str:
        """Return the output folder with a slash at its end.

        A file storage cannot hold a file and a folder of one name: such a folder gets a
        number. Folders too deep for a key are left out; the file names stay apart anyway.
        """
        path = self._root
        for segment in filter(None, segments):
            folder = path + _safe_segment(segment)
            if self._may_be_file(folder, taken):
                folder += "_2"  # its end is no extension now, so no file is called so
            if len(folder.encode()) > MAX_KEY_BYTES - _FILE_NAME_RESERVE:
                break
            path = f"{folder}/"
        return path

    def _may_be_file(self, folder: str, taken: TakenNames) -> bool:
        """Say whether this is a manifest's key, or may become an output's."""
        if folder in {self.manifest_key, self.table_key}:
            return True
        output = _OUTPUT.fullmatch(folder)
        return output is not None and int(output[2] or 1) <= taken.newest_copy(output[1])


def _safe_segment(segment: str) -> str:
    """Return a folder name as it is, or the nearest one that a file system can hold."""
    plain = _CONTROL.sub("_", segment)
    if plain in {".", ".."}:
        return "_" * len(plain)
    return plain.encode()[:_MAX_FOLDER_SEGMENT_BYTES].decode(errors="ignore")
