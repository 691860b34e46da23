"""Pictures of every kind, made on the spot."""

import base64
import io
from typing import Any

from PIL import Image


def gradient(mode: str, size: tuple[int, int] = (60, 40)) -> Image.Image:
    """Return a colourful picture of any Pillow mode; those with alpha fade to the left."""
    grey = Image.linear_gradient("L").resize(size)
    colours = Image.merge("RGB", (grey, grey.rotate(180), Image.radial_gradient("L").resize(size)))
    alpha = Image.linear_gradient("L").rotate(90).resize(size)
    if mode in {"LA", "RGBA"}:
        picture = colours.convert(mode)
        picture.putalpha(alpha)
        return picture
    if mode == "P+transparency":
        picture = colours.quantize(16)
        picture.info["transparency"] = 0
        return picture
    if mode == "I;16":
        return grey.convert("I").point(lambda value: value * 257 + 0).convert("I;16")
    if mode == "LAB":
        return Image.merge("LAB", colours.split())
    return colours.quantize(16) if mode == "P" else colours.convert(mode)


def encoded(picture: Image.Image, pillow_format: str, **options: Any) -> bytes:
    """Return picture as a file of the named format."""
    output = io.BytesIO()
    picture.save(output, format=pillow_format, **options)
    return output.getvalue()


def picture(width: int = 64, height: int = 48, *, kind: str = "PNG", mode: str = "RGB") -> bytes:
    """Return a small image file to send."""
    return encoded(gradient(mode, (width, height)), kind)


def as_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
