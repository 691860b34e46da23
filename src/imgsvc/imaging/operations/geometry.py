"""Operations on shape and size."""

import math
from dataclasses import dataclass
from enum import StrEnum

from PIL import Image, ImageOps

from imgsvc.imaging.operations.base import Operation, Size, number

_QUARTER_TURNS = {
    90: Image.Transpose.ROTATE_270,
    180: Image.Transpose.ROTATE_180,
    -90: Image.Transpose.ROTATE_90,
}  # by degrees clockwise; Pillow counts the other way round


class Axis(StrEnum):
    """Which way a picture is mirrored."""

    HORIZONTAL = "horizontal"  # left becomes right
    VERTICAL = "vertical"  # top becomes bottom


@dataclass(frozen=True, kw_only=True, slots=True)
class Rotate(Operation):
    """Turn clockwise; what does not fill the new frame is transparent."""

    degrees: float  # above -180, at most 180

    def __str__(self) -> str:
        return f"rotate {number(self.degrees)}"

    def size_after(self, size: Size) -> Size:
        """Return the frame that holds the whole turned picture."""
        if self.degrees in {0, 180}:
            return size
        if self.degrees in _QUARTER_TURNS:
            return (size[1], size[0])
        angle = math.radians(self.degrees)
        sine, cosine = abs(math.sin(angle)), abs(math.cos(angle))
        width, height = size
        return (
            math.ceil(width * cosine + height * sine),
            math.ceil(width * sine + height * cosine),
        )

    def apply(self, image: Image.Image) -> Image.Image:
        """Turn it, without loss by quarters, and otherwise with bicubic interpolation."""
        if self.degrees in _QUARTER_TURNS:
            return image.transpose(_QUARTER_TURNS[round(self.degrees)])
        return image.convert("RGBA").rotate(
            -self.degrees, resample=Image.Resampling.BICUBIC, expand=True
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Flip(Operation):
    """Mirror."""

    axis: Axis

    def __str__(self) -> str:
        return f"flip {self.axis}"

    def apply(self, image: Image.Image) -> Image.Image:
        """Swap left and right, or top and bottom."""
        return ImageOps.mirror(image) if self.axis is Axis.HORIZONTAL else ImageOps.flip(image)


@dataclass(frozen=True, kw_only=True, slots=True)
class Crop(Operation):
    """Cut to an aspect ratio, as large as possible around the middle."""

    width: int  # of the ratio, as 16 in 16:9
    height: int

    def __str__(self) -> str:
        return f"crop {self.width}:{self.height}"

    def size_after(self, size: Size) -> Size:
        """Return the largest size of that ratio that fits."""
        width = min(size[0], round(size[1] * self.width / self.height))
        height = min(size[1], round(size[0] * self.height / self.width))
        return (max(1, width), max(1, height))

    def apply(self, image: Image.Image) -> Image.Image:
        """Cut away as much on both sides."""
        width, height = self.size_after(image.size)
        left, top = (image.width - width) // 2, (image.height - height) // 2
        return image.crop((left, top, left + width, top + height))


@dataclass(frozen=True, kw_only=True, slots=True)
class Resize(Operation):
    """Scale to a width, a height or both, or by percent.

    One of width and height alone keeps the aspect ratio; both together may stretch.
    """

    width: int | None = None  # pixels
    height: int | None = None  # pixels
    percent: float | None = None  # of both sides; only without width and height

    def __str__(self) -> str:
        if self.percent is not None:
            return f"resize {number(self.percent)}%"
        if self.height is None:
            return f"resize width {self.width}"
        if self.width is None:
            return f"resize height {self.height}"
        return f"resize {self.width}x{self.height}"

    def size_after(self, size: Size) -> Size:
        """Return the size that is asked for, at least one pixel each way."""
        if self.percent is not None:
            factor = self.percent / 100
            width, height = size[0] * factor, size[1] * factor
        else:
            width = self.width or size[0] * (self.height or 0) / size[1]
            height = self.height or size[1] * width / size[0]
        return (max(1, round(width)), max(1, round(height)))

    def apply(self, image: Image.Image) -> Image.Image:
        """Scale with a Lanczos filter."""
        return image.resize(self.size_after(image.size), Image.Resampling.LANCZOS, reducing_gap=3.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Thumbnail(Operation):
    """Scale down until it fits into a box; what fits already stays as it is."""

    width: int  # pixels
    height: int

    def __str__(self) -> str:
        return f"thumbnail {self.width}x{self.height}"

    def size_after(self, size: Size) -> Size:
        """Return the largest size that fits, with the aspect ratio kept."""
        factor = min(1, self.width / size[0], self.height / size[1])
        return (max(1, round(size[0] * factor)), max(1, round(size[1] * factor)))

    def apply(self, image: Image.Image) -> Image.Image:
        """Scale with a Lanczos filter."""
        return image.resize(self.size_after(image.size), Image.Resampling.LANCZOS, reducing_gap=3.0)
