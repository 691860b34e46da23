"""How many pieces a file is made of, looked at before a decoder does.

Pillow walks through chunks, segments and strips in Python, some microseconds each, and libjpeg
through all pixels once a scan: a file of a few hundred kilobytes can keep it busy for minutes.
Pictures that were made to be seen have a small part of what is allowed here.
"""

import mmap
import re
import struct
from pathlib import Path

from imgsvc.errors import ImageTooComplex
from imgsvc.imaging.formats import ImageFormat
from imgsvc.imaging.frames import count_gif_frames

MAX_PIECES = 30_000
"""Chunks of a PNG, segments of a JPEG, or strips or tiles of a TIFF picture."""

MAX_SCANS = 100
"""Scans of a JPEG; progressive ones have about ten, and four if they are sequential."""

_PNG_SIGNATURE_BYTES = 8
_PNG_AROUND_BYTES = 12  # a chunk's length, name and checksum

# In the data of a scan 0xFF stands before 0, a restart marker or another 0xFF (T.81, B.1.1).
_JPEG_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]", re.DOTALL)
_JPEG_END, _JPEG_SCAN = 0xD9, 0xDA

_TIFF_OFFSETS = frozenset({273, 324})  # of strips and of tiles (TIFF 6.0, sections 8 and 15)
_TIFF_SIZES = (1, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 1, 1, 8, 8, 8)
"""Bytes of a value by its type (TIFF 6.0, section 2; BigTIFF); the first is no type."""


def check_pieces(path: Path, image_format: ImageFormat) -> None:
    """Raise ImageTooComplex if the file has more pieces than any sane one.

    A file that is cut short or damaged counts as far as it can be read.
    """
    check = _CHECKS.get(image_format)
    with path.open("rb") as file:
        if image_format is ImageFormat.GIF:
            count_gif_frames(file, 1)  # its blocks; the gate counts the other frames
        elif check is not None:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                check(data)


def _check_png(data: mmap.mmap) -> None:
    position = _PNG_SIGNATURE_BYTES
    for _ in range(MAX_PIECES):
        header = data[position : position + 8]
        if len(header) < 8 or header.endswith(b"IEND"):
            return
        position += _PNG_AROUND_BYTES + int.from_bytes(header[:4], "big")
    raise ImageTooComplex(f"The PNG file has more than {MAX_PIECES:,} chunks. Save it anew.")


def _check_jpeg(data: mmap.mmap) -> None:
    position = scans = 0
    for _ in range(MAX_PIECES):
        found = _JPEG_MARKER.search(data, position)
        if found is None:
            return
        start = found.end()
        marker = data[start - 1]
        if marker == _JPEG_END:
            return
        scans += marker == _JPEG_SCAN
        if scans > MAX_SCANS:
            raise ImageTooComplex(f"The JPEG file has more than {MAX_SCANS} scans. Save it anew.")
        position = start + int.from_bytes(data[start : start + 2], "big")
    raise ImageTooComplex(f"The JPEG file has more than {MAX_PIECES:,} segments. Save it anew.")


def _check_tiff(data: mmap.mmap) -> None:
    """Look at the first directory: the pixels of no other are ever decoded."""
    order = "<" if data[:2] == b"II" else ">"
    big = b"+" in data[2:4]  # BigTIFF has version 43, TIFF 42
    try:
        (start,) = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
        (entries,) = struct.unpack_from(order + ("Q" if big else "H"), data, start)
        entry = struct.Struct(order + ("HHQ8x" if big else "HHI4x"))
        table = memoryview(data)[start + (8 if big else 2) :]
        with table:
            _check_tiff_entries(
                table, entry, min(entries, len(table) // entry.size), most_bytes=2 * len(data)
            )
    except (struct.error, OverflowError):
        return  # cut short, or said to go on where no file does


def _check_tiff_entries(
    table: memoryview, entry: struct.Struct, entries: int, *, most_bytes: int
) -> None:
    values = 0
    if entries > MAX_PIECES:
        raise ImageTooComplex(f"The TIFF file has more than {MAX_PIECES:,} tags. Save it anew.")
    with table[: entries * entry.size] as rows:
        for tag, kind, count in entry.iter_unpack(rows):
            values += count * _TIFF_SIZES[kind if kind < len(_TIFF_SIZES) else 0]
            if tag in _TIFF_OFFSETS and count > MAX_PIECES:
                raise ImageTooComplex(
                    f"The TIFF file has more than {MAX_PIECES:,} strips or tiles. Save it anew."
                )
    if values > most_bytes:  # some writers let two tags share their values
        raise ImageTooComplex(
            "The tags of the TIFF file claim more data than it has. Save it anew."
        )


_CHECKS = {
    ImageFormat.PNG: _check_png,
    ImageFormat.JPEG: _check_jpeg,
    ImageFormat.TIFF: _check_tiff,
}
