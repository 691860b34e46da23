"""Operations on colours; none changes size or alpha."""

from dataclasses import dataclass
from enum import StrEnum

from PIL import Image, ImageEnhance, ImageOps

from imgsvc.imaging.operations.base import Operation, mapped, number, on_colours

_SEPIA = (
    *(0.393, 0.769, 0.189, 0.0),
    *(0.349, 0.686, 0.168, 0.0),
    *(0.272, 0.534, 0.131, 0.0),
)  # rows give red, green and blue; the usual matrix, as in Microsoft's and CSS's sepia

_WARMTH_GAIN = 0.3
"""By how much 100 % of warmth raise red; blue falls by as much."""


class Quality(StrEnum):
    """What can be turned up and down."""

    BRIGHTNESS = "brightness"
    CONTRAST = "contrast"
    SATURATION = "saturation"
    WARMTH = "warmth"


@dataclass(frozen=True, kw_only=True, slots=True)
class Adjust(Operation):
    """Turn a quality up or down; -100 % take it away."""

    quality: Quality
    percent: float  # -100 to 300, 0 changes nothing

    def __str__(self) -> str:
        sign = "" if self.percent < 0 else "+"
        return f"{self.quality} {sign}{number(self.percent)}%"

    def apply(self, image: Image.Image) -> Image.Image:
        """Scale the quality by percent."""
        factor = 1 + self.percent / 100
        if self.quality is Quality.WARMTH:
            gain = _WARMTH_GAIN * self.percent / 100
            same = list(range(256))
            return mapped(image, (_scaled(1 + gain), same, _scaled(1 - gain)))
        if self.quality is Quality.BRIGHTNESS:
            table = _scaled(factor)
            return mapped(image, (table, table, table))
        enhancer = ImageEnhance.Contrast if self.quality is Quality.CONTRAST else ImageEnhance.Color
        return on_colours(image, lambda colours: enhancer(colours).enhance(factor))


@dataclass(frozen=True, kw_only=True, slots=True)
class Grayscale(Operation):
    """Take the colours away."""

    def __str__(self) -> str:
        return "grayscale"

    def apply(self, image: Image.Image) -> Image.Image:
        """Keep the luma of ITU-R 601."""
        return on_colours(image, ImageOps.grayscale)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sepia(Operation):
    """Make it look like an old brown photo."""

    def __str__(self) -> str:
        return "sepia"

    def apply(self, image: Image.Image) -> Image.Image:
        """Mix the channels."""
        return on_colours(image, lambda colours: colours.convert("RGB", _SEPIA))


@dataclass(frozen=True, kw_only=True, slots=True)
class Invert(Operation):
    """Make a negative."""

    def __str__(self) -> str:
        return "invert"

    def apply(self, image: Image.Image) -> Image.Image:
        """Replace each value by its distance from 255."""
        table = [255 - value for value in range(256)]
        return mapped(image, (table, table, table))


@dataclass(frozen=True, kw_only=True, slots=True)
class Enhance(Operation):
    """Make the most of a dull photo."""

    def __str__(self) -> str:
        return "enhance"

    def apply(self, image: Image.Image) -> Image.Image:
        """Stretch the tones to the full range, and add some colour."""
        return on_colours(
            image,
            lambda colours: ImageEnhance.Color(
                ImageOps.autocontrast(colours, cutoff=0.5, preserve_tone=True)
            ).enhance(1.2),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Posterize(Operation):
    """Leave a few tones, as on a poster."""

    bits: int  # a channel, 1 to 8

    def __str__(self) -> str:
        return f"posterize {self.bits} bits"

    def apply(self, image: Image.Image) -> Image.Image:
        """Keep the upper bits of each channel."""
        return on_colours(image, lambda colours: ImageOps.posterize(colours, self.bits))


@dataclass(frozen=True, kw_only=True, slots=True)
class Solarize(Operation):
    """Invert the bright parts, as light on an undeveloped film does."""

    percent: float  # of the brightest value; what is above is inverted

    def __str__(self) -> str:
        return f"solarize {number(self.percent)}%"

    def apply(self, image: Image.Image) -> Image.Image:
        """Invert all values above the threshold."""
        threshold = round(self.percent * 2.55)
        return on_colours(image, lambda colours: ImageOps.solarize(colours, threshold))


def _scaled(factor: float) -> list[int]:
    return [max(0, min(255, round(value * factor))) for value in range(256)]
