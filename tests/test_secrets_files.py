"""Secret files are read as whole values, however they are written."""

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from imgsvc.errors import ConfigurationError
from imgsvc.secrets import SecretFiles, read_secret_files

OFFSET = 10  # seconds; more than files need to settle


@pytest.fixture
def between_looks(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Return a function that has something done in place of the first wait, and time pass."""

    def plan(act: Callable[[], object]) -> None:
        later = time.time() + OFFSET

        async def sleep(_seconds: float) -> None:
            act()
            monkeypatch.setattr(time, "time", lambda: later)

        monkeypatch.setattr(asyncio, "sleep", sleep)

    return plan


async def test_half_of_a_value_is_not_taken(
    tmp_path: Path, between_looks: Callable[[Callable[[], object]], None]
) -> None:
    file = tmp_path / "openai__api_key"
    file.write_text("sk-ha")
    between_looks(lambda: file.write_text("sk-half-and-half\n"))
    assert await SecretFiles(tmp_path).read() == {"openai__api_key": "sk-half-and-half"}


async def test_two_values_that_belong_together_are_read_together(
    tmp_path: Path, between_looks: Callable[[Callable[[], object]], None]
) -> None:
    key_id, key = tmp_path / "storage__access_key_id", tmp_path / "storage__secret_access_key"
    key_id.write_text("old-id")
    key.write_text("old-key")
    key_id.write_text("new-id")
    between_looks(lambda: key.write_text("new-key"))
    assert await SecretFiles(tmp_path).read() == {key_id.name: "new-id", key.name: "new-key"}


async def test_kubernetes_puts_one_link_in_place_of_another(
    tmp_path: Path, between_looks: Callable[[Callable[[], object]], None]
) -> None:
    for version in ("1", "2"):
        (tmp_path / f"..{version}").mkdir()
        (tmp_path / f"..{version}" / "openai__api_key").write_text(f"sk-{version}")
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "openai__api_key").symlink_to("..data/openai__api_key")
    (tmp_path / "..next").symlink_to("..2")
    between_looks(lambda: (tmp_path / "..next").rename(tmp_path / "..data"))
    assert await SecretFiles(tmp_path).read() == {"openai__api_key": "sk-2"}


async def test_an_empty_file_sets_nothing(
    tmp_path: Path, between_looks: Callable[[Callable[[], object]], None]
) -> None:
    (tmp_path / "openai__api_key").write_text(" \n")
    between_looks(lambda: None)
    assert await SecretFiles(tmp_path).read() == {}


async def test_files_that_change_all_the_time_are_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes = 0

    async def sleep(_seconds: float) -> None:
        nonlocal writes
        writes += 1
        (tmp_path / "openai__api_key").write_text(f"sk-{writes}")

    monkeypatch.setattr(asyncio, "sleep", sleep)
    (tmp_path / "openai__api_key").write_text("sk-0")
    with pytest.raises(ConfigurationError, match="change all the time"):
        await SecretFiles(tmp_path).read()
    assert 1 < writes < 100


async def test_a_folder_that_is_gone_or_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        await SecretFiles(tmp_path / "gone").read()
    (tmp_path / "openai__api_key").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="cannot be read as text"):
        await SecretFiles(tmp_path).read()


@pytest.mark.parametrize("folder", ["gone", "a file"])
def test_what_is_no_folder_is_not_taken_for_an_empty_one(tmp_path: Path, folder: str) -> None:
    (tmp_path / "a file").write_text("sk-1")
    with pytest.raises(ConfigurationError, match=r"secrets_dir: .* cannot be read"):
        read_secret_files(tmp_path / folder)


@pytest.mark.parametrize(
    "make",
    [
        os.mkfifo,
        os.mkdir,
        lambda file: file.symlink_to(file),
        lambda file: file.symlink_to("/dev/zero"),
        lambda file: file.symlink_to("nowhere"),
        lambda file: file.write_text("sk-1", "utf-16"),
    ],
    ids=["pipe", "folder", "loop", "device", "link into nothing", "UTF-16"],
)
def test_what_is_no_file_of_text_is_told_and_not_waited_for(
    tmp_path: Path, make: Callable[[Path], object]
) -> None:
    make(tmp_path / "openai__api_key")
    with pytest.raises(ConfigurationError, match="openai__api_key cannot be read as text"):
        read_secret_files(tmp_path)


def test_more_than_all_secrets_together_can_be_is_not_read(tmp_path: Path) -> None:
    for room in ("a", "b"):
        with (tmp_path / f"{room}__key").open("wb") as file:
            file.truncate(600_000)
    with pytest.raises(ConfigurationError, match="hold more than 1 MiB"):
        read_secret_files(tmp_path)
    (tmp_path / "a__key").write_text("sk-1")
    with (tmp_path / "b__key").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(ConfigurationError, match="hold more than 1 MiB"):
        read_secret_files(tmp_path)


@pytest.mark.parametrize(
    "data", [b"sk-1", b"sk-1\r\n", b"\xef\xbb\xbfsk-1\r\n", b" \tsk-1\n\n"], ids=range(4)
)
def test_what_editors_put_around_a_value_is_no_part_of_it(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "openai__api_key").write_bytes(data)
    for name in ("README", ".hidden__key", "__key", "..data"):
        (tmp_path / name).write_text("somebody else's")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/openai__\xff")).write_text("somebody else's")
    assert read_secret_files(tmp_path) == {"openai__api_key": "sk-1"}
