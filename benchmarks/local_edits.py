"""How many local edits one image process does, beside a bare Pillow script doing the same.

Both open the same JPEG, work on it and save it with the same options, one after the other.
Seconds are those of the CPU, so that what else runs on the machine counts little; those that
the server's process spends on an edit are in them. What prompts take to be read is measured as
well: no prompt should take 5 ms.

    python benchmarks/local_edits.py [--edits 8]
"""

import argparse
import asyncio
import io
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from time import process_time

from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from imgsvc.imaging.config import ImagesConfig
from imgsvc.imaging.editing import Unknown, edit_by_prompt
from imgsvc.imaging.formats import ImageFormat
from imgsvc.imaging.intent import understand
from imgsvc.imaging.pool import ImagePool, open_image_pool

ROUNDS = 3
"""Turns of each side; the best edit counts, because others use the machine too."""

SIDE = 3000  # pixels of the picture's longer side; the shorter one is two thirds of it

BARE: Mapping[str, Callable[[Image.Image], Image.Image]] = {
    "black and white": lambda image: ImageOps.grayscale(image).convert("RGB"),
    "more contrast by 20%": lambda image: ImageEnhance.Contrast(image).enhance(1.2),
    "blur it by 10 px": lambda image: image.filter(ImageFilter.GaussianBlur(10)),
    "rotate left": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "posterize to 3 bits": lambda image: ImageOps.posterize(image, 3),
    "resize to 50%": lambda image: image.resize(
        (image.width // 2, image.height // 2), Image.Resampling.LANCZOS
    ),
    "crop to a square, mirror it, add a 50 px white border": lambda image: ImageOps.expand(
        ImageOps.mirror(ImageOps.fit(image, (image.height, image.height))), 50, "white"
    ),
}
LONGEST = 32_000  # characters of a prompt
PROSE = "A quick brown fox jumps over the lazy dog, and people walk along the bridge by the river. "
PROMPTS = (
    "rotate left and add a red border",
    "Make the sky glow like a sunset",
    (PROSE * LONGEST)[:5000],
    *(
        (piece * LONGEST)[:LONGEST]
        for piece in (PROSE, "1x", '"', "rotate 1 ", "blur, ", "300x200,", "a\u0315\u0300")
    ),
)


def photo() -> Image.Image:
    """Return a picture with soft and hard parts."""
    soft = Image.radial_gradient("L").resize((SIDE, SIDE * 2 // 3))
    hard = Image.effect_noise(soft.size, 40)
    return Image.merge("RGB", (soft, hard, ImageOps.invert(soft)))


def bare(path: str, prompt: str, edits: int) -> None:
    """Edit the picture so often, and print the fewest seconds of the CPU that one took."""
    seconds = []
    for _ in range(edits):
        began = process_time()
        with Image.open(path) as image:
            result = BARE[prompt](image.convert("RGB"))
        result.save(io.BytesIO(), "JPEG", quality=90)
        seconds.append(process_time() - began)
    print(min(seconds))


async def pooled(pool: ImagePool, path: Path, prompt: str, edits: int) -> float:
    """Return the fewest seconds of the CPU that one of so many edits took."""
    seconds = []
    for _ in range(edits):
        began = await pool.run(process_time) + process_time()
        edited = await pool.run(
            edit_by_prompt,
            path,
            prompt,
            ImageFormat.JPEG,
            reason="",
            unknown=Unknown.REFUSE,
            watermark=False,
        )
        assert edited.operations
        seconds.append(process_time() + await pool.run(process_time) - began)
    return min(seconds)


async def measure(edits: int) -> None:
    """Print edits a second of both sides, and what a prompt takes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "photo.jpg")
        photo().save(path, quality=90)
        async with open_image_pool(ImagesConfig(), processes=1) as pool:
            print(f"{'prompt':55} {'bare':>8} {'pool':>8}  edits a CPU second")
            for prompt in BARE:
                bares, pools = [], []
                for _ in range(ROUNDS):
                    bares.append(await asyncio.to_thread(run_bare, path, prompt, edits))
                    pools.append(await pooled(pool, path, prompt, edits))
                one, other = 1 / min(bares), 1 / min(pools)
                print(f"{prompt:55} {one:8.2f} {other:8.2f}  {100 * other / one:.0f} %")
    for prompt in PROMPTS:
        seconds = min(time_reading(prompt) for _ in range(5))
        print(f"{prompt[:40]!r} ({len(prompt):,} characters) is read in {1000 * seconds:.3f} ms")


def run_bare(path: Path, prompt: str, edits: int) -> float:
    """Return what bare prints in a process of its own."""
    command = [sys.executable, __file__, "--bare", str(path), prompt, "--edits", str(edits)]
    return float(subprocess.check_output(command, timeout=300))  # noqa: S603 - this very file


def time_reading(prompt: str) -> float:
    """Return the seconds of the CPU that understanding the prompt takes."""
    began = process_time()
    understand(prompt)
    return process_time() - began


def main() -> None:
    """Run one side or the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--edits", type=int, default=8)
    parser.add_argument("--bare", nargs=2, metavar=("FILE", "PROMPT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.bare:
        path, prompt = arguments.bare
        bare(path, prompt, arguments.edits)
    else:
        asyncio.run(measure(arguments.edits))


if __name__ == "__main__":
    main()
