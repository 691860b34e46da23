import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from imgsvc.errors import ConfigurationError
from imgsvc.providers.deny_list import MAX_BYTES, MAX_PATTERNS, DenyList, read_patterns


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "deny.txt"


def problems(file: Path) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        read_patterns(file)
    return caught.value.problems


def test_comments_and_blank_lines_count_as_lines_only(file: Path) -> None:
    file.write_text("# weapons\n\n  gun  \n\t# no pattern\nknife")
    found = read_patterns(file)
    assert len(found) == 2
    assert (found.find("a gun"), found.find("a knife"), found.find("# weapons")) == (3, 5, None)


def test_a_byte_order_mark_and_line_ends_of_windows_do_no_harm(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbfgun\r\nknife\r\n")
    found = read_patterns(file)
    assert (found.find("gun"), found.find("knife")) == (1, 2)


def test_an_empty_file_refuses_nothing(file: Path) -> None:
    file.touch()
    assert read_patterns(file).find("anything") is None


def test_what_is_wrong_with_a_file_is_said(file: Path) -> None:
    assert problems(file) == (f"the file {file} cannot be read: No such file or directory",)
    assert problems(file.parent) == (f"the file {file.parent} cannot be read: Is a directory",)
    file.write_bytes(b"gun\n\xfcbel\n")
    assert problems(file) == (f"line 2 of {file}: it is not UTF-8",)
    file.write_text("gun\n# (\n(\n")
    assert problems(file) == (f"line 3 of {file}: missing ): (",)
    file.write_bytes(b"#" * (MAX_BYTES + 1))
    assert problems(file) == (f"the file {file} has more than 1,048,576 bytes",)
    file.write_text("x\n" * (MAX_PATTERNS + 1))
    assert problems(file) == (f"the file {file} has more than 10,000 patterns",)


def test_a_file_that_has_changed_is_read_again_and_only_then(file: Path) -> None:
    file.write_text("gun")
    deny_list = DenyList(file)
    with capture_logs() as logs:
        assert deny_list.find("a gun and a knife") == 1
        assert logs == []
        file.write_text("# new\nknife\nsword")
        assert deny_list.find("a gun and a knife") == 2
        assert deny_list.find("a gun") is None
    assert logs == [{"event": "deny_list_read", "log_level": "info", "patterns": 2}]


def test_a_file_of_the_same_size_that_takes_the_place_of_the_old_one_is_read(file: Path) -> None:
    file.write_text("gun")
    deny_list = DenyList(file)
    other = file.with_suffix(".new")
    other.write_text("bow")
    os.utime(other, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns))
    other.replace(file)
    assert (deny_list.find("a gun"), deny_list.find("a bow")) == (None, 1)


def test_a_changed_file_that_is_wrong_leaves_the_old_patterns_and_is_told_once(file: Path) -> None:
    file.write_text("gun")
    deny_list = DenyList(file)
    with capture_logs() as logs:
        file.write_text("knife\n(")
        assert [deny_list.find(text) for text in ("a gun", "a knife")] == [1, None]
        file.unlink()
        assert [deny_list.find(text) for text in ("a gun", "a knife")] == [1, None]
        file.write_text("knife\n# mended")
        assert [deny_list.find(text) for text in ("a gun", "a knife")] == [None, 1]
    told = [(line["event"], line["log_level"], line.get("problems")) for line in logs]
    assert told == [
        ("deny_list_wrong", "error", (f"line 2 of {file}: missing ): (",)),
        (
            "deny_list_wrong",
            "error",
            (f"the file {file} cannot be read: No such file or directory",),
        ),
        ("deny_list_read", "info", None),
    ]
