"""Golden pictures: what each operation of the local engine makes of one drawn picture.

`python tests/imaging/golden_pictures.py` draws them anew; look at each before you commit it.
"""

from pathlib import Path

from PIL import Image, ImageDraw

from imgsvc.imaging.editing import apply
from imgsvc.imaging.intent import understand

FOLDER = Path(__file__).parent / "golden"
SIZE = (96, 64)

PROMPTS = {
    "grayscale": "grayscale",
    "sepia": "sepia",
    "invert": "invert",
    "blur": "blur",
    "sharpen": "sharpen 300%",
    "brighten": "brighter",
    "darken": "darker",
    "contrast": "more contrast",
    "saturation": "more saturation",
    "warm": "warmer",
    "cool": "cooler",
    "enhance": "make it pop",
    "rotate-left": "rotate left",
    "rotate-30": "rotate by 30 degrees",
    "flip-horizontal": "mirror",
    "flip-vertical": "flip vertically",
    "crop-square": "crop to a square",
    "crop-16-9": "crop to 16:9",
    "resize": "resize to 48x48",
    "thumbnail": "thumbnail of 40 px",
    "border": "a 6 px red border",
    "round-corners": "rounded corners",
    "posterize": "posterize to 2 bits",
    "solarize": "solarize",
    "emboss": "emboss",
    "edges": "edges",
    "sketch": "sketch",
    "pixelate": "pixelate 8 px",
    "vignette": "vignette",
    "text": 'add the text "Hello" in yellow',
}


def drawn() -> Image.Image:
    """Return the picture that all begin with: sky, sun, hills and a house."""
    picture = Image.new("RGB", SIZE)
    shades = Image.linear_gradient("L").resize(SIZE)
    sky = Image.composite(
        Image.new("RGB", SIZE, (190, 215, 240)), Image.new("RGB", SIZE, (70, 120, 190)), shades
    )
    picture.paste(sky)
    draw = ImageDraw.Draw(picture)
    draw.ellipse((10, 6, 26, 22), fill=(250, 210, 80))
    draw.polygon([(0, 44), (30, 26), (62, 46), (62, 63), (0, 63)], fill=(84, 130, 90))
    draw.polygon([(30, 52), (74, 30), (95, 40), (95, 63), (30, 63)], fill=(52, 92, 62))
    draw.rectangle((58, 40, 80, 58), fill=(225, 205, 170))
    draw.polygon([(54, 40), (69, 28), (84, 40)], fill=(170, 60, 50))
    draw.rectangle((66, 48, 72, 58), fill=(90, 60, 40))
    return picture


def made(prompt: str, original: Path) -> Image.Image:
    """Return what the prompt makes of the picture file."""
    return apply(original, understand(prompt).operations)


def main() -> None:
    """Draw all of them into the folder."""
    FOLDER.mkdir(exist_ok=True)
    original = FOLDER / "original.png"
    drawn().save(original)
    for name, prompt in PROMPTS.items():
        made(prompt, original).save(FOLDER / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
