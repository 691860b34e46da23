"""Pictures as other image servers want them, and theirs as callers want them.

All but `fitting` belongs into an image process.
"""

import math
from pathlib import Path

from imgsvc.imaging.formats import ImageFormat
from imgsvc.imaging.operations import Size
from imgsvc.imaging.ops import encode, open_image, open_scaled

_STEP = 8
"""Diffusion models work on squares of that many pixels a side."""

_SHORTEST_SIDE = 64
"""Fewer pixels a side leave such a model nothing to work on."""

_HIGH_QUALITY = 95


def fitting(size: Size, max_pixels: int) -> Size:
    """Return size, scaled down to at most max_pixels, in multiples of 8 pixels a side.

    The ratio is kept as well as that allows: the long side is settled first. No side gets
    shorter than 64 pixels; smaller pictures are scaled up. max_pixels is at least 64 x 64.
    """
    scale = min(1.0, math.sqrt(max_pixels / (size[0] * size[1])))
    scale = max(scale, _SHORTEST_SIDE / min(size))
    long = min(_in_steps(max(size) * scale), max_pixels // _SHORTEST_SIDE // _STEP * _STEP)
    short = min(_in_steps(long * min(size) / max(size)), max_pixels // long // _STEP * _STEP)
    return (long, short) if size[0] >= size[1] else (short, long)


def _in_steps(side: float) -> int:
    return max(_SHORTEST_SIDE, round(side) // _STEP * _STEP)


def scaled(path: Path, size: Size, image_format: ImageFormat) -> bytes:
    """Return the image file at path with so many pixels, upright, in sRGB, without metadata.

    image_format is PNG, JPEG (of high quality, transparency on white) or WebP. Raises
    what open_image raises.
    """
    quality = None if image_format is ImageFormat.PNG else _HIGH_QUALITY
    return encode(open_scaled(path, lambda _: size), image_format, quality=quality)


def convert(path: Path, image_format: ImageFormat) -> bytes:
    """Return the image file at path as one of image_format: PNG, JPEG or WebP.

    Raises what open_image and encode raise.
    """
    return encode(open_image(path), image_format)
