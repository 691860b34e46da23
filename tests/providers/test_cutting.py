import base64
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgsvc.errors import ProviderBadAnswer
from imgsvc.providers import cutting
from imgsvc.providers.cutting import PictureDocument

START = re.compile(rb'"images"\s*:\s*\[\s*"')


def fed(document: bytes, size: int = 7) -> PictureDocument:
    """Return a document fed in chunks of so many bytes."""
    picture = PictureDocument(START)
    for start in range(0, len(document), size):
        picture.feed(document[start : start + size])
    return picture


@given(content=st.binary(min_size=1, max_size=300), size=st.integers(1, 50), indent=st.booleans())
def test_however_it_is_cut_into_chunks_the_picture_comes_out(
    content: bytes, size: int, *, indent: bool
) -> None:
    text = base64.b64encode(content).decode()
    document = {"images": [text, "other"], "parameters": {"images": [1]}, "info": "{}"}
    picture = fed(json.dumps(document, indent=2 if indent else None).encode(), size)
    assert picture.has_picture
    assert picture.base64() == text.encode()
    assert picture.rest() == document | {"images": ["", "other"]}


def test_escaped_slashes_are_understood() -> None:
    text = base64.b64encode(bytes(range(240)))
    picture = fed(b'{"images":["' + text.replace(b"/", b"\\/").replace(b"+", b"\\u002B") + b'"]}')
    assert picture.base64() == text


def test_a_document_without_a_picture_has_none() -> None:
    picture = fed(b'{"images":[],"info":""}')
    assert not picture.has_picture
    assert picture.rest() == {"images": [], "info": ""}


@pytest.mark.parametrize("text", [b"abc", b"a=bc", b"ab!d", b"====", b"ab\\xd"])
def test_what_is_no_base64_is_refused(text: bytes) -> None:
    with pytest.raises(ProviderBadAnswer, match="base64"):
        fed(b'{"images":["' + text + b'"]}').base64()


def test_what_is_cut_short_is_refused() -> None:
    with pytest.raises(ProviderBadAnswer, match="cut short"):
        fed(b'{"images":["AAAA"],"inf').rest()


def test_picture_and_text_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutting, "MAX_PICTURE_BYTES", 100)
    monkeypatch.setattr(cutting, "MAX_TEXT_BYTES", 100)
    for document in (b'{"images":["' + b"A" * 104, b'{"info":"' + b"A" * 104):
        with pytest.raises(ProviderBadAnswer, match="too large"):
            fed(document)
