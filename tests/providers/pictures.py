"""Pictures for the tests of this folder."""

import io
import zlib
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


def with_extra_chunk(content: bytes, data: bytes) -> bytes:
    """Return a PNG, JPEG or WebP file with data where it carries C2PA's, which readers skip."""
    if content.startswith(b"\x89PNG"):
        chunk = b"caBX" + data
        framed = len(data).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
        return content[:33] + framed + content[33:]  # behind IHDR
    if content.startswith(b"\xff\xd8"):
        pieces = (data[start : start + 65_000] for start in range(0, len(data), 65_000))
        segments = (b"\xff\xeb" + (len(piece) + 2).to_bytes(2, "big") + piece for piece in pieces)
        return content[:2] + b"".join(segments) + content[2:]
    chunk = b"C2PA" + len(data).to_bytes(4, "little") + data + bytes(len(data) % 2)
    return b"RIFF" + (len(content) - 8 + len(chunk)).to_bytes(4, "little") + content[8:] + chunk
