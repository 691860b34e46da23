"""Pictures for the tests of this folder."""

import io
from typing import Any

from PIL import Image


def encoded(
    kind: str, mode: str = "RGB", size: tuple[int, int] = (48, 32), **options: Any
) -> bytes:
    """Return a picture file, red on its left half and white on its right."""
    image = Image.new("RGB", size, "white")
    image.paste("red", (0, 0, size[0] // 2, size[1]))
    if mode.startswith("I;16"):
        image = image.convert("L")
    out = io.BytesIO()
    image.convert(mode).save(out, kind, **options)
    return out.getvalue()
