"""The operation that chooses the file format of the result."""

from dataclasses import dataclass

from PIL import Image

from imgsvc.imaging.formats import ImageFormat
from imgsvc.imaging.operations.base import Operation


@dataclass(frozen=True, kw_only=True, slots=True)
class Convert(Operation):
    """Save the result as PNG, JPEG or WebP; the pixels are none of its business."""

    format: ImageFormat

    def __str__(self) -> str:
        return f"convert {self.format}"

    def apply(self, image: Image.Image) -> Image.Image:
        """Return image as it is: it is encoded once, in the end."""
        return image
