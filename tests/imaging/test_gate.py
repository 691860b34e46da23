import contextlib
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pillow_heif
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

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
from imgsvc.imaging.config import ImagesConfig
from imgsvc.imaging.formats import ImageFormat
from imgsvc.imaging.gate import MAX_FRAMES, ImageInfo, check_header, check_mask, inspect
from standins.pictures import encoded, gradient

CONFIG = ImagesConfig(max_bytes=1000, allowed=[ImageFormat.PNG, ImageFormat.WEBP]).limits
ALL = list(ImageFormat)
INFO = ImageInfo(
    format=ImageFormat.PNG, width=60, height=40, frames=1, mode="RGB", orientation=1, bits=8
)

Save = Callable[..., Path]


def test_an_allowed_header_tells_its_format() -> None:
    assert check_header(encoded(gradient("RGB"), "WEBP"), 1000, CONFIG) is ImageFormat.WEBP


@pytest.mark.parametrize(
    ("header", "size", "error", "words"),
    [
        (b"\x89PNG\r\n\x1a\n", 1001, ImageFileTooLarge, "1,001 bytes; at most 1,000"),
        (b"", 0, NotAnImage, "not an image"),
        (b"hello", 5, NotAnImage, "PNG, WebP"),
        (b"GIF89a", 5, UnsupportedImageType, "GIF files are not taken. Send one of these: PNG"),
        (b"%!PS-Adobe", 5, UnsupportedImageType, "EPS files are not taken"),
        (b"<svg>", 5, UnsupportedImageType, "SVG files are not taken"),
    ],
)
def test_a_refused_header_says_why(
    header: bytes, size: int, error: type[ImageError], words: str
) -> None:
    with pytest.raises(error, match=words):
        check_header(header, size, CONFIG)


@given(st.binary(max_size=300), st.integers(0, 2000))
def test_any_bytes_are_taken_or_refused_by_an_image_error(header: bytes, size: int) -> None:
    with contextlib.suppress(NotAnImage, UnsupportedImageType, ImageFileTooLarge):
        assert check_header(header, size, CONFIG) in CONFIG.allowed


@pytest.mark.parametrize(
    ("mode", "pillow_format", "seen_mode", "bits"),
    [
        ("1", "PNG", "1", 8),
        ("L", "PNG", "L", 8),
        ("LA", "PNG", "LA", 8),
        ("P", "PNG", "P", 8),
        ("I;16", "PNG", "I;16", 16),
        ("RGBA", "PNG", "RGBA", 8),
        ("CMYK", "JPEG", "CMYK", 8),
        ("RGB", "WEBP", "RGB", 8),
        ("RGB", "AVIF", "RGB", 8),
        ("P", "GIF", "P", 8),
        ("RGB", "BMP", "RGB", 8),
        ("I;16", "TIFF", "I;16", 16),
        ("F", "TIFF", "F", 32),
        ("I", "TIFF", "I", 32),
        ("LAB", "TIFF", "LAB", 8),
        ("YCbCr", "TIFF", "YCbCr", 8),
    ],
)
def test_the_header_of_every_kind_of_picture_is_understood(
    mode: str, pillow_format: str, seen_mode: str, bits: int, save: Save
) -> None:
    info = inspect(save(gradient(mode), pillow_format), ALL, 10**6)
    image_format = ImageFormat[pillow_format]
    assert info == replace(INFO, format=image_format, mode=seen_mode, bits=bits)


def test_16_bit_colour_is_noticed_though_pillow_hides_it(tmp_path: Path) -> None:
    data = bytearray(encoded(gradient("RGB"), "PNG"))
    data[24] = 16  # IHDR's bit depth
    path = tmp_path / "deep.png"
    path.write_bytes(with_crc_of_ihdr(data))
    info = inspect(path, ALL, 10**6)
    assert (info.mode, info.bits) == ("RGB", 16)


def with_crc_of_ihdr(data: bytearray) -> bytes:
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_picture_is_shown_with_its_sides_swapped(orientation: int, save: Save) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    info = inspect(save(gradient("RGB"), "JPEG", exif=exif), ALL, 10**6)
    assert info.orientation == orientation
    assert (info.width, info.height) == (60, 40)
    assert info.shown_size == ((60, 40) if orientation < 5 else (40, 60))


@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"x"])
def test_damaged_exif_counts_as_upright(exif: bytes, save: Save) -> None:
    assert inspect(save(gradient("RGB"), "JPEG", exif=exif), ALL, 10**6).orientation == 1


def test_heic_is_understood(save: Save) -> None:
    pillow_heif.register_heif_opener()
    info = inspect(save(gradient("RGB", (64, 48)), "HEIF"), ALL, 10**6)
    assert (info.format, info.width, info.height) == (ImageFormat.HEIC, 64, 48)


@pytest.mark.parametrize("pillow_format", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_the_frames_of_an_animation_count(pillow_format: str, save: Save) -> None:
    frames = [gradient("RGB", (60, 40)).rotate(angle) for angle in (0, 30, 60)]
    path = save(frames[0], pillow_format, save_all=True, append_images=frames[1:])
    assert inspect(path, ALL, 3 * 60 * 40).frames == 3
    with pytest.raises(ImageTooLarge, match="more than 7,199 pixels"):
        inspect(path, ALL, 3 * 60 * 40 - 1)


def test_too_many_small_frames_are_too_complex(tmp_path: Path) -> None:
    data = encoded(Image.new("P", (1, 1)), "GIF")
    start = data.index(b",", 13)
    frame = data[start:-1]
    path = tmp_path / "many.gif"
    path.write_bytes(data[:-1] + frame * MAX_FRAMES + b";")
    with pytest.raises(ImageTooComplex, match="10,000 frames"):
        inspect(path, ALL, 10**6)


def test_the_file_name_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "picture.eps"
    path.write_bytes(encoded(gradient("RGB"), "PNG"))
    assert inspect(path, ALL, 10**6).format is ImageFormat.PNG


@pytest.mark.parametrize(
    "mask", [gradient("RGBA"), gradient("LA"), gradient("P+transparency")], ids=lambda m: m.mode
)
def test_a_mask_with_alpha_and_the_size_of_the_image_is_taken(
    mask: Image.Image, save: Save
) -> None:
    options: dict[str, Any] = {"transparency": 0} if mask.mode == "P" else {}
    path = save(mask, "PNG", **options)
    check_mask(path, INFO)
    check_mask(path, None)
    check_mask(path, replace(INFO, width=40, height=60, orientation=6))


def test_a_mask_must_fit(save: Save, tmp_path: Path) -> None:
    good = encoded(gradient("RGBA"), "PNG")
    cases = [
        (save(gradient("RGBA", (40, 60)), "PNG"), "40 x 60 pixels, but the image has 60 x 40"),
        (save(gradient("RGB"), "PNG"), "no alpha"),
        (save(gradient("RGBA"), "WEBP"), "not a PNG"),
        (_write(tmp_path / "cut", good[: len(good) // 2]), "damaged"),
        (_write(tmp_path / "header", good[:20]), "damaged"),
        (_write(tmp_path / "large", good + bytes(4_000_000)), "less than 4 MB"),
    ]
    for path, words in cases:
        with pytest.raises(InvalidMask, match=words):
            check_mask(path, INFO)


def test_an_image_without_pixels_is_damaged(tmp_path: Path) -> None:
    data = bytearray(encoded(Image.new("RGB", (1, 1)), "BMP"))
    data[18:22] = bytes(4)
    with pytest.raises(CorruptImage):
        inspect(_write(tmp_path / "empty", bytes(data)), ALL, 10**6)


def _write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path
