"""Which font a caller's text is drawn with."""

import unicodedata
from collections.abc import Callable
from functools import cache

from PIL import ImageFont
from PIL.ImageFont import FreeTypeFont

_WIDE_FONTS = ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "LiberationSans-Regular.ttf")
"""Fonts with many letters that Linux machines often have, the best first."""


def typeface(text: str) -> tuple[Callable[[int], FreeTypeFont], str]:
    """Return a function from a size in pixels to a font, and text as that font can draw it.

    Pillow's own font has ASCII alone. Other text takes a font of this machine; where
    there is none, letters lose their accents.
    """
    if text.isascii():
        return default_font, text
    file = _wide_font()
    if file is not None:
        return lambda size: ImageFont.truetype(file, size), text
    plain = unicodedata.normalize("NFKD", text.replace("ß", "ss"))
    return default_font, plain.encode("ascii", "ignore").decode() or "?"


def default_font(size: int) -> FreeTypeFont:
    """Return Pillow's own font, the same on every machine, for a size in pixels."""
    font = ImageFont.load_default(size)
    if not isinstance(font, FreeTypeFont):  # only a Pillow without FreeType has another one
        raise TypeError("Pillow was built without FreeType")
    return font


@cache
def _wide_font() -> str | None:
    """Return the file of the first wide font that Pillow finds in the system's folders."""
    for name in _WIDE_FONTS:
        try:
            return str(ImageFont.truetype(name, 10).path)
        except OSError:
            continue
    return None
