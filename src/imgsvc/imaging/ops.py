"""Work on pictures with Pillow. All but needs_conversion belongs into an image process."""

import io
import math
from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageCms

from imgsvc.errors import ImageFileTooLarge, ImageTooLarge, NotAnImage
from imgsvc.imaging.caption import draw_caption
from imgsvc.imaging.formats import SNIFF_BYTES, ImageFormat, sniff
from imgsvc.imaging.gate import ImageInfo
from imgsvc.imaging.operations import Invert, Size
from imgsvc.imaging.reading import (
    SIDEWAYS,
    UPRIGHT,
    open_picture,
    pillow_errors,
    read_orientation,
)

_AS_IS_FORMATS = frozenset({ImageFormat.PNG, ImageFormat.JPEG, ImageFormat.WEBP})
_AS_IS_MODES = frozenset({"L", "LA", "RGB", "RGBA"})

_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # EXIF 2.32, tag 0x0112

_PROFILED_MODES = {"1": "L", "L": "L", "LA": "L", "CMYK": "CMYK", "LAB": "LAB"}
"""Which mode's ICC profile a picture may carry, by its own mode; RGB for all others."""

_LONGEST_SIDE = {ImageFormat.WEBP: 16_383, ImageFormat.JPEG: 65_535}  # pixels, by their headers

_ENCODER_OPTIONS: dict[ImageFormat, dict[str, int]] = {
    ImageFormat.PNG: {"compress_level": 2},  # 6 takes up to 4 times as long, for nothing in photos
    ImageFormat.JPEG: {"quality": 90},
    ImageFormat.WEBP: {"quality": 90, "method": 2},
}

_HIGH_QUALITY = 95


def open_image(path: Path) -> Image.Image:
    """Return the first frame of the image file at path as it is meant to be seen.

    The result is RGB or RGBA, 8 bits a channel, upright, in sRGB, without metadata.
    Raises NotAnImage, CorruptImage (also if the file is cut short), ImageTooLarge or
    ImageTooComplex.
    """
    return _open(path)


def open_scaled(path: Path, size_after: Callable[[Size], Size]) -> Image.Image:
    """As open_image, but scaled to what size_after returns for the picture's shown size.

    A JPEG is decoded at a half, a quarter or an eighth of its size where that leaves at
    least twice the pixels each way: much faster, and hardly to be told from the whole.
    size_after is called before the first pixel is decoded; what it raises comes through.
    """
    return _open(path, size_after)


def _open(path: Path, size_after: Callable[[Size], Size] | None = None) -> Image.Image:
    with path.open("rb") as file:
        image_format = sniff(file.read(SNIFF_BYTES))
    if image_format is None:
        raise NotAnImage
    with open_picture(path, image_format) as picture:
        size = picture.size
        if size_after is not None and image_format is ImageFormat.JPEG:
            # Only of a JPEG is the orientation known before the pixels are.
            width, height = _turned(size_after(_turned(size, picture)), picture)
            picture.draft(picture.mode, (2 * width, 2 * height))
        picture.load()
        orientation = read_orientation(picture)
        wanted = None if size_after is None else size_after(_turned(size, picture))
        image = _to_srgb(picture)
        if orientation != UPRIGHT:
            image = image.transpose(_TRANSPOSITIONS[orientation])
        if wanted is not None:
            image = image.resize(wanted, Image.Resampling.LANCZOS, reducing_gap=3.0)
    image.info.clear()
    return image


def _turned(size: Size, picture: Image.Image) -> Size:
    """Return size with its sides swapped if the picture is stored sideways."""
    return (size[1], size[0]) if read_orientation(picture) in SIDEWAYS else size


def encode(image: Image.Image, image_format: ImageFormat, *, quality: int | None = None) -> bytes:
    """Return an RGB or RGBA image as a PNG, JPEG or WebP file without metadata.

    JPEG has no transparency: such an image is put on white. quality (1 to 100) is for
    JPEG and WebP. Raises ImageTooLarge if a side is too long for the format.
    """
    longest = _LONGEST_SIDE.get(image_format)
    if longest and max(image.size) > longest:
        raise ImageTooLarge(
            f"A {image_format.label} file can have at most {longest:,} pixels a side, the result"
            f" has {image.width:,} x {image.height:,}. Ask for PNG or scale the image down."
        )
    options = _ENCODER_OPTIONS[image_format]
    if quality is not None:
        options = options | {"quality": quality}
    if image_format is ImageFormat.JPEG:
        image = _on_white(image)
    output = io.BytesIO()
    with pillow_errors():
        image.save(output, format=image_format.name, **options)
    return output.getvalue()


def needs_conversion(info: ImageInfo) -> bool:
    """Tell whether an image API would not take the file as it is.

    It takes upright, still PNG, JPEG and WebP files of 8 bits a channel in grey or RGB.
    """
    return not (
        info.format in _AS_IS_FORMATS
        and info.mode in _AS_IS_MODES
        and info.bits == 8
        and info.frames == 1
        and info.orientation == UPRIGHT
    )


def prepare_for_provider(path: Path, info: ImageInfo, max_bytes: int) -> bytes:
    """Return the image file at path as a PNG, JPEG or WebP file that an image API takes.

    The file is a PNG, without loss, unless it was a JPEG to begin with or would have
    more than max_bytes: then JPEG or, to keep transparency, WebP of high quality.
    Raises what open_image raises, or ImageFileTooLarge if no format is small enough.
    """
    image = open_image(path)
    lossy = ImageFormat.WEBP if image.mode == "RGBA" else ImageFormat.JPEG
    if info.format is not ImageFormat.JPEG:
        content = encode(image, ImageFormat.PNG)
        if len(content) <= max_bytes:
            return content
    content = encode(image, lossy, quality=_HIGH_QUALITY)
    if len(content) > max_bytes:
        raise ImageFileTooLarge(
            f"The image has more than {max_bytes:,} bytes in every format that can be sent on."
            " Scale it down."
        )
    return content


def invert_with_caption(path: Path, caption: str, output_format: ImageFormat) -> bytes:
    """Return the image file at path with its colours inverted and caption drawn on it.

    Transparency is kept where output_format (PNG, JPEG or WebP) has it. Raises what
    open_image and encode raise.
    """
    return encode(draw_caption(Invert().apply(open_image(path)), caption), output_format)


def _to_srgb(picture: Image.Image) -> Image.Image:
    """Return picture as RGB or RGBA in sRGB, converted by its ICC profile if it has one."""
    profile = picture.info.get("icc_profile")
    picture = _to_8_bits(picture)
    mode = "RGBA" if picture.has_transparency_data else "RGB"
    converted = _apply_profile(picture, profile) if profile else None
    if converted is None:
        return picture.convert(mode)
    if mode == "RGBA":
        converted.putalpha(picture.convert(mode).getchannel("A"))
    return converted


def _apply_profile(picture: Image.Image, profile: bytes) -> Image.Image | None:
    """Return the colours of picture in sRGB; None if the profile is damaged or does not fit."""
    colours = picture.convert(_PROFILED_MODES.get(picture.mode, "RGB"))
    try:
        return ImageCms.profileToProfile(
            colours,
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            outputMode="RGB",
        )
    except (ImageCms.PyCMSError, OSError):
        return None


def _to_8_bits(picture: Image.Image) -> Image.Image:
    """Return a picture with 16 or 32 bits a sample as mode L, any other unchanged.

    16-bit samples keep their upper half. 32-bit integers and floats have no agreed
    range: the darkest one becomes black and the brightest one white.
    """
    if picture.mode.startswith("I;16"):
        scale, offset = 1 / 256, 0.0
    elif picture.mode in {"I", "F"}:
        scale, offset = _stretch(picture)
    else:
        return picture
    wide = picture if picture.mode == "F" else picture.convert("I")
    return wide.point(lambda value: value * scale + offset).convert("L")


def _stretch(picture: Image.Image) -> tuple[float, float]:
    """Return scale and offset that bring the samples of a one-channel picture to 0 to 255."""
    low, high = (float(value) for value in picture.getextrema() if isinstance(value, int | float))
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        return 1.0, 0.0
    scale = 255 / (high - low)
    return scale, -low * scale


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode != "RGBA":
        return image
    canvas = Image.new("RGB", image.size, "white")
    canvas.paste(image, mask=image.getchannel("A"))
    return canvas
