"""What the local engine can do to a picture: small steps, each a pure Pillow function.

They work on the decoded picture one after the other; nothing is encoded in between.
"""

from imgsvc.imaging.operations.base import Length, Operation, Size, Unit
from imgsvc.imaging.operations.colour import (
    Adjust,
    Enhance,
    Grayscale,
    Invert,
    Posterize,
    Quality,
    Sepia,
    Solarize,
)
from imgsvc.imaging.operations.convert import Convert
from imgsvc.imaging.operations.drawing import AddText, Border, Place, RoundCorners
from imgsvc.imaging.operations.effects import (
    Blur,
    Edges,
    Emboss,
    Pixelate,
    Sharpen,
    Sketch,
    Vignette,
)
from imgsvc.imaging.operations.geometry import Axis, Crop, Flip, Resize, Rotate, Thumbnail

__all__ = [
    "AddText",
    "Adjust",
    "Axis",
    "Blur",
    "Border",
    "Convert",
    "Crop",
    "Edges",
    "Emboss",
    "Enhance",
    "Flip",
    "Grayscale",
    "Invert",
    "Length",
    "Operation",
    "Pixelate",
    "Place",
    "Posterize",
    "Quality",
    "Resize",
    "Rotate",
    "RoundCorners",
    "Sepia",
    "Sharpen",
    "Size",
    "Sketch",
    "Solarize",
    "Thumbnail",
    "Unit",
    "Vignette",
]
