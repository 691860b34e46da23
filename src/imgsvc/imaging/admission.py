"""Admitting a file: its header in this process, its structure in an image process."""

from dataclasses import dataclass
from pathlib import Path

from imgsvc.imaging.config import ImagesConfig
from imgsvc.imaging.formats import SNIFF_BYTES, ImageFormat
from imgsvc.imaging.gate import MAX_MASK_BYTES, ImageInfo, check_header, check_mask, inspect
from imgsvc.imaging.pool import ImagePool


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageGate:
    """Lets pictures in by the configured limits; decodes none in the server's process."""

    inspectors: ImagePool  # apart from the editing processes: a look must not wait for an edit
    config: ImagesConfig

    @property
    def max_bytes(self) -> int:
        """Largest image file that is taken."""
        return self.config.max_bytes

    @property
    def max_mask_bytes(self) -> int:
        """Largest mask file that is taken."""
        return MAX_MASK_BYTES

    def check_header(self, data: bytes) -> ImageFormat:
        """Return the file's format, or raise ImageFileTooLarge, NotAnImage or Unsupported….

        Looks at size and first bytes only.
        """
        return check_header(data[:SNIFF_BYTES], len(data), self.config)

    async def inspect(self, path: Path) -> ImageInfo:
        """Return what the file is, or raise an ImageError; its pixels stay encoded."""
        return await self.inspectors.run(
            inspect, path, tuple(self.config.allowed), self.config.max_pixels
        )

    async def inspect_mask(self, path: Path, info: ImageInfo | None) -> None:
        """Raise InvalidMask unless the file is a mask for an image like info."""
        await self.inspectors.run(check_mask, path, info)
