"""Pictures in files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from standins.pictures import encoded


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a picture to a file and returns its path."""

    def write(picture: Image.Image, pillow_format: str, **options: Any) -> Path:
        path = tmp_path / f"picture-{len(list(tmp_path.iterdir()))}"
        path.write_bytes(encoded(picture, pillow_format, **options))
        return path

    return write
