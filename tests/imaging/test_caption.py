import pytest
from PIL import Image

from imgsvc.imaging.caption import draw_caption
from standins.pictures import gradient

CAPTION = "DEMO - FALLBACK (provider_out_of_credit)"
SIZES = [
    (1, 1),
    (16, 16),
    (24, 24),
    (64, 64),
    (200, 200),
    (600, 100),
    (1024, 1024),
    (16, 8000),
    (8000, 16),
    (3000, 2000),
]


def band_of(picture: Image.Image) -> Image.Image:
    """Return the band below the coloured line, which runs from side to side."""
    edge = (250, 176, 5)
    left = picture.convert("RGB").crop((0, 0, 1, picture.height))
    rows = [y for y in range(picture.height) if left.getpixel((0, y)) == edge]
    assert rows
    return picture.convert("RGB").crop((0, rows[-1] + 1, picture.width, picture.height))


def text_box(band: Image.Image) -> tuple[int, int, int, int]:
    box = band.convert("L").point(lambda value: 255 if value > 128 else 0).getbbox()
    assert box is not None
    return box


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_the_caption_fits_and_is_large_enough_to_read(mode: str, size: tuple[int, int]) -> None:
    captioned = draw_caption(gradient(mode, size), CAPTION)
    band = band_of(captioned)
    left, top, right, bottom = text_box(band)
    assert left > 2
    assert right < band.width - 2
    assert top > 2
    assert bottom < band.height - 2
    assert bottom - top >= 10
    assert {band.getpixel((x, y)) for x in (0, band.width - 1) for y in (0, band.height - 1)} == {
        (24, 24, 27)
    }


@pytest.mark.parametrize("size", SIZES)
def test_three_quarters_of_the_picture_stay_visible(size: tuple[int, int]) -> None:
    captioned = draw_caption(gradient("RGB", size), CAPTION)
    left = (captioned.width - size[0]) // 2
    visible = captioned.height - band_of(captioned).height
    assert visible >= size[1] * 0.75
    shown = captioned.crop((left, 0, left + size[0], max(1, int(size[1] * 0.7))))
    assert shown.tobytes() == gradient("RGB", size).crop((0, 0, *shown.size)).tobytes()


def test_the_caption_is_opaque_on_a_transparent_picture() -> None:
    captioned = draw_caption(Image.new("RGBA", (400, 300)), CAPTION)
    alpha = captioned.getchannel("A")
    assert alpha.getpixel((0, 0)) == 0
    assert alpha.crop((0, 290, 400, 300)).getextrema() == (255, 255)


@pytest.mark.parametrize("caption", ["x", "word " * 60])
def test_any_caption_is_drawn(caption: str) -> None:
    assert draw_caption(gradient("RGB", (64, 64)), caption).height > 64
