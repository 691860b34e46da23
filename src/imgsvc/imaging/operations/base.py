"""What every operation of the local engine offers, and what several of them need."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from PIL import Image

Size = tuple[int, int]
"""Width and height in pixels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Operation(ABC):
    """One step of an edit; ``str`` gives its short form, which the grammar understands too."""

    def size_after(self, size: Size) -> Size:
        """Return the size of the result for a picture of this size."""
        return size

    @abstractmethod
    def apply(self, image: Image.Image) -> Image.Image:
        """Return the result for an RGB or RGBA image, as RGB or RGBA; may change image."""


class Unit(StrEnum):
    """What a length is measured in."""

    PIXELS = "px"
    PERCENT = "%"


@dataclass(frozen=True, slots=True)
class Length:
    """A length in pixels, or in percent of something that the operation names."""

    value: float
    unit: Unit

    def __str__(self) -> str:
        space = " " if self.unit is Unit.PIXELS else ""
        return f"{number(self.value)}{space}{self.unit}"

    def of(self, whole: float) -> float:
        """Return the length in pixels, where 100 % are `whole` pixels."""
        return self.value if self.unit is Unit.PIXELS else self.value / 100 * whole


def number(value: float) -> str:
    """Return the number with up to two decimals and no useless zeros."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def on_colours(image: Image.Image, change: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """Return image with its colours changed and its alpha as it was.

    change takes an RGB image and returns one of the same size, RGB or L.
    """
    changed = change(image if image.mode == "RGB" else image.convert("RGB"))
    if changed.mode != "RGB":
        changed = changed.convert("RGB")
    if image.mode == "RGBA":
        changed.putalpha(image.getchannel("A"))
    return changed


def filtered(image: Image.Image, change: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """As on_colours, for changes that mix neighbours: colours of clear pixels stay out of it."""
    if image.mode != "RGBA":
        return change(image)
    changed = change(image.convert("RGBa")).convert("RGBA")
    changed.putalpha(image.getchannel("A"))
    return changed


def mapped(image: Image.Image, tables: tuple[list[int], list[int], list[int]]) -> Image.Image:
    """Return image with each channel's 256 values replaced by those of its table."""
    alpha = [list(range(256))] if image.mode == "RGBA" else []
    return image.point([value for table in (*tables, *alpha) for value in table])
