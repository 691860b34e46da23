"""Taking a request's body apart; runs in an image process.

A picture of 25 MB arrives as 33 MB of JSON. Parsing and decoding it takes more than a
hundred milliseconds of CPU, in a thread too with the interpreter lock held. So the
server only writes the body to disk as it comes in, and this is done elsewhere. Nothing
in here may import what the server's process is made of.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imgsvc.errors import (
    DiskRefuses,
    FieldError,
    ImageError,
    ImgsvcError,
    InvalidBase64,
    InvalidRequest,
)
from imgsvc.imaging.formats import SNIFF_BYTES
from imgsvc.imaging.gate import (
    MAX_MASK_BYTES,
    ImageInfo,
    ImageLimits,
    check_header,
    check_mask,
    inspect,
)
from imgsvc.web.decode import decode_base64
from imgsvc.web.strict_json import check_controls, check_structure, read_json

LONGEST_TEXT = 32_000
"""Characters of the longest text that a field takes, pictures aside."""

LISTS = {"keys": 10_000, "include": 50, "exclude": 50}
"""The fields that take a list of texts, and how many of them at most."""

MOST_FIELDS = 64
"""More than twice as many fields as any tool has."""

WRONG_TYPE = ()
"""Stands in the fields for a list or table where none is taken, nor is this."""

PLACEHOLDER = "…"
"""Stands in the fields for a text that was taken out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Unpacked:
    """A body without its pictures, and what the pictures are.

    What is wrong with a picture is said here and not raised: wrong fields come first.
    """

    fields: Any  # the JSON document; base64 texts are replaced by PLACEHOLDER
    image: ImageInfo | ImgsvcError | None = None  # None if there was no text to decode
    mask: ImgsvcError | None = None

    def raise_what_is_wrong(self) -> None:
        """Raise the InvalidBase64 or ImageError of the first picture that has one."""
        for found in (self.image, self.mask):
            if isinstance(found, ImgsvcError):
                raise found


def unpack(body: Path, image: Path, mask: Path, limits: ImageLimits) -> Unpacked:
    """Read the JSON document in the file body, and write its pictures to the other two.

    Whatever the document is, the fields are small, but for lists of texts. Raises
    InvalidJson, ControlCharacter, InvalidRequest for very many fields, or DiskRefuses if the
    pictures cannot be written.
    """
    data = body.read_bytes()
    fields = read_json(data)
    if not isinstance(fields, dict):
        return Unpacked(fields=None)
    if len(fields) > MOST_FIELDS:
        message = f"has more than {MOST_FIELDS} fields; see /docs for those there are"
        raise InvalidRequest([FieldError(field="body", message=message)])
    check_structure(fields, data)
    check_controls(fields)
    found: ImageInfo | ImgsvcError | None = None
    if (text := _take(fields, "image_base64")) is not None:
        found = _unpack_image(text, image, limits)
    wrong: ImgsvcError | None = None
    if (text := _take(fields, "mask_base64")) is not None:
        wrong = _unpack_mask(text, mask, found if isinstance(found, ImageInfo) else None)
    small = {name[:100]: _small(value, LISTS.get(name)) for name, value in fields.items()}
    return Unpacked(fields=small, image=found, mask=wrong)


def _small(value: Any, most: int | None = None) -> Any:
    """Return a value that the validation judges alike, but that costs little to hand over.

    `most` is how many values its list may have, if it may be one.
    """
    if isinstance(value, list) and most is not None:
        return [_small(each) for each in value[: most + 1]]
    if isinstance(value, list | dict):
        return WRONG_TYPE
    return value[: LONGEST_TEXT + 1] if isinstance(value, str) else value


def _take(fields: dict[str, Any], name: str) -> str | None:
    text = fields.get(name)
    if not isinstance(text, str):
        return None  # the validation of the fields says what it should be
    fields[name] = PLACEHOLDER
    return text


def _unpack_image(text: str, path: Path, limits: ImageLimits) -> ImageInfo | ImgsvcError:
    try:
        data = decode_base64(text, field="image_base64", max_bytes=limits.max_bytes)
        check_header(data[:SNIFF_BYTES], len(data), limits)
        _write(path, data)
        return inspect(path, limits.allowed, limits.max_pixels)
    except (InvalidBase64, ImageError) as exc:
        return exc


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as exc:
        raise DiskRefuses from exc


def _unpack_mask(text: str, path: Path, info: ImageInfo | None) -> ImgsvcError | None:
    try:
        _write(path, decode_base64(text, field="mask_base64", max_bytes=MAX_MASK_BYTES))
        check_mask(path, info)
    except (InvalidBase64, ImageError) as exc:
        return exc
    return None
