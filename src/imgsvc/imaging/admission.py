"""Admitting a file: its header in this process, its structure in an image process."""

from dataclasses import dataclass
from pathlib import Path

from imgsvc.imaging.formats import SNIFF_BYTES, ImageFormat
from imgsvc.imaging.gate import ImageInfo, ImageLimits, check_header, check_mask, inspect
from imgsvc.imaging.pool import ImagePool


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageGate:
    """Lets pictures in by the configured limits; decodes none in the server's process."""

    inspectors: ImagePool  # apart from the editing processes: a look must not wait for an edit
    limits: ImageLimits

    def check_header(self, data: bytes) -> ImageFormat:
        """Return the file's format by its size and first bytes.

        Raises ImageFileTooLarge, NotAnImage or UnsupportedImageType.
        """
        return check_header(data[:SNIFF_BYTES], len(data), self.limits)

    async def inspect(self, path: Path) -> ImageInfo:
        """Return what the file is, or raise an ImageError; its pixels stay encoded."""
        return await self.inspectors.run(inspect, path, self.limits.allowed, self.limits.max_pixels)

    async def inspect_mask(self, path: Path, info: ImageInfo | None) -> None:
        """Raise InvalidMask unless the file is a mask for an image like info."""
        await self.inspectors.run(check_mask, path, info)
