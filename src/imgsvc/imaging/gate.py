"""The image gate: what may come in, decided before anything is decoded."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import ImageFile

from imgsvc.errors import (
    CorruptImage,
    ImageError,
    ImageFileTooLarge,
    ImageTooComplex,
    ImageTooLarge,
    InvalidMask,
    NotAnImage,
    UnsupportedImageType,
)
from imgsvc.imaging.formats import SNIFF_BYTES, ImageFormat, foreign_type, sniff
from imgsvc.imaging.frames import count_gif_frames, count_tiff_frames
from imgsvc.imaging.reading import SIDEWAYS, open_picture, read_orientation

if TYPE_CHECKING:
    from collections.abc import Sequence

    # Not at run time: the image processes import this module and need no pydantic.

MAX_FRAMES = 10_000
"""Most frames a file may have, however small they are."""

MAX_MASK_BYTES = 4_000_000
"""A mask must be smaller than this, in bytes (OpenAI's image edit API)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageLimits:
    """What image files are taken."""

    max_bytes: int  # of the file
    max_pixels: int  # width times height times frames
    allowed: tuple[ImageFormat, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageInfo:
    """What the header of an accepted image says."""

    format: ImageFormat
    width: int  # pixels, as stored (before any EXIF rotation)
    height: int
    frames: int
    mode: str  # Pillow's mode: RGB, RGBA, P, CMYK, I;16, …
    orientation: int  # EXIF orientation, 1 to 8; 1 is upright
    bits: int  # bits of one channel's sample in the file: 8, 16 or 32; fewer count as 8

    @property
    def shown_size(self) -> tuple[int, int]:
        """Width and height in pixels once the EXIF orientation is applied."""
        if self.orientation in SIDEWAYS:
            return (self.height, self.width)
        return (self.width, self.height)


def check_header(header: bytes, size: int, limits: ImageLimits) -> ImageFormat:
    """Return the format of a file by its first SNIFF_BYTES bytes and its size in bytes.

    Needs no decoder, so the server process can call it. Raises ImageFileTooLarge,
    NotAnImage or UnsupportedImageType.
    """
    if size > limits.max_bytes:
        raise ImageFileTooLarge(
            f"The image file has {size:,} bytes; at most {limits.max_bytes:,} are taken."
            " Send a smaller one."
        )
    return _allowed_format(header, limits.allowed)


def inspect(path: Path, allowed: "Sequence[ImageFormat]", max_pixels: int) -> ImageInfo:
    """Return what the header of the image file at path says; decodes no pixels.

    Raises NotAnImage, UnsupportedImageType, ImageTooLarge (pixels times frames),
    ImageTooComplex or CorruptImage. Reads untrusted data: call it in an image process.
    """
    with path.open("rb") as file:
        header = file.read(SNIFF_BYTES)
    image_format = _allowed_format(header, allowed)
    try:
        with open_picture(path, image_format) as image:
            frames = _check_pixels(image, path, image_format, max_pixels)
            return ImageInfo(
                format=image_format,
                width=image.width,
                height=image.height,
                frames=frames,
                mode=image.mode,
                orientation=read_orientation(image),
                bits=_bits(image_format, image.mode, header),
            )
    except ImageTooLarge as exc:
        raise ImageTooLarge(
            f"Width times height times frames is more than {max_pixels:,} pixels."
            " Scale the image down."
        ) from exc


def check_mask(path: Path, info: ImageInfo | None) -> None:
    """Check the mask at path against the image it belongs to; call it in an image process.

    A mask is a PNG smaller than MAX_MASK_BYTES with an alpha channel, as wide and high
    as the image is shown. While the image is still to be fetched (info is None), only
    what the mask's header says is checked. Raises InvalidMask.
    """
    if path.stat().st_size >= MAX_MASK_BYTES:
        raise InvalidMask("The mask is too large: it must have less than 4 MB.")
    with path.open("rb") as file:
        if sniff(file.read(SNIFF_BYTES)) is not ImageFormat.PNG:
            raise InvalidMask("The mask is not a PNG file.")
    try:
        with open_picture(path, ImageFormat.PNG) as mask:
            _check_mask_header(mask, info)
            if info is not None:
                mask.load()
    except InvalidMask:
        raise
    except ImageError as exc:
        raise InvalidMask("The mask is damaged or too large. Save it anew as PNG.") from exc


def _check_mask_header(mask: ImageFile.ImageFile, info: ImageInfo | None) -> None:
    if not mask.has_transparency_data:
        raise InvalidMask("The mask has no alpha channel: alpha 0 marks what to edit.")
    if info is not None and mask.size != info.shown_size:
        width, height = info.shown_size
        raise InvalidMask(
            f"The mask has {mask.width} x {mask.height} pixels, but the image has"
            f" {width} x {height}. Both must have the same size."
        )


def _allowed_format(header: bytes, allowed: "Sequence[ImageFormat]") -> ImageFormat:
    image_format = sniff(header)
    if image_format is not None and image_format in allowed:
        return image_format
    names = ", ".join(each.label for each in allowed)
    found = image_format.label if image_format else foreign_type(header)
    if found is None:
        raise NotAnImage(f"The data is not an image. Send one of these: {names}.")
    raise UnsupportedImageType(f"{found} files are not taken. Send one of these: {names}.")


def _check_pixels(
    image: ImageFile.ImageFile, path: Path, image_format: ImageFormat, max_pixels: int
) -> int:
    """Return the number of frames, having checked that all of them together are allowed."""
    pixels = image.width * image.height
    if pixels == 0:
        raise CorruptImage("The image is empty: its width or height is 0.")
    if pixels > max_pixels:
        raise ImageTooLarge
    frames = _count_frames(image, path, image_format)
    if frames * pixels > max_pixels:
        raise ImageTooLarge
    if frames > MAX_FRAMES:
        raise ImageTooComplex(f"The image has more than {MAX_FRAMES:,} frames. Send just one.")
    return frames


def _count_frames(image: ImageFile.ImageFile, path: Path, image_format: ImageFormat) -> int:
    if image_format is ImageFormat.JPEG:
        return 1  # further pictures of an MPO file are other views, not frames
    if image_format not in {ImageFormat.GIF, ImageFormat.TIFF}:
        return int(getattr(image, "n_frames", 1))  # these say it in their header
    count = count_gif_frames if image_format is ImageFormat.GIF else count_tiff_frames
    with path.open("rb") as file:
        return count(file, MAX_FRAMES + 1)


def _bits(image_format: ImageFormat, mode: str, header: bytes) -> int:
    if image_format is ImageFormat.PNG:
        return max(8, header[24])  # IHDR's bit depth: Pillow's mode hides 16-bit colour
    if mode in {"I", "F"}:
        return 32
    return 16 if mode.startswith("I;16") else 8
