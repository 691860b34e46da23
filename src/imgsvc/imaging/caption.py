"""A caption that can be read on any picture, whatever its size, shape and colours."""

import math
from dataclasses import dataclass

from PIL import Image, ImageDraw
from PIL.ImageFont import FreeTypeFont

from imgsvc.imaging.fonts import default_font

_MIN_FONT_SIZE = 14
"""In pixels; capital letters are then 10 pixels high, the least that reads well."""

_LARGEST_SHARE = 0.25
"""How much of the picture's height the caption may cover before it moves below it."""

_BACKGROUND = (24, 24, 27)
_EDGE = (250, 176, 5)  # amber, so that the band stands out from a black picture too
_TEXT = (255, 255, 255)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Layout:
    """A caption broken into lines for one font and width; lengths in pixels."""

    font: FreeTypeFont
    lines: list[str]
    width: int  # of the band
    height: int  # of the band
    edge: int  # thickness of the coloured line on top of the band
    padding: int


def draw_caption(image: Image.Image, caption: str) -> Image.Image:
    """Return image with caption on an opaque band along its bottom.

    image is RGB or RGBA and may be drawn on. Where the picture is too narrow for its
    text or too low for the band, it is returned on a larger canvas instead, so that
    the text keeps its size and the picture stays visible.
    """
    layout = _lay_out(caption, image.width, _font_size(image.width, image.height))
    if layout.height > image.height * _LARGEST_SHARE or layout.width > image.width:
        image = _extend(image, layout)
    _draw_band(ImageDraw.Draw(image), image.width, image.height, layout)
    return image


def _font_size(width: int, height: int) -> int:
    """Return a font size that follows the shorter side, and the longer one within reason."""
    short, long = sorted((width, height))
    return round(max(_MIN_FONT_SIZE, 0.035 * short, min(0.012 * long, 0.1 * short)))


def _lay_out(caption: str, width: int, size: int) -> _Layout:
    font = default_font(size)
    padding = round(size * 0.5)
    longest_word = max((font.getlength(word) for word in caption.split()), default=0)
    width = max(width, math.ceil(longest_word) + 2 * padding)
    lines = wrap(caption, font, width - 2 * padding)
    edge = max(2, round(size * 0.12))
    return _Layout(
        font=font,
        lines=lines,
        width=width,
        height=edge + 2 * padding + len(lines) * _line_height(font),
        edge=edge,
        padding=padding,
    )


def wrap(caption: str, font: FreeTypeFont, width: int) -> list[str]:
    """Break caption between words into lines of at most width pixels."""
    lines: list[str] = []
    for word in caption.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _line_height(font: FreeTypeFont) -> int:
    return round(font.size * 1.2)


def _extend(image: Image.Image, layout: _Layout) -> Image.Image:
    """Return a canvas with the picture centred on top and room for the band below it."""
    canvas = Image.new(image.mode, (layout.width, image.height + layout.height), _BACKGROUND)
    canvas.paste(image, ((layout.width - image.width) // 2, 0))
    return canvas


def _draw_band(draw: ImageDraw.ImageDraw, width: int, height: int, layout: _Layout) -> None:
    top = height - layout.height
    draw.rectangle((0, top, width, height), fill=_BACKGROUND)
    draw.rectangle((0, top, width, top + layout.edge - 1), fill=_EDGE)
    line_height = _line_height(layout.font)
    first = top + layout.edge + layout.padding + line_height // 2
    for number, line in enumerate(layout.lines):
        at = (width / 2, first + number * line_height)
        draw.text(at, line, font=layout.font, fill=_TEXT, anchor="mm")
