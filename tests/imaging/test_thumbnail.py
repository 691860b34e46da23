import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from imgsvc.errors import CorruptImage, NotAnImage
from imgsvc.imaging.formats import ImageFormat
from imgsvc.imaging.thumbnail import MAX_BYTES, EncodedThumbnail, make_thumbnail
from standins.pictures import gradient

Save = Callable[..., Path]


def opened(thumbnail: EncodedThumbnail) -> Image.Image:
    """Return the picture, after a look at what is said of it."""
    with Image.open(io.BytesIO(thumbnail.content)) as image:
        image.load()
    assert image.size == (thumbnail.width, thumbnail.height)
    assert image.format == thumbnail.format.name
    return image


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((1024, 1024), (256, 256)),
        ((1536, 1024), (256, 171)),
        ((1024, 1536), (171, 256)),
        ((3000, 2), (256, 1)),
        ((60, 40), (60, 40)),
    ],
)
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_thumbnail_has_256_pixels_on_its_longest_side_or_as_few_as_the_picture(
    save: Save, kind: str, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    thumbnail = make_thumbnail(save(gradient("RGB", size), kind))
    assert thumbnail.format is ImageFormat.JPEG
    assert opened(thumbnail).size == expected


def test_a_thumbnail_looks_like_its_picture(save: Save) -> None:
    picture = gradient("RGB", (1024, 768))
    thumbnail = opened(make_thumbnail(save(picture, "PNG")))
    small = picture.resize((256, 192))
    for place in ((5, 5), (128, 96), (250, 5), (5, 186), (250, 186)):
        found, wanted = thumbnail.getpixel(place), small.getpixel(place)
        assert isinstance(found, tuple)
        assert isinstance(wanted, tuple)
        assert all(abs(a - b) <= 16 for a, b in zip(found, wanted, strict=True))


def test_transparency_is_kept_where_there_is_any(save: Save) -> None:
    thumbnail = make_thumbnail(save(gradient("RGBA", (512, 512)), "PNG"))
    assert thumbnail.format is ImageFormat.WEBP
    assert opened(thumbnail).getchannel("A").getextrema() != (255, 255)

    opaque = gradient("RGB", (512, 512)).convert("RGBA")
    assert make_thumbnail(save(opaque, "PNG")).format is ImageFormat.JPEG


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_even_noise_makes_a_small_file(save: Save, mode: str) -> None:
    noise = Image.frombytes(mode, (256, 256), os.urandom(256 * 256 * len(mode)))
    thumbnail = make_thumbnail(save(noise, "PNG"))
    assert opened(thumbnail).size == (256, 256)
    assert len(thumbnail.content) <= MAX_BYTES


def test_what_is_no_picture_gives_no_thumbnail(tmp_path: Path) -> None:
    path = tmp_path / "partial"
    path.write_bytes(b"no picture")
    with pytest.raises(NotAnImage):
        make_thumbnail(path)
    path.write_bytes(b"\x89PNG\r\n\x1a\n and nothing more")
    with pytest.raises(CorruptImage):
        make_thumbnail(path)
