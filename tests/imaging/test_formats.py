import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgsvc.imaging.formats import SNIFF_BYTES, ImageFormat, foreign_type, sniff
from standins.pictures import encoded, gradient


@pytest.mark.parametrize("image_format", [f for f in ImageFormat if f is not ImageFormat.HEIC])
def test_a_real_file_is_recognised_by_its_first_bytes(image_format: ImageFormat) -> None:
    data = encoded(gradient("RGB"), image_format.name)
    assert sniff(data[:SNIFF_BYTES]) is image_format
    assert foreign_type(data[:SNIFF_BYTES]) is None


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", ImageFormat.HEIC),
        (b"\x00\x00\x00\x18ftypmif1\x00\x00\x00\x00mif1heic", ImageFormat.HEIC),
        (b"\x00\x00\x00\x18ftypmif1\x00\x00\x00\x00mif1avif", ImageFormat.AVIF),
        (b"\x00\x00\x00\x14ftypavis\x00\x00\x00\x00avis", ImageFormat.AVIF),
        (b"\x00\x00\x00\x14ftypmif1\x00\x00\x00\x00miafheic", None),  # past the box's end
        (b"\x00\x00\x00\x18ftypisom\x00\x00\x00\x00isommp42", None),
        (b"GIF87a", ImageFormat.GIF),
        (b"II+\x00\x08\x00\x00\x00", ImageFormat.TIFF),
        (b"MM\x00*", ImageFormat.TIFF),
        (b"BM is how this text begins, and it goes on", None),
        (b"RIFF\x00\x00\x00\x00WAVE", None),
        (b"\x89PNG", None),
        (b"\xff\xd8", None),
        (b"", None),
    ],
)
def test_signatures(header: bytes, expected: ImageFormat | None) -> None:
    assert sniff(header) is expected


@pytest.mark.parametrize(
    ("header", "name"),
    [
        (b"%!PS-Adobe-3.0 EPSF-3.0", "EPS"),
        (b"%PDF-1.7", "PDF"),
        (b"8BPS\x00\x01", "Photoshop (PSD)"),
        (b'<svg xmlns="http://www.w3.org/2000/svg">', "SVG"),
        (b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- made by hand -->\n<svg>', "SVG"),
        (b"\x00\x00\x01\x00\x01\x00", "icon (ICO)"),
        (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"\xff\x0a\x00", "JPEG XL"),
        (b"\x00\x00\x00\x14ftypmif1\x00\x00\x00\x00miaf", "HEIF"),
        (b"\x00\x00\x00\x18ftypcrx \x00\x00\x00\x01crx isom", "Canon CR3 raw"),
        (b"<html><body>", None),
        (b"{}", None),
        (b"", None),
    ],
)
def test_what_is_never_taken_has_a_name(header: bytes, name: str | None) -> None:
    assert foreign_type(header) == name
    assert sniff(header) is None


@given(st.binary(max_size=300) | st.binary(max_size=60).map(lambda tail: b"\0\0\0\x20ftyp" + tail))
def test_any_bytes_can_be_sniffed(header: bytes) -> None:
    assert sniff(header) is None or foreign_type(header) is None


@pytest.mark.parametrize(
    ("image_format", "media_type", "extension", "label"),
    [
        (ImageFormat.JPEG, "image/jpeg", "jpg", "JPEG"),
        (ImageFormat.WEBP, "image/webp", "webp", "WebP"),
        (ImageFormat.PNG, "image/png", "png", "PNG"),
    ],
)
def test_a_format_knows_its_names(
    image_format: ImageFormat, media_type: str, extension: str, label: str
) -> None:
    assert (image_format.media_type, image_format.extension, image_format.label) == (
        media_type,
        extension,
        label,
    )
