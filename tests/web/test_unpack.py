import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imgsvc.errors import (
    CorruptImage,
    DiskRefuses,
    InvalidBase64,
    InvalidJson,
    InvalidMask,
    InvalidRequest,
    NotAnImage,
)
from imgsvc.imaging.config import ImagesConfig
from imgsvc.imaging.formats import ImageFormat
from imgsvc.imaging.gate import ImageInfo
from imgsvc.web.unpack import PLACEHOLDER, WRONG_TYPE, Unpacked, unpack
from standins.disk import full_disk
from standins.pictures import as_base64, encoded, gradient, picture

LIMITS = ImagesConfig(max_bytes=100_000).limits


def unpacked(folder: Path, body: bytes) -> Unpacked:
    (folder / "body").write_bytes(body)
    return unpack(folder / "body", folder / "image", folder / "mask", LIMITS)


def of(folder: Path, **fields: Any) -> Unpacked:
    return unpacked(folder, json.dumps(fields).encode())


def test_pictures_become_files_and_the_fields_keep_their_place(tmp_path: Path) -> None:
    image, mask = picture(), picture(mode="RGBA")
    found = of(tmp_path, prompt="x", image_base64=as_base64(image), mask_base64=as_base64(mask))
    assert found.fields == {
        "prompt": "x",
        "image_base64": PLACEHOLDER,
        "mask_base64": PLACEHOLDER,
    }
    assert isinstance(found.image, ImageInfo)
    assert (found.image.format, found.image.width) == (ImageFormat.PNG, 64)
    assert found.mask is None
    assert (tmp_path / "image").read_bytes() == image
    assert (tmp_path / "mask").read_bytes() == mask
    found.raise_what_is_wrong()


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"image_base64": "?"}, InvalidBase64),
        ({"image_base64": as_base64(b"hello world")}, NotAnImage),
        ({"image_base64": as_base64(picture()[:20])}, CorruptImage),
        ({"mask_base64": "?"}, InvalidBase64),
        ({"mask_base64": as_base64(picture())}, InvalidMask),
        ({"image_base64": as_base64(picture()), "mask_base64": as_base64(b"x")}, InvalidMask),
    ],
)
def test_what_is_wrong_with_a_picture_is_kept_until_it_is_asked_for(
    tmp_path: Path, fields: dict[str, str], error: type[Exception]
) -> None:
    found = of(tmp_path, **fields)
    with pytest.raises(error):
        found.raise_what_is_wrong()


@pytest.mark.parametrize(
    ("value", "handed_over"),
    [(None, None), (7, 7), (["x"], WRONG_TYPE), ({"a": 1}, WRONG_TYPE), (True, True)],
)
def test_what_is_no_text_is_left_to_the_validation_of_the_fields(
    tmp_path: Path, value: Any, handed_over: Any
) -> None:
    assert of(tmp_path, image_base64=value) == Unpacked(fields={"image_base64": handed_over})


@pytest.mark.parametrize("body", [b"[]", b"null", b'"x"', b"1", b"true"])
def test_a_document_that_is_no_object_has_no_fields(tmp_path: Path, body: bytes) -> None:
    assert unpacked(tmp_path, body) == Unpacked(fields=None)


@pytest.mark.parametrize(
    ("value", "handed_over"),
    [
        ([{}] * 100_000, WRONG_TYPE),
        ({str(number): number for number in range(100_000)}, WRONG_TYPE),
        ("x" * 1_000_000, "x" * 32_001),
    ],
    ids=["list", "table", "text"],
)
def test_what_is_handed_over_is_small_whatever_was_sent(
    tmp_path: Path, value: Any, handed_over: Any
) -> None:
    assert of(tmp_path, prompt=value) == Unpacked(fields={"prompt": handed_over})


def test_very_many_fields_are_refused_as_a_whole(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="more than 64 fields"):
        of(tmp_path, **{f"k{number}": number for number in range(65)})


def test_a_full_disk_is_told_from_a_bad_picture(tmp_path: Path) -> None:
    image = encoded(gradient("RGB", (300, 300)), "BMP")[:90_000]
    body = json.dumps({"image_base64": as_base64(image)}).encode()
    (tmp_path / "body").write_bytes(body)
    with full_disk(10_000), pytest.raises(DiskRefuses):
        unpack(tmp_path / "body", tmp_path / "image", tmp_path / "mask", LIMITS)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_taken_apart_or_refused_as_json(tmp_path: Path, body: bytes) -> None:
    try:
        pickle.dumps(unpacked(tmp_path, body))  # it travels from process to process
    except InvalidJson as exc:
        assert "not valid JSON" in exc.message  # noqa: PT017 - both outcomes are right
