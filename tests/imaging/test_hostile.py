"""Files made to hurt: each must end as an ImageError, in the process that meets it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from imaging.corpus import CORPUS, TAKEN
from imaging.corpus_bombs import png_bomb
from imaging.corpus_odd import FOREIGN, POINTS, truncations, whole
from imgsvc.errors import ImageError, ImageTooLarge, ImgsvcError
from imgsvc.imaging.config import ImagesConfig
from imgsvc.imaging.formats import ImageFormat
from imgsvc.imaging.gate import inspect
from imgsvc.imaging.ops import invert_with_caption, open_image
from imgsvc.imaging.pool import ImagePool, open_image_pool

with_shared_pool = pytest.mark.asyncio(loop_scope="module")

CONFIG = ImagesConfig(processes=1)
ALL = list(ImageFormat)
HEADER_IS_ENOUGH = [{"image_too_large"}, {"image_too_complex"}]
"""What bombs are refused with, but for those whose text stands behind their pixels."""

TAKE_SECONDS = {"jpeg-100-scans", "webp-animation"}
"""Pictures that are decoded whole."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool() -> AsyncIterator[ImagePool]:
    async with open_image_pool(CONFIG) as pool:
        yield pool


async def answer(pool: ImagePool, path: Path, *, edit: bool) -> str:
    """Return the code of the error that the file leads to, or TAKEN."""
    try:
        await pool.run(inspect, path, ALL, CONFIG.max_pixels)
        if edit:
            await pool.run(invert_with_caption, path, "caption", ImageFormat.PNG)
    except ImgsvcError as exc:
        return exc.code
    return TAKEN


@with_shared_pool
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in TAKE_SECONDS else [])
        for name in CORPUS
    ],
)
async def test_a_bomb_is_refused_by_its_header_and_other_hostile_files_at_the_latest_when_decoded(
    name: str, pool: ImagePool, tmp_path: Path
) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(CORPUS[name].make())
    answers = CORPUS[name].answers
    bomb = answers in HEADER_IS_ENOUGH and name != "png-ztxt-last"
    assert await answer(pool, path, edit=not bomb) in answers


@with_shared_pool
async def test_a_bomb_that_got_past_the_gate_is_not_decoded(
    pool: ImagePool, tmp_path: Path
) -> None:
    path = tmp_path / "bomb"
    path.write_bytes(png_bomb())
    with pytest.raises(ImageTooLarge):
        await pool.run(invert_with_caption, path, "caption", ImageFormat.PNG)


@pytest.mark.parametrize("image_format", ALL)
def test_a_file_cut_short_is_refused_without_telling_where_it_lies(
    image_format: ImageFormat, tmp_path: Path
) -> None:
    path = tmp_path / "cut"
    lengths = set()
    for length, data in truncations(image_format):
        path.write_bytes(data)
        with pytest.raises(ImageError) as caught:
            open_image(path)
        assert str(tmp_path) not in str(caught.value)
        lengths.add(length)
    assert len(lengths) == POINTS


@pytest.mark.parametrize("image_format", ALL)
def test_a_picture_of_the_corpus_is_good_before_it_is_cut(
    image_format: ImageFormat, tmp_path: Path
) -> None:
    path = tmp_path / "whole"
    path.write_bytes(whole(image_format))
    assert inspect(path, ALL, 10**6).format is image_format
    assert open_image(path).size == (96, 64)


@pytest.mark.parametrize("image_format", ALL)
def test_flipped_bits_give_a_picture_or_an_image_error(
    image_format: ImageFormat, tmp_path: Path
) -> None:
    data = whole(image_format)
    path = tmp_path / "flipped"
    for position in range(0, min(len(data), 400), 3):
        flipped = bytearray(data)
        flipped[position] ^= 0xFF
        path.write_bytes(flipped)
        try:
            inspect(path, ALL, 10**6)
            assert open_image(path).mode in {"RGB", "RGBA"}
        except ImageError:
            pass


def test_other_types_are_in_the_corpus() -> None:
    assert {"eps", "psd", "svg", "pdf", "dds", "fits", "icns", "wmf"} <= set(FOREIGN)
