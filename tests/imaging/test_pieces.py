"""How many pieces a file may have, and that good pictures have fewer."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from imaging.corpus_bombs import gif_of_tiny_blocks, jpeg_of_many_segments, jpeg_scan_bomb
from imaging.corpus_odd import whole
from imaging.corpus_parts import chunk, small_png, tiff, tiff_tags
from imgsvc.errors import ImageTooComplex
from imgsvc.imaging.formats import ImageFormat
from imgsvc.imaging.pieces import MAX_PIECES, MAX_SCANS, check_pieces

Save = Callable[..., Path]


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("image_format", ImageFormat)
def test_a_good_picture_has_few_pieces(image_format: ImageFormat, tmp_path: Path) -> None:
    check_pieces(written(tmp_path / "good", whole(image_format)), image_format)


@pytest.mark.parametrize(
    ("pillow_format", "options"),
    [
        ("JPEG", {"progressive": True, "quality": 95}),
        ("JPEG", {"restart_marker_blocks": 1}),
        ("PNG", {"compress_level": 0}),
        ("GIF", {}),
        ("TIFF", {"tiffinfo": {278: 1}}),
    ],
)
def test_a_large_noisy_picture_is_not_too_complex(
    pillow_format: str, options: dict[str, object], save: Save
) -> None:
    noise = Image.frombytes("RGB", (600, 800), os.urandom(1_440_000))
    check_pieces(save(noise, pillow_format, **options), ImageFormat[pillow_format])


@pytest.mark.parametrize(
    ("image_format", "data", "words"),
    [
        (ImageFormat.PNG, small_png(chunk(b"abCd", b"") * MAX_PIECES), "chunks"),
        (ImageFormat.JPEG, jpeg_of_many_segments(0xFE, MAX_PIECES), "segments"),
        (ImageFormat.JPEG, jpeg_scan_bomb(MAX_SCANS), "100 scans"),
        (ImageFormat.GIF, gif_of_tiny_blocks(), "small blocks"),
        (ImageFormat.TIFF, tiff((273, 4, MAX_PIECES + 1, 8), data=bytes(10**6)), "strips"),
        (ImageFormat.TIFF, tiff(*tiff_tags(8, 8), (700, 1, 2**32 - 1, 8)), "claim more data"),
        (ImageFormat.TIFF, b"II+\0\x08\0\0\0\x10" + bytes(7) + b"\xff" * 99, "tags"),
    ],
)
def test_more_pieces_than_any_sane_file_has_are_too_complex(
    image_format: ImageFormat, data: bytes, words: str, tmp_path: Path
) -> None:
    with pytest.raises(ImageTooComplex, match=words):
        check_pieces(written(tmp_path / "bomb", data), image_format)


def test_the_number_of_pieces_allowed_is_still_taken(tmp_path: Path) -> None:
    png = small_png(chunk(b"abCd", b"") * (MAX_PIECES - 3))  # and IHDR, IDAT, IEND
    check_pieces(written(tmp_path / "png", png), ImageFormat.PNG)
    scans = jpeg_scan_bomb(0).count(b"\xff\xda")
    jpeg = jpeg_scan_bomb(MAX_SCANS - scans)
    check_pieces(written(tmp_path / "jpeg", jpeg), ImageFormat.JPEG)


STARTS = {
    ImageFormat.PNG: b"\x89PNG\r\n\x1a\n",
    ImageFormat.JPEG: b"\xff\xd8\xff",
    ImageFormat.GIF: b"GIF89a",
    ImageFormat.TIFF: b"MM\0*\0\0\0\x08",
}


@given(st.sampled_from(list(STARTS)), st.binary(max_size=300), st.booleans())
def test_any_bytes_are_looked_at_to_an_end(
    image_format: ImageFormat, rest: bytes, big: bool
) -> None:
    start = b"II+\0" if big and image_format is ImageFormat.TIFF else STARTS[image_format]
    path = Path(f"/dev/shm/imgsvc-pieces-{os.getpid()}")  # noqa: S108 - a name of this process alone
    try:
        path.write_bytes(start + rest)
        with contextlib.suppress(ImageTooComplex):
            check_pieces(path, image_format)
    finally:
        path.unlink()
