from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgsvc.storage.metadata import check_metadata, metadata_value


@pytest.mark.parametrize(
    "metadata",
    [
        {"Upper": "a"},
        {"under_score": "a"},
        {"": "a"},
        {"a--b": "a"},
        {"a" * 65: "a"},
        {"a": ""},
        {"a": " blank in front"},
        {"a": "blank behind "},
        {"a": "line\nbreak"},
        {"a": "é"},
        {"a": "x" * 257},
        {f"n{n}": "x" * 256 for n in range(8)},
    ],
    ids=str,
)
def test_metadata_that_a_storage_could_not_keep_is_refused(metadata: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="metadata"):
        check_metadata(metadata)


def test_no_metadata_is_an_empty_dictionary() -> None:
    assert check_metadata(None) == {}


@given(st.text(st.characters(exclude_categories=()), min_size=1))
def test_any_text_becomes_a_value(text: str) -> None:
    value = metadata_value(text)
    assert check_metadata({"name": value}) == {"name": value}


@given(st.text(max_size=21))
def test_a_text_that_fits_comes_back(text: str) -> None:
    assert unquote(metadata_value(text)) == text


@pytest.mark.parametrize("before", range(6))
def test_a_long_text_is_cut_and_no_escape_torn(before: int) -> None:
    value = metadata_value("x" * before + "é" * 1000)
    assert 254 <= len(value) <= 256
    assert len(value.rpartition("%")[2]) == 2
