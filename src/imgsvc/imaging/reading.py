"""Opens a picture with Pillow; whatever goes wrong there becomes an ImageError."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import ExifTags, Image, ImageFile

from imgsvc.errors import CorruptImage, ImageError, ImageTooComplex, ImageTooLarge
from imgsvc.imaging.formats import ImageFormat
from imgsvc.imaging.pieces import check_pieces

UPRIGHT = 1
"""The EXIF orientation of a picture that needs no turning."""

SIDEWAYS = range(5, 9)
"""The EXIF orientations that swap width and height."""


@contextmanager
def pillow_errors() -> Iterator[None]:
    """Turn anything that Pillow raises on bad data into the fitting ImageError.

    Pillow's own text is dropped: it may hold a path, and helps no caller. Its warnings
    are ignored, but for the one about decompression bombs, which is an error.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except ImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as exc:
        raise ImageTooLarge from exc
    except MemoryError as exc:
        raise ImageTooComplex from exc
    except Exception as exc:
        if _is_text_bomb(exc):
            raise ImageTooComplex(
                "The image carries too much compressed text. Save it without metadata."
            ) from exc
        raise CorruptImage from exc


@contextmanager
def open_picture(path: Path, image_format: ImageFormat) -> Iterator[ImageFile.ImageFile]:
    """Open the picture at path with the decoder of image_format and no other.

    Only the header is read until the picture is loaded. Raises CorruptImage,
    ImageTooComplex or ImageTooLarge, also for errors inside the ``with`` block.
    """
    pillow_name = "HEIF" if image_format is ImageFormat.HEIC else image_format.name
    with pillow_errors():
        check_pieces(path, image_format)
    with (
        path.open("rb") as file,
        pillow_errors(),
        # Pillow sees the open file, not its name: the name's extension must not matter.
        Image.open(file, formats=[pillow_name]) as image,
    ):
        yield image


def read_orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; damaged or odd EXIF data counts as upright."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, UPRIGHT)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - Pillow's EXIF parser raises whatever Python does on bad data
        return UPRIGHT
    return orientation if orientation in range(1, 9) else UPRIGHT


def _is_text_bomb(exc: Exception) -> bool:
    """Tell Pillow's two refusals of large PNG text chunks, which have no class of their own."""
    return isinstance(exc, ValueError) and (
        "MAX_TEXT_CHUNK" in str(exc) or "text chunks" in str(exc)
    )
