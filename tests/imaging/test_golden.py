from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageStat

from imaging.golden_pictures import FOLDER, PROMPTS, drawn, made

TOLERANCE = 0.5
"""Mean difference of a channel, 0 to 255; other versions of Pillow round otherwise."""


def is_like(one: Image.Image, other: Image.Image) -> bool:
    """Tell whether two pictures look the same, transparent ones on any ground."""
    if one.size != other.size or one.mode != other.mode:
        return False
    difference = ImageChops.difference(one.convert("RGBa"), other.convert("RGBa"))
    return max(ImageStat.Stat(difference).mean) <= TOLERANCE


def golden(name: str) -> Image.Image:
    with Image.open(FOLDER / f"{name}.png") as picture:
        picture.load()
    return picture


@pytest.mark.parametrize("name", PROMPTS)
def test_an_operation_looks_as_it_did(name: str) -> None:
    assert is_like(made(PROMPTS[name], FOLDER / "original.png"), golden(name))


@pytest.mark.parametrize("name", PROMPTS)
def test_the_tolerance_is_less_than_what_an_operation_does(name: str) -> None:
    assert not is_like(golden(name), golden("original"))


def test_every_golden_picture_has_its_prompt() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == {*PROMPTS, "original"}


def test_golden_pictures_are_small() -> None:
    for path in Path(FOLDER).iterdir():
        assert max(golden(path.stem).size) <= 128


def test_the_original_is_what_is_drawn() -> None:
    assert is_like(golden("original"), drawn())
