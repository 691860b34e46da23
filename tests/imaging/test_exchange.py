import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from imgsvc.errors import ImageError
from imgsvc.imaging.exchange import convert, fitting, scaled
from imgsvc.imaging.formats import ImageFormat, sniff

MEGAPIXEL = 1_048_576


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((1024, 1024), (1024, 1024)),
        ((1000, 500), (1000, 496)),
        ((4000, 3000), (1176, 880)),
        ((3000, 4000), (880, 1176)),
        ((48, 32), (96, 64)),
        ((1, 1), (64, 64)),
        ((50_000, 10), (16_384, 64)),
    ],
)
def test_a_size_is_scaled_down_in_multiples_of_8(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert fitting(size, MEGAPIXEL) == expected


SIDES = st.integers(1, 60_000)


@given(size=st.tuples(SIDES, SIDES), max_pixels=st.integers(65_536, 16_777_216))
def test_whatever_the_size_its_result_can_be_worked_on(
    size: tuple[int, int], max_pixels: int
) -> None:
    width, height = fitting(size, max_pixels)
    assert width % 8 == height % 8 == 0
    assert min(width, height) >= 64
    assert width * height <= max_pixels
    assert (width >= height) is (size[0] >= size[1]) or width == height


@given(size=st.tuples(st.integers(512, 8000), st.integers(512, 8000)))
def test_the_ratio_of_an_ordinary_picture_is_kept(size: tuple[int, int]) -> None:
    width, height = fitting(size, MEGAPIXEL)
    assert width / height == pytest.approx(size[0] / size[1], rel=0.06)


def test_a_transparent_picture_gets_white_behind_it_as_jpeg(tmp_path: Path) -> None:
    Image.new("RGBA", (40, 20), (0, 0, 0, 0)).save(tmp_path / "picture", "PNG")
    content = scaled(tmp_path / "picture", (80, 40), ImageFormat.JPEG)
    with Image.open(io.BytesIO(content)) as image:
        assert (image.format, image.size, image.getpixel((0, 0))) == (
            "JPEG",
            (80, 40),
            (255, 255, 255),
        )


@pytest.mark.parametrize("wanted", [ImageFormat.PNG, ImageFormat.JPEG, ImageFormat.WEBP])
def test_a_picture_is_converted_to_another_format(wanted: ImageFormat, tmp_path: Path) -> None:
    Image.new("RGB", (40, 20), "red").save(tmp_path / "picture", "GIF")
    assert sniff(convert(tmp_path / "picture", wanted)) is wanted


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n\x00\x00"])
def test_what_is_no_picture_is_not_converted(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "picture").write_bytes(content)
    with pytest.raises(ImageError):
        convert(tmp_path / "picture", ImageFormat.PNG)
