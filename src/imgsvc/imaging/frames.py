"""How many pictures a GIF or TIFF file holds, counted without decoding any.

Pillow counts by seeking through every frame, which takes minutes for a file made to
be slow. Both counters read only block headers and stop at a limit.
"""

import os
import struct
from typing import BinaryIO

from imgsvc.errors import ImageTooComplex

_LARGEST_FILE = 2**40  # bytes; BigTIFF may point further than a file can be positioned
_GIF_SCREEN_BYTES = 13  # signature and logical screen descriptor, without colour table
_GIF_DESCRIPTOR_BYTES = 9  # image descriptor, without its introducer
_MOST_SMALL_BLOCKS = 50_000  # of a GIF: each of 10,000 frames ends with one, and has extensions
_SANE_BLOCK_BYTES = 100  # all other blocks are that large: writers fill them, with 255


def count_gif_frames(file: BinaryIO, limit: int) -> int:
    """Return the number of image descriptors (GIF89a, section 20), at most limit.

    A file that is cut short counts as far as it goes. Raises ImageTooComplex for a file in
    a great many blocks, which would take seconds to count.
    """
    blocks = _MOST_SMALL_BLOCKS + file.seek(0, os.SEEK_END) // _SANE_BLOCK_BYTES
    file.seek(0)
    _skip_colour_table(file, file.read(_GIF_SCREEN_BYTES)[10:11])
    frames = 0
    while frames < limit:
        introducer = file.read(1)
        if introducer == b",":
            frames += 1
            _skip_colour_table(file, file.read(_GIF_DESCRIPTOR_BYTES)[8:9])
            file.seek(1, os.SEEK_CUR)  # the LZW minimum code size
        elif introducer == b"!":
            file.seek(1, os.SEEK_CUR)  # the extension's label
        else:
            break
        blocks = _skip_sub_blocks(file, blocks)
    return frames


def count_tiff_frames(file: BinaryIO, limit: int) -> int:
    """Return the number of image file directories (TIFF 6.0, section 2), at most limit.

    BigTIFF's wider fields are understood. A chain that loops counts each directory once.
    """
    file.seek(0)
    header = file.read(16)
    order = "<" if header[:2] == b"II" else ">"
    big = b"+" in header[2:4]  # BigTIFF has version 43, TIFF 42
    count, entry_size, offset = ("Q", 20, "Q") if big else ("H", 12, "I")
    position = _unpack(order + offset, header[8:] if big else header[4:])
    seen: set[int] = set()
    while position and position <= _LARGEST_FILE and position not in seen and len(seen) < limit:
        file.seek(position)
        entries = _unpack(order + count, file.read(struct.calcsize(count)))
        if entries is None:
            break
        seen.add(position)
        file.seek(min(file.tell() + entries * entry_size, _LARGEST_FILE))
        position = _unpack(order + offset, file.read(struct.calcsize(offset)))
    return len(seen)


def _skip_colour_table(file: BinaryIO, flags: bytes) -> None:
    """Skip the table that the flag byte announces; flags is empty in a file cut short."""
    if flags and flags[0] & 0x80:
        file.seek(3 * 2 ** ((flags[0] & 7) + 1), os.SEEK_CUR)


def _skip_sub_blocks(file: BinaryIO, most: int) -> int:
    """Skip the blocks up to the empty one; return how many more there may be."""
    while (size := file.read(1)) not in {b"", b"\x00"}:
        file.seek(size[0], os.SEEK_CUR)
        most -= 1
        if most < 0:
            raise ImageTooComplex("The GIF file has too many small blocks. Save it anew.")
    return most


def _unpack(layout: str, data: bytes) -> int | None:
    """Return the number at the start of data, or None if data is too short."""
    size = struct.calcsize(layout)
    if len(data) < size:
        return None
    value: int = struct.unpack(layout, data[:size])[0]
    return value
