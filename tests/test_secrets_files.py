"""Secret files are read as whole values, however they are written."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from imgsvc.errors import ConfigurationError
from imgsvc.secrets import SecretFiles

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
