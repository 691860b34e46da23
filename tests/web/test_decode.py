import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgsvc.errors import ImageFileTooLarge, InvalidBase64
from imgsvc.web.decode import decode_base64

ALL_BYTES = bytes(range(256))


def decode(text: str, max_bytes: int = 1000) -> bytes:
    return decode_base64(text, field="image_base64", max_bytes=max_bytes)


@given(st.binary(min_size=1, max_size=300), st.booleans(), st.booleans(), st.booleans())
def test_every_form_of_base64_is_taken(data: bytes, url: bool, padded: bool, wrapped: bool) -> None:
    text = (base64.urlsafe_b64encode(data) if url else base64.b64encode(data)).decode()
    if not padded:
        text = text.rstrip("=")
    if wrapped:
        text = "\r\n".join(text[i : i + 19] for i in range(0, len(text), 19)) + "\n"
    assert decode(text) == data


@given(st.text(max_size=60))
def test_any_other_text_is_refused_as_invalid_base64(text: str) -> None:
    try:
        decoded = decode(text)
    except InvalidBase64:
        return
    assert base64.b64encode(decoded).decode().rstrip("=")[:-1] in "".join(text.split()).replace(
        "-", "+"
    ).replace("_", "/")


@pytest.mark.parametrize(
    "prefix",
    [
        "data:image/png;base64,",
        "data:image/svg+xml;base64,",
        "DATA:IMAGE/JPEG;BASE64,",
        "data:image/png;name=a.png;base64,",
    ],
)
def test_a_leading_data_url_of_an_image_is_taken(prefix: str) -> None:
    assert decode(prefix + base64.b64encode(ALL_BYTES).decode()) == ALL_BYTES


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "====",
        "A",
        "AAAAA",
        "AA=",
        "AAA==",
        "AA===",
        "AAAA=",
        "A=AA",
        "AA==AAAA",
        "+-AA",
        "/_AA",
        "AA!A",
        "ÄAAA",
        "data:image/png;base64,",
        "data:image/png,AAAA",
        "data:text/plain;base64,AAAA",
        "file:///etc/passwd",
    ],
)
def test_what_is_not_base64_is_refused(text: str) -> None:
    with pytest.raises(InvalidBase64, match="image_base64"):
        decode(text)


def test_the_limit_counts_decoded_bytes_exactly() -> None:
    assert decode(base64.b64encode(bytes(1000)).decode()) == bytes(1000)
    with pytest.raises(ImageFileTooLarge):
        decode(base64.b64encode(bytes(1001)).decode())


def test_far_too_much_is_refused_before_it_is_looked_at() -> None:
    with pytest.raises(ImageFileTooLarge):
        decode("!" * 10_000)
