"""Operations that draw: a border, rounded corners, text."""

from dataclasses import dataclass
from enum import StrEnum

from PIL import Image, ImageChops, ImageColor, ImageDraw, ImageOps
from PIL.ImageFont import FreeTypeFont

from imgsvc.imaging.caption import wrap
from imgsvc.imaging.fonts import typeface
from imgsvc.imaging.operations.base import Length, Operation, Size

_SMOOTH = 4
"""How many times as large corners are drawn, so that scaled down they have smooth edges."""

_SMALLEST_FONT = 8  # pixels
_LINE_HEIGHT = 1.2


class Place(StrEnum):
    """Where a text goes."""

    TOP = "top"
    CENTRE = "center"
    BOTTOM = "bottom"


@dataclass(frozen=True, kw_only=True, slots=True)
class Border(Operation):
    """Put a border around it; the picture keeps its size, the result is larger."""

    width: Length  # 100 % are the shorter side
    colour: str  # as #rrggbb

    def __str__(self) -> str:
        return f"border {self.width} {self.colour}"

    def size_after(self, size: Size) -> Size:
        """Return the size with the border on all sides."""
        width = self._pixels(size)
        return (size[0] + 2 * width, size[1] + 2 * width)

    def apply(self, image: Image.Image) -> Image.Image:
        """Draw it outside of the picture."""
        fill = ImageColor.getcolor(self.colour, image.mode)
        return ImageOps.expand(image, self._pixels(image.size), fill)

    def _pixels(self, size: Size) -> int:
        return max(1, round(self.width.of(min(size))))


@dataclass(frozen=True, kw_only=True, slots=True)
class RoundCorners(Operation):
    """Round the corners off; what was there is transparent."""

    radius: Length  # 100 % are the shorter side; at most half of it is used

    def __str__(self) -> str:
        return f"round corners {self.radius}"

    def apply(self, image: Image.Image) -> Image.Image:
        """Make the corners transparent."""
        shorter = min(image.size)
        radius = max(1, min(round(self.radius.of(shorter)), shorter // 2))
        opaque = _rounded(image.size, radius)
        rounded = image.convert("RGBA")
        rounded.putalpha(ImageChops.darker(rounded.getchannel("A"), opaque))
        return rounded


@dataclass(frozen=True, kw_only=True, slots=True)
class AddText(Operation):
    """Write on it, with an outline, in lines as wide as the picture."""

    text: str  # one line, not empty
    place: Place = Place.BOTTOM
    colour: str = "#ffffff"  # as #rrggbb

    def __str__(self) -> str:
        return f'text "{self.text}" {self.place} {self.colour}'

    def apply(self, image: Image.Image) -> Image.Image:
        """Draw the largest text that fits, at most a ninth of the height a line."""
        width, height = image.size
        margin = min(width, height) // 20
        font, text = _fitted(self.text, width - 2 * margin, height - 2 * margin)
        vertical = {Place.TOP: margin, Place.CENTRE: height / 2, Place.BOTTOM: height - margin}
        anchor = {Place.TOP: "ma", Place.CENTRE: "mm", Place.BOTTOM: "md"}
        ImageDraw.Draw(image).multiline_text(
            (width / 2, vertical[self.place]),
            text,
            fill=self.colour,
            font=font,
            anchor=anchor[self.place],
            align="center",
            stroke_width=max(1, round(font.size / 16)),
            stroke_fill="black" if _is_bright(self.colour) else "white",
        )
        return image


def _rounded(size: Size, radius: int) -> Image.Image:
    """Return a mask that is opaque but for its rounded corners."""
    mask = Image.new("L", size, 255)
    large = radius * _SMOOTH
    corner = Image.new("L", (large, large))
    ImageDraw.Draw(corner).ellipse((0, 0, 2 * large, 2 * large), fill=255)
    corner = corner.resize((radius, radius), Image.Resampling.BOX)
    right, bottom = size[0] - radius, size[1] - radius
    mask.paste(corner, (0, 0))
    mask.paste(ImageOps.mirror(corner), (right, 0))
    mask.paste(ImageOps.flip(corner), (0, bottom))
    mask.paste(ImageOps.flip(ImageOps.mirror(corner)), (right, bottom))
    return mask


def _fitted(text: str, width: int, height: int) -> tuple[FreeTypeFont, str]:
    """Return the largest font in which text fits, and text broken into lines for it."""
    font_of, text = typeface(text)
    size = max(_SMALLEST_FONT, height // 9)
    while True:
        font = font_of(size)
        lines = wrap(text, font, width)
        fits = (
            len(lines) * _LINE_HEIGHT * size <= height
            and max(font.getlength(line) for line in lines) <= width
        )
        if fits or size <= _SMALLEST_FONT:
            return font, "\n".join(lines)
        size = max(_SMALLEST_FONT, int(size * 0.8))


def _is_bright(colour: str) -> bool:
    return int(ImageColor.getcolor(colour, "L")) > 127  # type: ignore[arg-type] # L has one number
