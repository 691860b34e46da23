import io
from pathlib import Path

import pytest
from PIL import Image

from imgsvc.imaging.masks import mask_that_edits


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("size", [None, (80, 40)])
def test_a_mask_becomes_white_where_it_is_transparent(
    mode: str, size: tuple[int, int] | None, tmp_path: Path
) -> None:
    mask = Image.new("RGBA", (40, 20), (10, 20, 30, 255))
    mask.paste((200, 0, 0, 0), (0, 0, 20, 20))
    mask.convert(mode).save(tmp_path / "mask", "PNG")
    with Image.open(io.BytesIO(mask_that_edits(tmp_path / "mask", "white", size))) as white:
        assert (white.mode, white.size) == ("L", size or (40, 20))
        assert (white.getpixel((2, 2)), white.getpixel((white.width - 3, 2))) == (255, 0)
