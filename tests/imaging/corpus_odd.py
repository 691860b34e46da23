"""Files that are broken, in disguise, or odd in a way that a decoder may trip over."""

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import cache

import pillow_heif
from PIL import Image, PngImagePlugin

from imaging.corpus_parts import PNG_SIGNATURE, chunk, png, riff, segment, small_png, tiff
from imaging.corpus_parts import tiff_tags as tags
from imgsvc.imaging.formats import ImageFormat
from standins.pictures import encoded, gradient

POINTS = 64
"""At how many points each format is cut short."""

FOREIGN: dict[str, bytes] = {
    "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%id) (w) file\n",
    "eps-binary": b"\xc5\xd0\xd3\xc6"
    + struct.pack("<III", 32, 20, 0)
    + bytes(20)
    + b"%!PS-Adobe-3.0",
    "psd": b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, 30_000, 30_000, 8, 3) + bytes(60),
    "svg": b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>',
    "svg-entities": b'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY a "aaaa">]><svg>&a;</svg>',
    "pdf": b"%PDF-1.7\n1 0 obj\n<</Type/Catalog>>\nendobj\n",
    "dds": b"DDS " + struct.pack("<7I", 124, 0x1007, 60_000, 60_000, 0, 0, 0) + bytes(96),
    "fits": b"SIMPLE  =                    T".ljust(80)
    + b"BITPIX  =                   -8".ljust(80),
    "netpbm": b"P6 60000 60000 255\n" + bytes(64),
    "xbm": b"#define im_width 60000\n#define im_height 60000\nstatic char im_bits[] = {\n",
    "xpm": b'/* XPM */\nstatic char *x[] = {"60000 60000 1 1"};\n',
    "icns": b"icns" + struct.pack(">I", 2**31) + b"ic10" + struct.pack(">I", 2**31 - 8),
    "cursor": b"\0\0\x02\0\x01\0" + bytes(16),
    "jpeg2000": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(60),
    "jpeg2000-stream": b"\xff\x4f\xff\x51" + struct.pack(">HHIIII", 41, 0, 60_000, 60_000, 0, 0),
    "jpegxl": b"\xff\x0a" + bytes(60),
    "wmf": b"\xd7\xcd\xc6\x9a" + bytes(60),
    "emf": b"\x01\0\0\0" + bytes(36) + b" EMF" + bytes(40),
    "fli": struct.pack("<IHHHHH", 128, 0xAF12, 9_000, 60_000, 60_000, 8) + bytes(116),
    "sgi": struct.pack(">HBBHHHH", 474, 1, 1, 3, 60_000, 60_000, 4) + bytes(500),
    "pcx": b"\x0a\x05\x01\x08" + struct.pack("<HHHH", 0, 0, 60_000, 60_000) + bytes(116),
    "qoi": b"qoif" + struct.pack(">IIBB", 60_000, 60_000, 4, 0),
    "hdf5": b"\x89HDF\r\n\x1a\n" + bytes(60),
    "exr": b"\x76\x2f\x31\x01" + bytes(60),
    "gbr": struct.pack(">5I", 28, 2, 60_000, 60_000, 4) + b"GIMP" + bytes(8),
    "tga": struct.pack("<BBBHHBHHHHBB", 0, 0, 2, 0, 0, 0, 0, 0, 60_000, 60_000, 24, 0) + bytes(64),
    "zip": b"PK\x03\x04" + bytes(60),
    "html": b"<!doctype html><script>alert(1)</script>",
    "elf": b"\x7fELF\x02\x01\x01" + bytes(60),
    "gzip": b"\x1f\x8b\x08\0" + bytes(60),
    "empty": b"",
    "text": b"hello",
    "mif1": b"\0\0\0\x18ftypmif1\0\0\0\0mif1miaf",
    "cr3": b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom",
}
"""Of each kind that is no picture to this service, one; they may be called picture.png."""


@cache
def whole(image_format: ImageFormat) -> bytes:
    """Return a good picture of this format."""
    picture = gradient("RGB", (96, 64))
    if image_format is ImageFormat.HEIC:
        pillow_heif.register_heif_opener()
        return encoded(picture, "HEIF")
    options = {"lossless": True} if image_format is ImageFormat.WEBP else {}
    return encoded(picture, image_format.name, **options)


def truncations(image_format: ImageFormat) -> Iterator[tuple[int, bytes]]:
    """Yield the first bytes of a good picture, cut at POINTS points, and where."""
    data = whole(image_format)
    for point in range(POINTS):
        length = len(data) * point // POINTS
        yield length, data[:length]


def _patched(data: bytes, position: int, new: bytes) -> bytes:
    return data[:position] + new + data[position + len(new) :]


def wrong_checksum(name: bytes) -> bytes:
    """Return a PNG whose chunk of this name has a wrong checksum."""
    data = encoded(gradient("RGB"), "PNG")
    start = data.index(name)
    end = start + 4 + int.from_bytes(data[start - 4 : start], "big")
    return _patched(data, end, bytes((data[end] ^ 1,)))


def png_of_negative_chunk() -> bytes:
    return PNG_SIGNATURE + small_png()[8:33] + b"\xff\xff\xff\xf0tEXt" + bytes(64)


def png_without_header() -> bytes:
    return PNG_SIGNATURE + chunk(b"IDAT", zlib.compress(bytes(16))) + chunk(b"IEND", b"")


def png_with_two_headers() -> bytes:
    second = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 6, 0, 0, 0))
    return small_png(second)


def png_with_too_few_pixels() -> bytes:
    return png(500, 500, pixels=bytes(100))


def png_with_too_many_pixels() -> bytes:
    return png(8, 8, pixels=bytes(50 * 2**20))


def png_palette_without_colours() -> bytes:
    return png(8, 8, depth=8, colour=3, pixels=bytes(72))


def png_with_odd_depth() -> bytes:
    return png(8, 8, depth=7, colour=6, pixels=bytes(1000))


def png_animation_in_disorder() -> bytes:
    return small_png(
        chunk(b"fcTL", struct.pack(">IIIIIHHBB", 7, 2**31, 2**31, 9, 9, 0, 0, 9, 9)),
        chunk(b"acTL", struct.pack(">II", 3, 0)),
        chunk(b"fdAT", bytes(4)),
    )


def png_with_text() -> bytes:
    """Return a good PNG that carries markup and control characters as text."""
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "<script>alert(1)</script>\r\nSet-Cookie: x\0")
    return encoded(gradient("RGB"), "PNG", pnginfo=info)


def gif_of_size(width: int, height: int) -> bytes:
    return _patched(encoded(gradient("P"), "GIF"), 6, struct.pack("<HH", width, height))


def gif_with_bad_codes() -> bytes:
    data = encoded(gradient("P"), "GIF")
    return _patched(data, len(data) // 2, b"\xff" * (len(data) // 4))


def gif_frame_outside() -> bytes:
    """Return a GIF of 8 x 8 pixels with a frame of 65535 x 65535, far outside of it."""
    data = encoded(Image.new("P", (8, 8)), "GIF")
    start = data.index(b",", 13)
    return _patched(data, start + 1, b"\xff" * 8)


def jpeg_with_exif(exif: bytes) -> bytes:
    return encoded(gradient("RGB"), "JPEG", exif=b"Exif\0\0" + exif)


def exif(*entries: tuple[int, int, int, int], following: int = 0) -> bytes:
    return tiff(*entries, following=following)


def jpeg_of_views() -> bytes:
    """Return a JPEG with a second view (MPO)."""
    return encoded(gradient("RGB"), "MPO", save_all=True, append_images=[gradient("RGB")])


def jpeg_with_bad_views() -> bytes:
    """Return a JPEG whose table of further views names a million of them, outside the file."""
    views = b"MPF\0" + tiff((0xB001, 4, 1, 10**6), (0xB002, 7, 16 * 10**6, 50))
    data = encoded(gradient("RGB"), "JPEG")
    return data[:2] + segment(0xE2, views) + data[2:]


def jpeg_with_split_profile() -> bytes:
    """Return a JPEG with 200 parts of an ICC profile, all said to be the first of 255."""
    data = encoded(gradient("RGB"), "JPEG")
    part = segment(0xE2, b"ICC_PROFILE\0\x01\xff" + bytes(60_000))
    return data[:2] + part * 200 + data[2:]


def jpeg_cut_to_markers() -> bytes:
    return b"\xff\xd8\xff\xda\0\x02" + b"\xff\xd0" * 10_000


def jpeg_of_size(width: int, height: int) -> bytes:
    data = encoded(gradient("RGB"), "JPEG")
    return _patched(data, data.index(b"\xff\xc0") + 5, struct.pack(">HH", height, width))


def webp_of_wrong_length(length: int) -> bytes:
    return _patched(whole(ImageFormat.WEBP), 4, length.to_bytes(4, "little"))


def webp_without_pixels() -> bytes:
    return riff((b"VP8X", b"\x10" + bytes(3) + b"\x07\0\0" * 2))


def webp_profile_bomb() -> bytes:
    """Return a WebP whose ICC profile is 20 MiB of nothing."""
    pixels = whole(ImageFormat.WEBP)[12:]
    header = b"\x20" + bytes(3) + (95).to_bytes(3, "little") + (63).to_bytes(3, "little")
    start = riff((b"VP8X", header), (b"ICCP", bytes(20 * 2**20)))
    return _patched(start + pixels, 4, (len(start) + len(pixels) - 8).to_bytes(4, "little"))


def tiff_with(*entries: tuple[int, int, int, int], data: bytes = bytes(64)) -> bytes:
    """Return a TIFF of 8 x 8 pixels in which these entries replace its own."""
    replaced = {tag[0]: tag for tag in tags(8, 8)} | {tag[0]: tag for tag in entries}
    return tiff(*sorted(replaced.values()), data=data)


def bmp_with(position: int, new: bytes) -> bytes:
    return _patched(encoded(gradient("RGB"), "BMP"), position, new)


def avif_with_huge_boxes() -> bytes:
    data = encoded(gradient("RGB", (64, 64)), "AVIF")
    return data.replace(b"iloc", b"iloc\xff\xff\xff\xff")


def avif_of_brands() -> bytes:
    """Return a header of 60 brands, AVIF among them, with nothing behind."""
    brands = b"avif" + b"xxxx" * 59
    return (16 + len(brands)).to_bytes(4, "big") + b"ftypmif1\0\0\0\0" + brands


def heic_without_pictures() -> bytes:
    return b"\0\0\0\x18ftypheic\0\0\0\0heicmif1" + struct.pack(">I4sI", 12, b"meta", 0)


def png_and_zip() -> bytes:
    archive = io.BytesIO(encoded(gradient("RGB"), "PNG"))
    archive.seek(0, io.SEEK_END)
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("run.sh", "#!/bin/sh\n")
    return archive.getvalue()


def jpeg_and_html() -> bytes:
    data = encoded(gradient("RGB"), "JPEG")
    return data[:2] + segment(0xFE, b"<html><script>alert(1)</script>") + data[2:]


def gif_and_script() -> bytes:
    """Return a GIF whose size is also the start of a comment in JavaScript."""
    data = gif_of_size(0x2A2F, 64)
    return data[:-1] + b";*/=1;alert(1)//"


def bmp_and_postscript() -> bytes:
    return encoded(gradient("RGB"), "BMP") + FOREIGN["eps"]


def odd_modes() -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Yield makers of good pictures that are far from 8-bit RGB, with their names."""
    kinds = {
        "png-1": ("1", "PNG"),
        "png-16-bit": ("I;16", "PNG"),
        "png-palette": ("P", "PNG"),
        "jpeg-cmyk": ("CMYK", "JPEG"),
        "tiff-float": ("F", "TIFF"),
        "tiff-32-bit": ("I", "TIFF"),
        "tiff-cmyk": ("CMYK", "TIFF"),
        "tiff-lab": ("LAB", "TIFF"),
    }
    for name, (mode, pillow_format) in kinds.items():
        yield name, lambda mode=mode, kind=pillow_format: encoded(gradient(mode), kind)  # type: ignore[misc]
