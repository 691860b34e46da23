"""Files made to hurt: each must end as an ImageError, in the process that meets it."""

import struct
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from PIL import Image

from imgsvc.errors import ImageError, ImageTooComplex, ImageTooLarge, UnsupportedImageType
from imgsvc.imaging.config import ImagesConfig
from imgsvc.imaging.formats import ImageFormat
from imgsvc.imaging.gate import inspect
from imgsvc.imaging.ops import invert_with_caption, open_image
from imgsvc.imaging.pool import ImagePool, open_image_pool
from standins.pictures import encoded, gradient

with_shared_pool = pytest.mark.asyncio(loop_scope="module")

CONFIG = ImagesConfig(processes=1)
ALL = list(ImageFormat)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool() -> AsyncIterator[ImagePool]:
    async with open_image_pool(CONFIG) as pool:
        yield pool


def chunk(name: bytes, data: bytes) -> bytes:
    crc = zlib.crc32(name + data).to_bytes(4, "big")
    return len(data).to_bytes(4, "big") + name + data + crc


def png(width: int, height: int, *chunks: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IEND", b"")


def png_bomb() -> bytes:
    """Return a black PNG of 13300 x 13300 pixels: some kilobytes, 177 million pixels."""
    rows = bytes((13_300 // 8 + 2) * 13_300)
    return png(13_300, 13_300, chunk(b"IDAT", zlib.compress(rows, 9)))


def webp_bomb() -> bytes:
    """Return the header of a lossless WebP of 12000 x 12000 pixels."""
    size = (11_999 | 11_999 << 14).to_bytes(4, "little")
    data = b"VP8L" + (1000).to_bytes(4, "little") + b"\x2f" + size + bytes(995)
    return b"RIFF" + (len(data) + 4).to_bytes(4, "little") + b"WEBP" + data


def gif_bomb() -> bytes:
    """Return a GIF of 3000 frames of 9000 x 9000 pixels each."""
    data = encoded(Image.new("P", (1, 1)), "GIF")
    start = data.index(b",", 13)
    screen = data[:6] + struct.pack("<HH", 9000, 9000) + data[10:start]
    return screen + data[start:-1] * 3000 + b";"


def text_bomb() -> bytes:
    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(100_000_000), 9))
    return png(8, 8, text, chunk(b"IDAT", zlib.compress(bytes(16))))


def many_texts() -> bytes:
    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(1_000_000), 9))
    return png(8, 8, text * 80, chunk(b"IDAT", zlib.compress(bytes(16))))


@with_shared_pool
@pytest.mark.parametrize(
    ("make", "error"),
    [
        (png_bomb, ImageTooLarge),
        (webp_bomb, ImageTooLarge),
        (gif_bomb, ImageTooLarge),
        (text_bomb, ImageTooComplex),
        (many_texts, ImageTooComplex),
    ],
)
async def test_a_bomb_is_refused_by_its_header(
    make: Callable[[], bytes], error: type[ImageError], pool: ImagePool, tmp_path: Path
) -> None:
    path = tmp_path / "bomb"
    path.write_bytes(make())
    with pytest.raises(error):
        await pool.run(inspect, path, ALL, CONFIG.max_pixels)


@with_shared_pool
async def test_a_bomb_that_got_past_the_gate_is_not_decoded(
    pool: ImagePool, tmp_path: Path
) -> None:
    path = tmp_path / "bomb"
    path.write_bytes(png_bomb())
    with pytest.raises(ImageTooLarge):
        await pool.run(invert_with_caption, path, "caption", ImageFormat.PNG)


@with_shared_pool
@pytest.mark.parametrize(
    "data",
    [
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"8BPS\x00\x01" + bytes(60),
        b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>',
        encoded(Image.new("RGB", (16, 16)), "ICO"),
        encoded(Image.new("RGB", (16, 16)), "JPEG2000"),
        b"%PDF-1.7\n",
    ],
    ids=["EPS", "PSD", "SVG", "ICO", "JPEG 2000", "PDF"],
)
async def test_other_types_named_png_are_refused(
    data: bytes, pool: ImagePool, tmp_path: Path
) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(data)
    with pytest.raises(UnsupportedImageType):
        await pool.run(inspect, path, ALL, CONFIG.max_pixels)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.3, 0.5, 0.8])
@pytest.mark.parametrize("image_format", [f for f in ALL if f is not ImageFormat.HEIC])
def test_a_file_cut_short_is_refused_without_telling_where_it_lies(
    image_format: ImageFormat, share: float, tmp_path: Path
) -> None:
    options = {"lossless": True} if image_format is ImageFormat.WEBP else {}
    data = encoded(gradient("RGB", (200, 150)), image_format.name, **options)
    path = tmp_path / "cut"
    path.write_bytes(data[: max(1, int(len(data) * share))])
    with pytest.raises(ImageError) as caught:
        open_image(path)
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("image_format", [f for f in ALL if f is not ImageFormat.HEIC])
def test_flipped_bits_give_a_picture_or_an_image_error(
    image_format: ImageFormat, tmp_path: Path
) -> None:
    data = encoded(gradient("RGB", (40, 30)), image_format.name)
    path = tmp_path / "flipped"
    for position in range(0, min(len(data), 400), 3):
        flipped = bytearray(data)
        flipped[position] ^= 0xFF
        path.write_bytes(flipped)
        try:
            inspect(path, ALL, 10**6)
            assert open_image(path).mode in {"RGB", "RGBA"}
        except ImageError:
            pass
