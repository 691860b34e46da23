"""Masks as servers want them that tell otherwise which part may change."""

import io
from pathlib import Path
from typing import Literal

from PIL import Image, ImageChops

from imgsvc.imaging.formats import ImageFormat
from imgsvc.imaging.operations import Size
from imgsvc.imaging.reading import open_picture

MaskEdits = Literal["transparent", "opaque", "white"]
"""Which part of a mask may change."""


def mask_that_edits(
    path: Path, part: Literal["opaque", "white"], size: Size | None = None
) -> bytes:
    """Return the mask at path as a PNG file whose opaque, or white, part may change.

    The mask at path is a PNG that is transparent there. What is half transparent stays
    so. It is scaled to size, if given. Belongs into an image process; raises what
    open_picture raises.
    """
    with open_picture(path, ImageFormat.PNG) as mask:
        may_change = ImageChops.invert(mask.convert("RGBA").getchannel("A"))
    if size is not None:
        may_change = may_change.resize(size, Image.Resampling.BILINEAR)
    if part == "opaque":
        white = Image.new("L", may_change.size, 255)
        may_change = Image.merge("LA", (white, may_change))
    output = io.BytesIO()
    may_change.save(output, format="PNG")
    return output.getvalue()
