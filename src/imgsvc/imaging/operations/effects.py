"""Operations that mix each pixel with its neighbours; none changes size or alpha."""

from dataclasses import dataclass

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageOps

from imgsvc.imaging.operations.base import Length, Operation, filtered, number, on_colours

_STRONGEST_BLUR = 0.04
"""Radius of a blur of 100 %, as a share of the shorter side."""

_LINES = 5
"""By how much a sketch darkens what is darker than its surroundings."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Blur(Operation):
    """Blur."""

    radius: Length  # 100 % are 4 % of the shorter side

    def __str__(self) -> str:
        return f"blur {self.radius}"

    def apply(self, image: Image.Image) -> Image.Image:
        """Mix by a Gaussian curve; the radius is its standard deviation."""
        shorter = min(image.size)
        radius = min(self.radius.of(_STRONGEST_BLUR * shorter), shorter)
        return filtered(image, lambda colours: colours.filter(ImageFilter.GaussianBlur(radius)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Sharpen(Operation):
    """Sharpen."""

    percent: float

    def __str__(self) -> str:
        return f"sharpen {number(self.percent)}%"

    def apply(self, image: Image.Image) -> Image.Image:
        """Apply an unsharp mask whose radius follows the shorter side."""
        radius = max(1.0, min(image.size) / 1000)
        mask = ImageFilter.UnsharpMask(radius, round(self.percent), threshold=2)
        return filtered(image, lambda colours: colours.filter(mask))


@dataclass(frozen=True, kw_only=True, slots=True)
class Emboss(Operation):
    """Make a relief."""

    def __str__(self) -> str:
        return "emboss"

    def apply(self, image: Image.Image) -> Image.Image:
        """Turn differences between neighbours into light and shadow on grey."""
        return on_colours(
            image,
            lambda colours: _framed(
                ImageOps.grayscale(colours).filter(ImageFilter.EMBOSS), "#808080"
            ),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Edges(Operation):
    """Keep the edges alone, bright on black."""

    def __str__(self) -> str:
        return "edges"

    def apply(self, image: Image.Image) -> Image.Image:
        """Turn differences between neighbours into light."""
        return on_colours(
            image, lambda colours: _framed(colours.filter(ImageFilter.FIND_EDGES), "black")
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Sketch(Operation):
    """Draw it with a pencil on white paper."""

    def __str__(self) -> str:
        return "sketch"

    def apply(self, image: Image.Image) -> Image.Image:
        """Darken what is darker than its surroundings."""
        return on_colours(image, _sketched)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pixelate(Operation):
    """Show it in large square blocks."""

    block: Length  # side of a block; 100 % are the shorter side

    def __str__(self) -> str:
        return f"pixelate {self.block}"

    def apply(self, image: Image.Image) -> Image.Image:
        """Give each block its mean colour."""
        shorter = min(image.size)
        side = max(1, min(round(self.block.of(shorter)), shorter))
        return filtered(image, lambda colours: _in_blocks(colours, side))


@dataclass(frozen=True, kw_only=True, slots=True)
class Vignette(Operation):
    """Darken the corners."""

    percent: float  # how dark they become; 100 % is black

    def __str__(self) -> str:
        return f"vignette {number(self.percent)}%"

    def apply(self, image: Image.Image) -> Image.Image:
        """Lay black over it, more of it towards the corners."""
        darkest = 2.55 * self.percent
        # The gradient is the distance from the middle: 0 there, 181 half way to 255 in the corners.
        curve = [round(darkest * (value / 255) ** 2.5) for value in range(256)]
        mask = Image.radial_gradient("L").point(curve).resize(image.size)
        black = Image.new("RGB", image.size)
        return on_colours(image, lambda colours: Image.composite(black, colours, mask))


def _framed(image: Image.Image, colour: str) -> Image.Image:
    """Return image with its outermost pixels in colour: filters leave them as they were."""
    ImageDraw.Draw(image).rectangle((0, 0, image.width - 1, image.height - 1), outline=colour)
    return image


def _sketched(colours: Image.Image) -> Image.Image:
    grey = ImageOps.grayscale(colours)
    radius = max(2.0, min(grey.size) / 150)
    surroundings = grey.filter(ImageFilter.GaussianBlur(radius))
    return ImageOps.invert(ImageChops.subtract(surroundings, grey, scale=1 / _LINES))


def _in_blocks(image: Image.Image, side: int) -> Image.Image:
    # Blocks at the right and bottom edges may be narrower: scaled up, they would be displaced.
    small = image.reduce(side)
    large = small.resize((small.width * side, small.height * side), Image.Resampling.NEAREST)
    return large.crop((0, 0, *image.size))
