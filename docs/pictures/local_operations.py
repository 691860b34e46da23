# ruff: noqa: INP001 - a script to run by hand, not a package
"""Draw a contact sheet of the local engine's operations, each made by its prompt.

Run `python docs/pictures/local_operations.py OUT.jpg`; it needs the font DejaVu Sans.
"""

import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from imgsvc.imaging.editing import apply
from imgsvc.imaging.intent import understand

PROMPTS = (
    *("(before)", "black and white", "sepia", "invert", "blur it", "sharpen, 300%"),
    *("brighter", "darker", "more contrast", "vivid", "warmer", "cooler"),
    *("make it pop", "rotate left", "rotate by 15 degrees", "mirror", "flip vertically"),
    *("crop to a square", "crop to 16:9", "resize to 100x300", "thumbnail of 150 px"),
    *("a white border", "rounded corners", "posterize to 2 bits", "solarize", "emboss"),
    *("edges", "pencil sketch", "pixelate", "strong vignette"),
    *('text "Wish you were here"', "kühler, mit weißem Rahmen", "noir et blanc, vignettage"),
    *("sepia y esquinas redondeadas", "mais contraste, sem borda", "don't blur, posterize"),
)
COLUMNS, CELL, GAP, LABEL = 6, (225, 150), 12, 22  # pixels
WIDTH = 720  # of the photo that the prompts work on
GROUND = (236, 238, 242)


def sheet() -> Image.Image:
    """Return the contact sheet."""
    rows = -(-len(PROMPTS) // COLUMNS)
    width = COLUMNS * (CELL[0] + GAP) + GAP
    picture = Image.new("RGB", (width, rows * (CELL[1] + LABEL + GAP) + GAP), GROUND)
    draw, font = ImageDraw.Draw(picture), ImageFont.truetype("DejaVuSans.ttf", 12)
    with tempfile.NamedTemporaryFile(suffix=".png") as file:
        with Image.open(files("imgsvc.cli").joinpath("landscape.jpg").open("rb")) as photo:
            photo.thumbnail((WIDTH, WIDTH))
            photo.save(file)
        file.flush()
        for number, prompt in enumerate(PROMPTS):
            row, column = divmod(number, COLUMNS)
            left = GAP + column * (CELL[0] + GAP)
            top = GAP + row * (CELL[1] + LABEL + GAP)
            result = apply(Path(file.name), understand(prompt).operations)
            scaled = result.convert("RGBA")
            scaled.thumbnail(CELL if max(result.size) > WIDTH // 3 else result.size)
            at = (
                left + (CELL[0] - scaled.width) // 2,
                top + LABEL + (CELL[1] - scaled.height) // 2,
            )
            picture.paste(scaled, at, scaled)
            draw.text((left + CELL[0] / 2, top), prompt, fill="black", font=font, anchor="ma")
    return picture


if __name__ == "__main__":
    sheet().save(sys.argv[1], quality=80)
