"""The image file formats the service knows, recognised by their first bytes."""

import re
from enum import StrEnum

SNIFF_BYTES = 256
"""How many leading bytes of a file :func:`sniff` and :func:`foreign_type` want to see."""

TAIL_BYTES = 1024
"""How many of a file's last bytes :func:`is_whole` wants to see."""


class ImageFormat(StrEnum):
    """An image file format; the value is Pillow's name for it in lower case."""

    PNG = "png"
    JPEG = "jpeg"
    WEBP = "webp"
    GIF = "gif"
    BMP = "bmp"
    TIFF = "tiff"
    AVIF = "avif"
    HEIC = "heic"  # needs the extra `heic`

    @property
    def media_type(self) -> str:
        """The registered media type, ``image/png`` say."""
        return f"image/{self.value}"

    @property
    def extension(self) -> str:
        """The usual file name extension, without its dot."""
        return "jpg" if self is ImageFormat.JPEG else self.value

    @property
    def label(self) -> str:
        """The name people use, ``PNG`` or ``WebP``."""
        return "WebP" if self is ImageFormat.WEBP else self.name


def sniff(header: bytes) -> ImageFormat | None:
    """Return the format of the file that starts with header, or None if it is none of ours.

    The bytes are the signatures of the PNG, JFIF, WebP, GIF, BMP and TIFF 6.0
    (BigTIFF too) specifications, and the ``ftyp`` brands of ISO/IEC 23008-12 (HEIF).
    """
    for pattern, image_format in _SIGNATURES:
        if pattern.match(header):
            return image_format
    return _sniff_brands(_brands(header))


def foreign_type(header: bytes) -> str | None:
    """Return the name of a picture or page format that is known but never taken."""
    for pattern, name in _FOREIGN_SIGNATURES:
        if pattern.match(header):
            return name
    brands = _brands(header)
    if _sniff_brands(brands):
        return None
    if b"crx " in brands:
        return "Canon CR3 raw"
    return "HEIF" if brands & {b"mif1", b"msf1", b"miaf"} else None


def is_whole(head: bytes, tail: bytes, size: int, kind: ImageFormat) -> bool:
    """Return whether a PNG, JPEG or WebP file begins and ends as its format asks for.

    `head` holds the file's first SNIFF_BYTES, `tail` its last TAIL_BYTES, `size` is that
    of the whole file. What lies between is not looked at. See the PNG specification,
    ITU-T T.81 and RFC 9649.
    """
    match kind:
        case ImageFormat.PNG:
            return _PNG_HEAD.match(head) is not None and _PNG_END in tail[-TAIL_BYTES:]
        case ImageFormat.JPEG:
            # Some writers pad the file, so that the end marker need not be the last.
            return head.startswith(b"\xff\xd8\xff") and b"\xff\xd9" in tail[-TAIL_BYTES:]
        case ImageFormat.WEBP:
            length = int.from_bytes(head[4:8], "little")
            ends = {8 + length, 8 + length + length % 2}  # some leave an odd length unpadded
            return _WEBP_HEAD.match(head) is not None and size in ends
    raise ValueError(kind)


def _signature(pattern: bytes) -> re.Pattern[bytes]:
    return re.compile(pattern, re.DOTALL)


_SIGNATURES = (
    (_signature(rb"\x89PNG\r\n\x1a\n"), ImageFormat.PNG),
    (_signature(rb"\xff\xd8\xff"), ImageFormat.JPEG),
    (_signature(rb"RIFF.{4}WEBP"), ImageFormat.WEBP),
    (_signature(rb"GIF8[79]a"), ImageFormat.GIF),
    (_signature(rb"II\*\x00|MM\x00\*|II\+\x00|MM\x00\+"), ImageFormat.TIFF),
    # "BM" alone also starts ordinary text, so the size of the DIB header must fit too.
    (_signature(rb"BM.{12}[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\x00\x00\x00"), ImageFormat.BMP),
)

# The chunk IHDR comes first; width and height are from 1 to 2**31 - 1.
_PNG_SIDE = rb"(?!\x00{4})[\x00-\x7f].{3}"
_PNG_HEAD = _signature(rb"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + 2 * _PNG_SIDE)
_PNG_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"  # length 0, name, checksum
_WEBP_HEAD = _signature(rb"RIFF.{4}WEBPVP8[ LX]")

_FOREIGN_SIGNATURES = (
    (_signature(rb"%!PS|\xc5\xd0\xd3\xc6"), "EPS"),
    (_signature(rb"%PDF-"), "PDF"),
    (_signature(rb"8BPS"), "Photoshop (PSD)"),
    (_signature(rb"gimp xcf"), "GIMP (XCF)"),
    (_signature(rb"(?:\xef\xbb\xbf)?\s*(?:<[?!].*)?<svg[\s>]"), "SVG"),
    (_signature(rb"\x00\x00\x01\x00[^\x00]"), "icon (ICO)"),
    (_signature(rb"\x00\x00\x02\x00[^\x00]"), "cursor (CUR)"),
    (_signature(rb"icns"), "icon (ICNS)"),
    (_signature(rb"\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51"), "JPEG 2000"),
    (_signature(rb"\x00\x00\x00\x0cJXL |\xff\x0a"), "JPEG XL"),
    (_signature(rb"P[1-7]\s"), "Netpbm (PPM)"),
    (_signature(rb"qoif"), "QOI"),
    (_signature(rb"DDS "), "DDS"),
    (_signature(rb"\x76\x2f\x31\x01"), "OpenEXR"),
    (_signature(rb"#\?RADIANCE"), "Radiance HDR"),
    (_signature(rb"SIMPLE  ="), "FITS"),
    (_signature(rb"\xd7\xcd\xc6\x9a|\x01\x00\x00\x00.{36} EMF"), "Windows metafile"),
    (_signature(rb"AT&TFORM"), "DjVu"),
    (_signature(rb"FUJIFILMCCD-RAW|IIRO|IIU\x00"), "camera raw"),
)

_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIC_BRANDS = frozenset(
    {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
)  # HEVC-coded pictures and picture sequences


def _sniff_brands(brands: frozenset[bytes]) -> ImageFormat | None:
    if brands & _AVIF_BRANDS:
        return ImageFormat.AVIF
    return ImageFormat.HEIC if brands & _HEIC_BRANDS else None


def _brands(header: bytes) -> frozenset[bytes]:
    """Return the major and compatible brands of an ``ftyp`` box; none if there is no such box."""
    if header[4:8] != b"ftyp":
        return frozenset()
    box = header[: int.from_bytes(header[:4], "big")]
    compatible = (box[start : start + 4] for start in range(16, len(box), 4))
    return frozenset((box[8:12], *compatible))
