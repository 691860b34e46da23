from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageChops

from imaging.golden_pictures import PROMPTS
from imgsvc.errors import CorruptImage, ImageTooLarge
from imgsvc.imaging.editing import apply
from imgsvc.imaging.intent import understand
from imgsvc.imaging.operations import Operation
from standins.pictures import gradient

Save = Callable[..., Path]

KEEP_SHAPE = sorted(
    set(PROMPTS)
    - {"rotate-left", "rotate-30", "flip-horizontal", "flip-vertical", "crop-square", "crop-16-9"}
    - {"resize", "thumbnail", "border", "round-corners", "text"}
)
SIZES = [(1, 1), (2, 1), (1, 300), (3, 2), (300, 7), (64, 64)]


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> int:
    """Let pictures have a million pixels, as an image process would be told to."""
    limit = 1_000_000
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    return limit


def operations(prompt: str) -> tuple[Operation, ...]:
    found = understand(prompt).operations
    assert found, prompt
    return found


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("name", PROMPTS)
def test_every_operation_works_on_every_shape_and_gives_the_size_it_said(
    name: str, mode: str
) -> None:
    for size in SIZES:
        for operation in operations(PROMPTS[name]):
            result = operation.apply(gradient(mode, size))
            assert result.mode in {"RGB", "RGBA"}
            expected = operation.size_after(size)
            # A picture turned by odd degrees may be a pixel larger than its exact frame.
            assert all(abs(a - b) <= 2 for a, b in zip(result.size, expected, strict=True))
            if mode == "RGBA":
                assert result.mode == "RGBA"


@pytest.mark.parametrize("name", KEEP_SHAPE)
def test_what_changes_colours_keeps_alpha_to_the_bit(name: str) -> None:
    picture = gradient("RGBA")
    [operation] = operations(PROMPTS[name])
    result = operation.apply(picture.copy())
    assert result.getchannel("A").tobytes() == picture.getchannel("A").tobytes()


@pytest.mark.parametrize("prompt", ["blur 20 px", "sharpen 500%", "pixelate 10 px"])
def test_colours_under_clear_pixels_do_not_bleed_into_others(prompt: str) -> None:
    picture = Image.new("RGBA", (60, 40), (255, 0, 0, 0))
    picture.paste((0, 0, 255, 255), (0, 0, 30, 40))
    [operation] = operations(prompt)
    shown = operation.apply(picture).crop((0, 0, 30, 40)).convert("RGB")
    assert shown.getextrema() == ((0, 0), (0, 0), (255, 255))


def test_a_border_has_its_width_and_colour() -> None:
    [border] = operations("a 5 px red border")
    result = border.apply(Image.new("RGB", (20, 10), "white"))
    assert result.size == (30, 20)
    assert result.getpixel((4, 10)) == (255, 0, 0)
    assert result.getpixel((5, 10)) == (255, 255, 255)


def test_rounded_corners_are_clear_and_the_rest_is_not() -> None:
    [corners] = operations("round corners 10 px")
    alpha = corners.apply(Image.new("RGB", (60, 40))).getchannel("A")
    for x, y in ((0, 0), (59, 0), (0, 39), (59, 39)):
        assert alpha.getpixel((x, y)) == 0
    for x, y in ((30, 0), (0, 20), (10, 10), (49, 29)):
        assert alpha.getpixel((x, y)) == 255


def test_rotating_right_and_left_again_changes_nothing() -> None:
    picture = gradient("RGB")
    right, left = operations("rotate right, rotate left")
    assert left.apply(right.apply(picture)).tobytes() == picture.tobytes()


def test_operations_follow_each_other_on_one_decoded_picture(save: Save) -> None:
    path = save(gradient("RGB", (300, 200)), "PNG")
    result = apply(path, operations("crop to square, resize to 50%, border 10 px, rotate left"))
    assert result.size == (120, 120)


TOO_LARGE = ["resize to 2000x2000", "enlarge by 900%", "border 999 px", "thumbnail, width 9999"]


@pytest.mark.parametrize("prompt", [*TOO_LARGE, "blur, resize to 100000x100000"])
def test_a_result_with_more_pixels_than_may_come_in_is_refused_before_it_is_made(
    prompt: str, limited: int, save: Save
) -> None:
    path = save(gradient("RGB", (400, 300)), "PNG")
    with pytest.raises(ImageTooLarge, match=rf"at most {limited:,} are made"):
        apply(path, operations(prompt))


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("prompt", ["resize to 10%", "thumbnail of 64 px", "resize to 50x40"])
def test_a_jpeg_that_is_decoded_small_looks_as_if_it_had_been_decoded_whole(
    orientation: int, prompt: str, save: Save
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo = gradient("RGB", (1600, 900))
    [scale] = operations(prompt)
    quick = apply(save(photo, "JPEG", exif=exif, quality=95), [scale])
    [whole, thorough] = [
        save(photo, "PNG", exif=exif),
        save(photo, "TIFF", exif=exif),
    ]
    for path in (whole, thorough):
        slow = apply(path, [scale])
        assert quick.size == slow.size
        assert max(ImageChops.difference(quick, slow).tobytes()) <= 12


def test_a_jpeg_is_decoded_in_full_unless_scaling_comes_first(save: Save) -> None:
    path = save(gradient("RGB", (1600, 900)), "JPEG")
    assert apply(path, operations("blur")).size == (1600, 900)


def test_a_damaged_picture_is_told_from_one_that_is_asked_too_much(save: Save) -> None:
    path = save(gradient("RGB", (400, 300)), "JPEG")
    path.write_bytes(path.read_bytes()[:800])
    with pytest.raises(CorruptImage):
        apply(path, operations("resize to 50%"))


@pytest.mark.parametrize("text", ["x", "word " * 40, "W" * 200, "שלום", "日本語"])
def test_any_text_fits_on_any_picture(text: str) -> None:
    for size in SIZES:
        [operation] = operations(f'text "{text}"')
        assert operation.apply(gradient("RGBA", size)).size == size
