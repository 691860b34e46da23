"""Small files that ask for much memory or time."""

import struct
import zlib

from PIL import Image

from imaging.corpus_parts import chunk, png, riff, segment, small_png, tiff, tiff_tags
from standins.pictures import encoded, gradient

MIB = 2**20


def png_bomb() -> bytes:
    """Return a black PNG of 13300 x 13300 pixels: 177 million of them in some kilobytes."""
    return png(13_300, 13_300, pixels=bytes((13_300 // 8 + 2) * 13_300))


def colourful_png_bomb() -> bytes:
    """Return the same with 16 bits a channel: 1.4 GB once decoded, and only a header here."""
    return png(13_300, 13_300, chunk(b"IDAT", b""), depth=16, colour=6)


def webp_bomb() -> bytes:
    """Return the header of a lossless WebP of 12000 x 12000 pixels."""
    size = (11_999 | 11_999 << 14).to_bytes(4, "little")
    return riff((b"VP8L", b"\x2f" + size + bytes(995)))


def webp_animation(frames: int, side: int) -> bytes:
    """Return an animated WebP whose canvas is that large."""
    pictures = [
        Image.new("RGB", (side, side), (0, number * 70 % 256, 0)) for number in range(frames)
    ]
    return encoded(pictures[0], "WEBP", save_all=True, append_images=pictures[1:], method=0)


def webp_canvas_bomb() -> bytes:
    """Return an animation of small frames on a canvas of 16 million x 16 million pixels."""
    data = bytearray(webp_animation(2, 16))
    data[24:30] = b"\xff" * 6  # VP8X: width and height less one, in 24 bits each
    return bytes(data)


def gif_of(frames: int, side: int) -> bytes:
    """Return a GIF whose screen is that large, with frames of one pixel."""
    data = encoded(Image.new("P", (1, 1)), "GIF")
    start = data.index(b",", 13)
    screen = data[:6] + struct.pack("<HH", side, side) + data[10:start]
    return screen + data[start:-1] * frames + b";"


def gif_of_tiny_blocks() -> bytes:
    """Return a GIF of 25 MB with a comment in blocks of one byte."""
    data = encoded(Image.new("P", (1, 1)), "GIF")
    start = data.index(b",", 13)
    return data[:start] + b"!\xfe" + b"\x01x" * 12_500_000 + b"\0" + data[start:]


def gif_of_tiny_pixel_blocks() -> bytes:
    """Return a GIF whose pixels come in 10 million blocks."""
    data = encoded(Image.new("P", (1, 1)), "GIF")
    start = data.index(b",", 13)
    return data[: start + 11] + b"\x01\0" * 10_000_000 + b"\0;"


def apng(frames: int, side: int) -> bytes:
    """Return an APNG that says it has so many frames, and holds one."""
    control = chunk(b"acTL", struct.pack(">II", frames, 0))
    frame = chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, side, side, 0, 0, 1, 10, 0, 0))
    return png(side, side, control, frame, pixels=bytes((side // 8 + 1) * side))


def tiff_bomb() -> bytes:
    return tiff(*tiff_tags(60_000, 60_000), data=bytes(64))


def tiff_with_a_huge_tag() -> bytes:
    """Return a TIFF with a tag of 4 billion values."""
    return tiff(*tiff_tags(8, 8), (0x8769, 13, 2**32 - 1, 8), (700, 12, 2**32 - 1, 8))


def tiff_with_huge_strips() -> bytes:
    """Return a TIFF of two million strips that all lie at the same place."""
    tags = [tag for tag in tiff_tags(8, 8) if tag[0] not in {273, 278, 279}]
    count, start = 2_000_000, 8 + 2 + 12 * (len(tags) + 3) + 4
    strips = [(273, 4, count, start), (278, 4, 1, 1), (279, 4, count, start)]
    return tiff(*tags, *strips, data=b"\x08\0\0\0" * count)


def tiff_of_loops() -> bytes:
    return tiff(*tiff_tags(8, 8), following=8, data=bytes(64))


def tiff_of_many_directories() -> bytes:
    """Return a TIFF with a chain of 30,000 directories of one entry."""
    links = b"".join(
        struct.pack("<HHHIII", 1, 256, 3, 1, 1, 8 + 18 * (number + 1)) for number in range(30_000)
    )
    return b"II*\0\x08\0\0\0" + links + struct.pack("<HI", 0, 0)


def big_tiff_of_many_entries() -> bytes:
    """Return a BigTIFF whose directory says it has 2**60 entries."""
    return b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 2**60) + bytes(MIB)


def compressed_text(name: bytes, mebibytes: int) -> bytes:
    """Return a PNG chunk that unfolds to so much: zTXt, iTXt or iCCP."""
    packed = zlib.compress(bytes(mebibytes * MIB), 9)
    before = {b"zTXt": b"Comment\0\0", b"iTXt": b"Comment\0\x01\0\0\0", b"iCCP": b"ICC\0\0"}
    return chunk(name, before[name] + packed)


def text_bomb(name: bytes) -> bytes:
    return small_png(compressed_text(name, 60))


def text_bomb_behind_the_pixels() -> bytes:
    data = png(8, 8, pixels=bytes(16))
    return data[:-12] + compressed_text(b"zTXt", 60) + data[-12:]


def many_texts() -> bytes:
    return small_png(compressed_text(b"zTXt", 1) * 80)


def many_small_texts() -> bytes:
    """Return a PNG with 300,000 chunks of text."""
    return small_png(chunk(b"tEXt", b"k\0v") * 300_000)


def many_empty_chunks() -> bytes:
    """Return a PNG with 1.5 million chunks that nobody knows."""
    return small_png(chunk(b"abCd", b"") * 1_500_000)


def jpeg_of_many_segments(marker: int, count: int) -> bytes:
    """Return a JPEG with so many short segments of this kind before its picture."""
    data = encoded(gradient("RGB"), "JPEG")
    return data[:2] + segment(marker, b"x") * count + data[2:]


def jpeg_of_many_tables() -> bytes:
    """Return a JPEG with 5,000 Huffman tables, each a good one."""
    data = encoded(gradient("RGB"), "JPEG")
    start = data.index(b"\xff\xc4")
    length = int.from_bytes(data[start + 2 : start + 4], "big") + 2
    return data[:start] + data[start : start + length] * 5_000 + data[start:]


def jpeg_scan_bomb(scans: int) -> bytes:
    """Return a progressive JPEG of 6000 x 8000 pixels with so many more scans of them all.

    Each is 12 bytes, and costs the decoder a walk through all blocks.
    """
    data = encoded(Image.new("L", (6000, 8000)), "JPEG", progressive=True, quality=1)
    scan = segment(0xDA, b"\x01\x01\x00\x01\x05\x10") + b"\x00"
    return data[:-2] + scan * scans + data[-2:]


def jpeg_scan_bomb_header() -> bytes:
    """Return a progressive JPEG that says it has 65500 x 65500 pixels."""
    data = bytearray(encoded(Image.new("L", (8, 8)), "JPEG", progressive=True))
    frame = data.index(b"\xff\xc2")
    data[frame + 5 : frame + 9] = struct.pack(">HH", 65_500, 65_500)
    return bytes(data)


def bmp_bomb(width: int, height: int) -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + header


def bmp_of_runs() -> bytes:
    """Return a run-length coded BMP of 50 million pixels in 20 bytes."""
    header = struct.pack("<IiiHHIIiiII", 40, 7000, 7000, 1, 8, 1, 0, 0, 0, 256, 0)
    start = 54 + 1024
    return b"BM" + struct.pack("<IHHI", start, 0, 0, start) + header + bytes(1024) + b"\xff\0" * 8


def avif_bomb() -> bytes:
    """Return an AVIF whose header says 60000 x 60000 pixels."""
    data = encoded(gradient("RGB", (64, 64)), "AVIF")
    small, huge = struct.pack(">II", 64, 64), struct.pack(">II", 60_000, 60_000)
    return data.replace(b"ispe\0\0\0\0" + small, b"ispe\0\0\0\0" + huge)


def icon_of_bombs() -> bytes:
    """Return an ICO file with eight PNG bombs in it."""
    bomb = png_bomb()
    table = b"".join(
        struct.pack("<BBBBHHII", 0, 0, 0, 0, 1, 32, len(bomb), 6 + 8 * 16) for _ in range(8)
    )
    return struct.pack("<HHH", 0, 1, 8) + table + bomb
