import io
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from imgsvc.errors import InstructionNotUnderstood
from imgsvc.imaging.editing import EditedLocally, Unknown, edit_by_prompt
from imgsvc.imaging.formats import ImageFormat
from standins.pictures import gradient

Save = Callable[..., Path]


def edited(
    path: Path,
    prompt: str,
    output_format: ImageFormat | None = None,
    *,
    unknown: Unknown = Unknown.DEMO,
    watermark: bool = True,
) -> EditedLocally:
    return edit_by_prompt(
        path,
        prompt,
        output_format,
        reason="provider_timeout",
        unknown=unknown,
        watermark=watermark,
    )


def decoded(result: EditedLocally) -> Image.Image:
    return Image.open(io.BytesIO(result.content))


@pytest.fixture
def photo(save: Save) -> Path:
    return save(gradient("RGB", (400, 300)), "PNG")


def test_what_is_understood_is_done_and_told(photo: Path) -> None:
    result = edited(photo, "grayscale the sky, rotate left", watermark=False)
    assert (result.operations, result.ignored) == (("grayscale", "rotate -90"), ("sky",))
    picture = decoded(result)
    assert picture.size == (300, 400)
    red, green, blue = picture.convert("RGB").split()
    assert red.tobytes() == green.tobytes() == blue.tobytes()


def test_the_watermark_is_on_the_result_and_can_be_left_out(photo: Path) -> None:
    marked, plain = (decoded(edited(photo, "grayscale", watermark=on)) for on in (True, False))
    top, bottom = (0, 0, 400, 150), (0, 270, 400, 300)
    assert marked.crop(top).tobytes() == plain.crop(top).tobytes()
    assert marked.crop(bottom).tobytes() != plain.crop(bottom).tobytes()


@pytest.mark.parametrize("watermark", [True, False])
def test_a_prompt_without_an_order_gives_the_demo_and_that_is_always_marked(
    watermark: bool, photo: Path
) -> None:
    result = edited(photo, "Make the sky glow", watermark=watermark)
    assert (result.operations, result.ignored) == ((), ("sky", "glow"))
    assert result.content == edited(photo, "a horse", watermark=not watermark).content


def test_a_prompt_without_an_order_can_be_refused_with_a_list_of_what_is_known(
    photo: Path,
) -> None:
    with pytest.raises(InstructionNotUnderstood, match=r"It knows: grayscale, .*, convert\.$") as e:
        edited(photo, "Make the sky glow", unknown=Unknown.REFUSE)
    assert "provider_timeout" in e.value.message
    assert "sky" not in e.value.message
    assert edited(photo, "sepia", unknown=Unknown.REFUSE).operations == ("sepia",)


@pytest.mark.parametrize(
    ("prompt", "asked", "expected", "operations", "ignored"),
    [
        ("sepia", None, ImageFormat.PNG, ("sepia",), ()),
        ("sepia", ImageFormat.WEBP, ImageFormat.WEBP, ("sepia",), ()),
        ("convert to webp", None, ImageFormat.WEBP, ("convert webp",), ()),
        ("to png, then as jpeg", None, ImageFormat.JPEG, ("convert png", "convert jpeg"), ()),
        ("as webp", ImageFormat.WEBP, ImageFormat.WEBP, ("convert webp",), ()),
        (
            "flip, save as jpeg",
            ImageFormat.PNG,
            ImageFormat.PNG,
            ("flip horizontal",),
            ("convert jpeg",),
        ),
    ],
)
def test_the_format_that_the_request_asks_for_wins_over_the_prompt(
    prompt: str,
    asked: ImageFormat | None,
    expected: ImageFormat,
    operations: tuple[str, ...],
    ignored: tuple[str, ...],
    photo: Path,
) -> None:
    result = edited(photo, prompt, asked)
    assert result.format is expected
    assert decoded(result).format == expected.name
    assert (result.operations, result.ignored) == (operations, ignored)
