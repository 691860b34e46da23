"""Files made to hurt, as code: what each is, and how the service may answer.

None is on disk. `CORPUS` has them by name; `truncations` of `corpus_odd` makes more.
"""

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from imaging import corpus_bombs as bombs
from imaging import corpus_odd as odd
from imaging.corpus_parts import png

TAKEN = "taken"
"""In place of an error's code: the picture is edited like any other."""

LARGE = {"image_too_large"}
COMPLEX = {"image_too_complex"}
DAMAGED = {"corrupt_image"}
FINE = {TAKEN}
NAN = struct.unpack("<I", struct.pack("<f", math.nan))[0]


@dataclass(frozen=True, slots=True)
class Hostile:
    """One file, made anew at each call: some have 20 MB."""

    make: Callable[[], bytes]
    answers: frozenset[str]  # codes of errors, or TAKEN: one of these


def _bombs() -> dict[str, tuple[Callable[[], bytes], set[str]]]:
    return {
        "png-13300": (bombs.png_bomb, LARGE),
        "png-13300-16-bit": (bombs.colourful_png_bomb, LARGE),
        "png-wide": (partial(png, 2**31 - 1, 1, pixels=b"\0\0"), LARGE),
        "png-too-wide": (partial(png, 2**31, 1, pixels=b"\0\0"), LARGE | DAMAGED),
        "png-high": (partial(png, 1, 2**31 - 1, pixels=b"\0\0"), LARGE),
        "png-2^32-square": (partial(png, 2**32 - 1, 2**32 - 1), LARGE),
        "webp-12000": (bombs.webp_bomb, LARGE),
        "webp-canvas": (bombs.webp_canvas_bomb, LARGE | DAMAGED),
        "webp-animation": (partial(bombs.webp_animation, 60, 1000), LARGE),
        "gif-3000-frames": (partial(bombs.gif_of, 3000, 9000), LARGE),
        "gif-11000-frames": (partial(bombs.gif_of, 11_000, 1), COMPLEX),
        "gif-tiny-blocks": (bombs.gif_of_tiny_blocks, COMPLEX),
        "gif-tiny-pixel-blocks": (bombs.gif_of_tiny_pixel_blocks, COMPLEX),
        "apng-frames": (partial(bombs.apng, 100_000, 500), LARGE),
        "apng-2^31-frames": (partial(bombs.apng, 2**31 - 1, 1), LARGE | DAMAGED | FINE),
        "tiff-60000": (bombs.tiff_bomb, LARGE),
        "tiff-huge-tag": (bombs.tiff_with_a_huge_tag, COMPLEX),
        "tiff-huge-strips": (bombs.tiff_with_huge_strips, COMPLEX),
        "tiff-loops": (bombs.tiff_of_loops, DAMAGED | FINE),
        "tiff-30000-directories": (bombs.tiff_of_many_directories, DAMAGED | COMPLEX),
        "bigtiff-2^60-entries": (bombs.big_tiff_of_many_entries, DAMAGED | COMPLEX),
        "png-ztxt-60-mib": (partial(bombs.text_bomb, b"zTXt"), COMPLEX),
        "png-itxt-60-mib": (partial(bombs.text_bomb, b"iTXt"), COMPLEX),
        "png-iccp-60-mib": (partial(bombs.text_bomb, b"iCCP"), COMPLEX),
        "png-ztxt-last": (bombs.text_bomb_behind_the_pixels, COMPLEX),
        "png-80-texts": (bombs.many_texts, COMPLEX),
        "png-300000-texts": (bombs.many_small_texts, COMPLEX),
        "png-1500000-chunks": (bombs.many_empty_chunks, COMPLEX),
        "jpeg-200000-comments": (partial(bombs.jpeg_of_many_segments, 0xFE, 200_000), COMPLEX),
        "jpeg-3000000-app5": (partial(bombs.jpeg_of_many_segments, 0xE5, 3_000_000), COMPLEX),
        "jpeg-5000-tables": (bombs.jpeg_of_many_tables, FINE),
        "jpeg-scans": (partial(bombs.jpeg_scan_bomb, 20_000), COMPLEX),
        "jpeg-100-scans": (partial(bombs.jpeg_scan_bomb, 90), FINE),
        "jpeg-65500": (bombs.jpeg_scan_bomb_header, LARGE),
        "bmp-60000": (partial(bombs.bmp_bomb, 60_000, 60_000), LARGE),
        "bmp-upside-down": (partial(bombs.bmp_bomb, 60_000, -60_000), LARGE),
        "bmp-negative": (partial(bombs.bmp_bomb, -60_000, 60_000), LARGE | DAMAGED),
        "bmp-runs": (bombs.bmp_of_runs, DAMAGED),
        "avif-60000": (bombs.avif_bomb, LARGE | DAMAGED),
        "ico-of-png-bombs": (bombs.icon_of_bombs, {"unsupported_image_type"}),
    }


def _broken() -> dict[str, tuple[Callable[[], bytes], set[str]]]:
    return {
        "png-crc-header": (partial(odd.wrong_checksum, b"IHDR"), DAMAGED),
        "png-crc-pixels": (partial(odd.wrong_checksum, b"IDAT"), DAMAGED | FINE),
        "png-zero": (partial(png, 0, 0), DAMAGED),
        "png-zero-wide": (partial(png, 0, 8), DAMAGED),
        "png-negative-chunk": (odd.png_of_negative_chunk, DAMAGED),
        "png-no-header": (odd.png_without_header, DAMAGED),
        "png-two-headers": (odd.png_with_two_headers, DAMAGED | LARGE),
        "png-few-pixels": (odd.png_with_too_few_pixels, DAMAGED),
        "png-many-pixels": (odd.png_with_too_many_pixels, FINE),
        "png-no-palette": (odd.png_palette_without_colours, DAMAGED | FINE),
        "png-odd-depth": (odd.png_with_odd_depth, DAMAGED),
        "apng-disorder": (odd.png_animation_in_disorder, DAMAGED | FINE),
        "png-text": (odd.png_with_text, FINE),
        "gif-zero": (partial(odd.gif_of_size, 0, 0), DAMAGED | FINE),
        "gif-65535": (partial(odd.gif_of_size, 65_535, 65_535), LARGE),
        "gif-bad-codes": (odd.gif_with_bad_codes, DAMAGED | FINE),
        "gif-frame-outside": (odd.gif_frame_outside, DAMAGED | LARGE | COMPLEX),
        "jpeg-zero": (partial(odd.jpeg_of_size, 0, 0), DAMAGED),
        "jpeg-markers": (odd.jpeg_cut_to_markers, DAMAGED),
        "jpeg-views": (odd.jpeg_of_views, FINE),
        "jpeg-bad-views": (odd.jpeg_with_bad_views, DAMAGED | FINE),
        "jpeg-split-profile": (odd.jpeg_with_split_profile, FINE),
        "exif-orientation-0": (
            lambda: odd.jpeg_with_exif(odd.exif((0x112, 3, 1, 0))),
            FINE,
        ),
        "exif-orientation-65535": (
            lambda: odd.jpeg_with_exif(odd.exif((0x112, 3, 1, 65_535))),
            FINE,
        ),
        "exif-orientation-list": (
            lambda: odd.jpeg_with_exif(odd.exif((0x112, 3, 2**31, 6))),
            FINE,
        ),
        "exif-orientation-text": (lambda: odd.jpeg_with_exif(odd.exif((0x112, 2, 4, 6))), FINE),
        "exif-loop": (lambda: odd.jpeg_with_exif(odd.exif((0x8769, 4, 1, 8), following=8)), FINE),
        "exif-garbage": (lambda: odd.jpeg_with_exif(b"II*\0\xff\xff\xff\xff"), FINE),
        "webp-short": (partial(odd.webp_of_wrong_length, 12), DAMAGED | FINE),
        "webp-long": (partial(odd.webp_of_wrong_length, 2**32 - 1), DAMAGED | FINE),
        "webp-no-pixels": (odd.webp_without_pixels, DAMAGED),
        "webp-profile-20-mib": (odd.webp_profile_bomb, DAMAGED | FINE),
        "tiff-no-size": (lambda: odd.tiff_with((256, 4, 1, 0)), DAMAGED),
        "tiff-infinite": (lambda: odd.tiff_with((258, 3, 1, 32), (339, 3, 1, 3)), DAMAGED),
        "tiff-nan": (
            lambda: odd.tiff_with(
                (258, 3, 1, 32),
                (339, 3, 1, 3),
                (279, 4, 1, 256),
                (273, 4, 1, 142),
                data=struct.pack("<I", NAN) * 64,
            ),
            FINE | DAMAGED,
        ),
        "tiff-odd-compression": (lambda: odd.tiff_with((259, 3, 1, 34_712)), DAMAGED),
        "tiff-samples": (lambda: odd.tiff_with((277, 3, 1, 65_535)), DAMAGED | COMPLEX),
        "bmp-far-pixels": (partial(odd.bmp_with, 10, b"\xff" * 4), DAMAGED),
        "bmp-zero": (partial(odd.bmp_with, 18, bytes(8)), DAMAGED),
        "bmp-odd-depth": (partial(odd.bmp_with, 28, b"\x07\0"), DAMAGED),
        "avif-boxes": (odd.avif_with_huge_boxes, DAMAGED),
        "avif-brands": (odd.avif_of_brands, DAMAGED),
        "heic-empty": (odd.heic_without_pictures, DAMAGED),
        "png-and-zip": (odd.png_and_zip, FINE),
        "jpeg-and-html": (odd.jpeg_and_html, FINE),
        "gif-and-script": (odd.gif_and_script, FINE | DAMAGED),
        "bmp-and-postscript": (odd.bmp_and_postscript, FINE),
    }


def _foreign(data: bytes) -> Callable[[], bytes]:
    return lambda: data


CORPUS: dict[str, Hostile] = {
    name: Hostile(make, frozenset(answers))
    for name, (make, answers) in (
        _bombs()
        | _broken()
        | {name: (make, FINE) for name, make in odd.odd_modes()}
        | {
            f"foreign-{name}": (_foreign(data), {"unsupported_image_type", "not_an_image"})
            for name, data in odd.FOREIGN.items()
        }
    ).items()
}

NOT_A_MASK = frozenset({"invalid_mask", "image_file_too_large"})


def expected(name: str, way: str) -> frozenset[str]:
    """Return how the service may answer to the file, by the way it came in.

    Large masks are refused by their size, and the local engine takes none.
    """
    empty = {"invalid_base64"} if name == "foreign-empty" else set()
    if way == "mask":
        return NOT_A_MASK | {"not_offered_by_model"} | empty
    return CORPUS[name].answers | empty
