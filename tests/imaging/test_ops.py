import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pillow_heif
import pytest
from PIL import Image, ImageChops, ImageCms, PngImagePlugin

from imgsvc.errors import CorruptImage, ImageFileTooLarge, ImageTooLarge, NotAnImage
from imgsvc.imaging.formats import ImageFormat, sniff
from imgsvc.imaging.gate import ImageInfo, inspect
from imgsvc.imaging.ops import (
    encode,
    invert_with_caption,
    needs_conversion,
    open_image,
    prepare_for_provider,
)
from standins.pictures import encoded, gradient

Save = Callable[..., Path]

ALL = list(ImageFormat)
AS_IS = ImageInfo(
    format=ImageFormat.PNG, width=60, height=40, frames=1, mode="RGB", orientation=1, bits=8
)
MODES = [
    ("1", "PNG", "RGB"),
    ("L", "PNG", "RGB"),
    ("LA", "PNG", "RGBA"),
    ("P", "PNG", "RGB"),
    ("P+transparency", "PNG", "RGBA"),
    ("RGB", "PNG", "RGB"),
    ("RGBA", "PNG", "RGBA"),
    ("I;16", "PNG", "RGB"),
    ("CMYK", "JPEG", "RGB"),
    ("I;16", "TIFF", "RGB"),
    ("I", "TIFF", "RGB"),
    ("F", "TIFF", "RGB"),
    ("YCbCr", "TIFF", "RGB"),
    ("LAB", "TIFF", "RGB"),
    ("RGBA", "WEBP", "RGBA"),
    ("RGBA", "AVIF", "RGBA"),
    ("P", "GIF", "RGB"),
    ("RGB", "BMP", "RGB"),
]


def decoded(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def difference(one: Image.Image, other: Image.Image) -> int:
    """Return by how much the most different sample differs, 0 to 255."""
    return max(ImageChops.difference(one, other).tobytes())


@pytest.mark.parametrize(("mode", "pillow_format", "opened_mode"), MODES)
def test_every_mode_becomes_rgb_or_rgba(
    mode: str, pillow_format: str, opened_mode: str, save: Save
) -> None:
    image = open_image(save(gradient(mode), pillow_format))
    assert (image.mode, image.size, image.info) == (opened_mode, (60, 40), {})
    extrema = image.convert("L").getextrema()
    assert extrema != (0, 0)


@pytest.mark.parametrize(("mode", "pillow_format", "opened_mode"), MODES)
@pytest.mark.parametrize("output", [ImageFormat.PNG, ImageFormat.JPEG, ImageFormat.WEBP])
def test_every_mode_can_be_inverted(
    mode: str, pillow_format: str, opened_mode: str, output: ImageFormat, save: Save
) -> None:
    result = invert_with_caption(save(gradient(mode), pillow_format), "DEMO", output)
    assert sniff(result) is output
    assert decoded(result).mode == ("RGB" if output is ImageFormat.JPEG else opened_mode)


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
def test_wide_samples_keep_their_range(mode: str, save: Save) -> None:
    image = open_image(save(gradient(mode), "TIFF")).getchannel("R")
    low, high = gradient("I;16" if mode == "I;16" else "L").getextrema()
    if mode == "I;16":
        low, high = int(low) >> 8, int(high) >> 8  # type: ignore[arg-type] # one channel: numbers
    else:
        low, high = 0, 255
    assert image.getextrema() == (low, high)


@pytest.mark.parametrize("value", [0.0, 7.5, float("nan"), float("inf")])
def test_floats_without_a_range_are_no_error(value: float, save: Save) -> None:
    assert open_image(save(Image.new("F", (4, 4), value), "TIFF")).size == (4, 4)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_picture_is_put_upright(orientation: int, save: Save) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = gradient("RGB")
    image = open_image(save(stored, "PNG", exif=exif))
    turned = [None, None, "FLIP_LEFT_RIGHT", "ROTATE_180", "FLIP_TOP_BOTTOM", "TRANSPOSE"]
    turned += ["ROTATE_270", "TRANSVERSE", "ROTATE_90"]
    name = turned[orientation]
    expected = stored if name is None else stored.transpose(Image.Transpose[name])
    assert image.tobytes() == expected.tobytes()


@pytest.mark.parametrize("pillow_format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_frame_of_an_animation_is_used(pillow_format: str, save: Save) -> None:
    red, blue = Image.new("RGB", (30, 20), "red"), Image.new("RGB", (30, 20), "blue")
    image = open_image(save(red, pillow_format, save_all=True, append_images=[blue]))
    assert difference(image.convert("RGB"), red) <= 2


@pytest.mark.parametrize(("mode", "alpha"), [("RGB", 255), ("RGBA", 128), ("P", 255)])
def test_a_colour_profile_is_applied_before_it_is_dropped(
    mode: str, alpha: int, save: Save
) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    red_and_blue_swapped = (
        srgb.replace(b"rXYZ", b"?XYZ").replace(b"bXYZ", b"rXYZ").replace(b"?XYZ", b"bXYZ")
    )
    picture = Image.new("RGBA", (4, 4), (255, 0, 0, alpha)).convert(mode)
    image = open_image(save(picture, "PNG", icc_profile=red_and_blue_swapped))
    assert difference(image.convert("RGB"), Image.new("RGB", (4, 4), "blue")) <= 2
    assert image.convert("RGBA").getchannel("A").getextrema() == (alpha, alpha)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGB", "RGBA", "P+transparency", "1"])
@pytest.mark.parametrize("profile", ["sRGB", "damaged"])
def test_a_profile_that_says_nothing_new_changes_nothing(
    mode: str, profile: str, save: Save
) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    icc = srgb if profile == "sRGB" else srgb[:200]
    plain = open_image(save(gradient(mode), "PNG"))
    image = open_image(save(gradient(mode), "PNG", icc_profile=icc))
    assert image.mode == plain.mode
    assert difference(image, plain) <= 2


@pytest.mark.parametrize("output", [ImageFormat.PNG, ImageFormat.JPEG, ImageFormat.WEBP])
def test_no_metadata_leaves(output: ImageFormat, save: Save) -> None:
    exif = Image.Exif()
    exif[0x010E] = "SECRET"
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "SECRET")
    text.add_itxt("XML:com.adobe.xmp", "SECRET")
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path = save(gradient("RGB"), "PNG", exif=exif, pnginfo=text, icc_profile=srgb)
    assert b"SECRET" in path.read_bytes()
    result = invert_with_caption(path, "DEMO", output)
    assert b"SECRET" not in result
    assert not {"exif", "icc_profile", "xmp", "Comment"} & decoded(result).info.keys()


def test_colours_are_inverted_and_alpha_is_kept(save: Save) -> None:
    picture = gradient("RGBA", (300, 200))
    result = decoded(invert_with_caption(save(picture, "PNG"), "DEMO", ImageFormat.PNG))
    top = (0, 0, 300, 140)
    inverted = ImageChops.invert(picture.convert("RGB")).crop(top)
    assert difference(result.convert("RGB").crop(top), inverted) == 0
    assert result.getchannel("A").crop(top).tobytes() == picture.getchannel("A").crop(top).tobytes()


def test_transparency_becomes_white_in_a_jpeg() -> None:
    jpeg = decoded(encode(Image.new("RGBA", (8, 8)), ImageFormat.JPEG))
    assert jpeg.getpixel((4, 4)) == (255, 255, 255)


def test_a_side_too_long_for_the_format_is_refused_by_name() -> None:
    with pytest.raises(ImageTooLarge, match=r"WebP file can have at most 16,383 pixels a side"):
        encode(Image.new("RGB", (16_384, 1)), ImageFormat.WEBP)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, False),
        ({"mode": "L"}, False),
        ({"mode": "LA"}, False),
        ({"mode": "RGBA", "format": ImageFormat.WEBP}, False),
        ({"format": ImageFormat.JPEG}, False),
        ({"format": ImageFormat.GIF}, True),
        ({"format": ImageFormat.BMP}, True),
        ({"format": ImageFormat.TIFF}, True),
        ({"format": ImageFormat.AVIF}, True),
        ({"format": ImageFormat.HEIC}, True),
        ({"mode": "CMYK", "format": ImageFormat.JPEG}, True),
        ({"mode": "P"}, True),
        ({"mode": "1"}, True),
        ({"mode": "I;16", "bits": 16}, True),
        ({"bits": 16}, True),
        ({"orientation": 6}, True),
        ({"frames": 2}, True),
    ],
)
def test_what_an_image_api_does_not_take_is_converted(
    change: dict[str, object], expected: bool
) -> None:
    assert needs_conversion(replace(AS_IS, **change)) is expected  # type: ignore[arg-type] # a table


@pytest.mark.parametrize(("mode", "pillow_format", "opened_mode"), MODES)
def test_a_prepared_picture_needs_no_further_conversion(
    mode: str, pillow_format: str, opened_mode: str, save: Save, tmp_path: Path
) -> None:
    path = save(gradient(mode), pillow_format)
    prepared = tmp_path / "prepared"
    prepared.write_bytes(prepare_for_provider(path, inspect(path, ALL, 10**6), 10**6))
    info = inspect(prepared, ALL, 10**6)
    assert not needs_conversion(info)
    assert info.mode == opened_mode
    assert info.format is (ImageFormat.JPEG if pillow_format == "JPEG" else ImageFormat.PNG)


def test_heic_becomes_png(save: Save) -> None:
    pillow_heif.register_heif_opener()
    path = save(gradient("RGB", (64, 48)), "HEIF")
    prepared = prepare_for_provider(path, inspect(path, ALL, 10**6), 10**6)
    assert decoded(prepared).size == (64, 48)


@pytest.mark.parametrize(
    ("mode", "expected"), [("RGB", ImageFormat.JPEG), ("RGBA", ImageFormat.WEBP)]
)
def test_a_png_that_would_be_too_large_becomes_smaller_with_loss(
    mode: str, expected: ImageFormat, save: Save
) -> None:
    noise = Image.effect_noise((200, 200), 90)
    picture = Image.merge(mode, [noise.rotate(turn) for turn in (0, 90, 180, 270)[: len(mode)]])
    path = save(picture, "TIFF")
    info = inspect(path, ALL, 10**6)
    as_png = len(prepare_for_provider(path, info, 10**6))
    smaller = prepare_for_provider(path, info, as_png - 1)
    assert sniff(smaller) is expected
    with pytest.raises(ImageFileTooLarge, match="Scale it down"):
        prepare_for_provider(path, info, 100)


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("hello")
    with pytest.raises(NotAnImage):
        open_image(path)


def test_a_picture_cut_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cut"
    path.write_bytes(encoded(gradient("RGB"), "PNG")[:-40])
    with pytest.raises(CorruptImage):
        open_image(path)
