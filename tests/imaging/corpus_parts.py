"""The bricks of hostile files: chunks, segments and directories with any content."""

import struct
import zlib

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_END = b"\0\0\0\0IEND\xaeB`\x82"


def chunk(name: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG file with its checksum."""
    crc = zlib.crc32(name + data).to_bytes(4, "big")
    return len(data).to_bytes(4, "big") + name + data + crc


def png(
    width: int, height: int, *chunks: bytes, depth: int = 1, colour: int = 0, pixels: bytes = b""
) -> bytes:
    """Return a PNG file; `pixels` are its rows before compression, a filter byte each."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(pixels, 9)) if pixels else b""
    return PNG_SIGNATURE + header + b"".join(chunks) + data + PNG_END


def small_png(*chunks: bytes) -> bytes:
    """Return a black PNG of 8 x 8 pixels with these chunks before its pixels."""
    return png(8, 8, *chunks, pixels=bytes(16))


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    """Return a WebP container."""
    body = b"".join(
        name + len(data).to_bytes(4, "little") + data + bytes(len(data) % 2)
        for name, data in chunks
    )
    return b"RIFF" + (len(body) + 4).to_bytes(4, "little") + b"WEBP" + body


def segment(marker: int, data: bytes) -> bytes:
    """Return a segment of a JPEG file."""
    return bytes((0xFF, marker)) + (len(data) + 2).to_bytes(2, "big") + data


def tiff(*entries: tuple[int, int, int, int], following: int = 0, data: bytes = b"") -> bytes:
    """Return a little-endian TIFF of one directory: tag, type, count and value of each entry."""
    table = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return (
        b"II*\0\x08\0\0\0"
        + len(entries).to_bytes(2, "little")
        + table
        + following.to_bytes(4, "little")
        + data
    )


def tiff_tags(width: int, height: int) -> list[tuple[int, int, int, int]]:
    """Return the entries of a grey TIFF picture whose pixels begin at byte 8."""
    return [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 1, 8),
        (259, 3, 1, 1),
        (262, 3, 1, 1),
        (273, 4, 1, 8),
        (277, 3, 1, 1),
        (278, 4, 1, height),
        (279, 4, 1, width * height % 2**32),
    ]
