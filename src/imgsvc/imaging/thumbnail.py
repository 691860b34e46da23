"""Thumbnails of pictures that an image API has not finished; for image processes."""

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from imgsvc.imaging.formats import ImageFormat
from imgsvc.imaging.operations import Thumbnail
from imgsvc.imaging.ops import encode, open_scaled

LONGEST_SIDE = 256
"""Pixels."""

MAX_BYTES = 32 * 1024
"""What a thumbnail's file should have at most; only noise comes near."""

_WITH_TRANSPARENCY = ((ImageFormat.WEBP, 80), (ImageFormat.WEBP, 40))
_OPAQUE = ((ImageFormat.JPEG, 80), (ImageFormat.JPEG, 50), (ImageFormat.JPEG, 20))
"""Formats and their qualities in turn, until the file is small enough."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodedThumbnail:
    """The file of a thumbnail."""

    content: bytes
    format: ImageFormat  # JPEG, or WebP where anything is transparent
    width: int  # pixels
    height: int


def make_thumbnail(path: Path) -> EncodedThumbnail:
    """Return the picture in the file at path, scaled down to a longest side of 256 pixels.

    Raises what open_image raises.
    """
    image = open_scaled(path, Thumbnail(width=LONGEST_SIDE, height=LONGEST_SIDE).size_after)
    for image_format, quality in (_WITH_TRANSPARENCY if _has_holes(image) else ()) + _OPAQUE:
        content = encode(image, image_format, quality=quality)
        if len(content) <= MAX_BYTES:
            break
    return EncodedThumbnail(
        content=content, format=image_format, width=image.width, height=image.height
    )


def _has_holes(image: Image.Image) -> bool:
    if image.mode != "RGBA":
        return False
    return image.getchannel("A").getextrema() != (255, 255)
