"""What the filesystem keeps of objects beside their files."""

import asyncio
import errno
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from imgsvc.errors import InvalidObjectKey, StorageError
from imgsvc.storage import FilesystemConfig, FilesystemStorage
from imgsvc.storage.disk import STAGING
from imgsvc.storage.sidecar import METADATA


@pytest.fixture
async def storage(tmp_path: Path) -> AsyncIterator[FilesystemStorage]:
    async with FilesystemConfig().open(data_dir=tmp_path, base_url="http://host") as opened:
        yield opened


async def put_plain(storage: FilesystemStorage, key: str) -> None:
    await storage.put("input", key, b"data", content_type="image/png")


async def keys(storage: FilesystemStorage, prefix: str) -> list[str]:
    return [info.key async for info in storage.list("input", prefix)]


async def described(storage: FilesystemStorage, key: str) -> tuple[str, dict[str, str]]:
    found = await storage.stat("input", key)
    assert found is not None
    return found.content_type, dict(found.metadata)


async def put_numbered(storage: FilesystemStorage, key: str, data: bytes, number: str) -> None:
    await storage.put("input", key, data, content_type="text/csv", metadata={"number": number})


def sidecars(folder: Path) -> list[Path]:
    return [path for path in (folder / "files" / "input" / METADATA).rglob("*") if path.is_file()]


async def test_metadata_is_no_object(storage: FilesystemStorage, tmp_path: Path) -> None:
    await put_numbered(storage, "a.png", b"data", "1")
    [path] = sidecars(tmp_path)
    key = path.relative_to(tmp_path / "files" / "input").as_posix()
    assert await keys(storage, "") == ["a.png"]
    assert await keys(storage, METADATA) == []
    with pytest.raises(InvalidObjectKey, match=METADATA):
        await storage.get("input", key, max_bytes=1000)
    with pytest.raises(InvalidObjectKey):
        await put_plain(storage, key)
    with pytest.raises(InvalidObjectKey):
        await storage.stat("input", key)
    url = await storage.presign("input", key, expires_in=60)
    fields = dict(pair.split("=") for pair in url.split("?")[1].split("&"))
    with pytest.raises(InvalidObjectKey):
        await storage.verify_link("input", key, **fields)


async def test_each_object_has_one_file_of_metadata_at_most(
    storage: FilesystemStorage, tmp_path: Path
) -> None:
    for number in range(5):
        await put_numbered(storage, "a.png", b"data", str(number))
        assert len(sidecars(tmp_path)) == 1
    await put_plain(storage, "a.png")  # all of it is told by the extension
    assert sidecars(tmp_path) == []
    await put_numbered(storage, "a.png", b"data", "6")
    await storage.delete("input", "a.png")
    assert sidecars(tmp_path) == []


async def test_a_put_that_ends_before_the_rename_changes_neither_content_nor_metadata(
    storage: FilesystemStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put_numbered(storage, "a.csv", b"1111", "1")

    def crash(*_: object) -> None:
        raise OSError(errno.EIO, "crash")

    monkeypatch.setattr("imgsvc.storage.disk._replace", crash)
    monkeypatch.setattr("imgsvc.storage.sidecar.remove", lambda *_: None)  # nothing is tidied up
    with pytest.raises(StorageError):
        await put_numbered(storage, "a.csv", b"2222", "2")
    assert len(sidecars(tmp_path)) == 2
    assert await storage.get("input", "a.csv", max_bytes=100) == b"1111"
    assert await described(storage, "a.csv") == ("text/csv", {"number": "1"})


async def test_a_file_changed_by_hand_has_none_of_the_old_metadata(
    storage: FilesystemStorage, tmp_path: Path
) -> None:
    await put_numbered(storage, "a.png", b"1111", "1")
    (tmp_path / "files" / "input" / "a.png").write_bytes(b"2222")
    assert await described(storage, "a.png") == ("image/png", {})


async def test_damaged_metadata_is_lost_and_does_no_harm(
    storage: FilesystemStorage, tmp_path: Path
) -> None:
    await put_numbered(storage, "a.png", b"1111", "1")
    sidecars(tmp_path)[0].write_bytes(b"\0" * 20)
    assert await described(storage, "a.png") == ("image/png", {})


async def test_a_stat_between_two_puts_shows_one_of_them(storage: FilesystemStorage) -> None:
    async def replace() -> None:
        for number in range(1, 51):
            await put_numbered(storage, "a.csv", bytes(number), str(number))

    await put_numbered(storage, "a.csv", bytes(1), "1")
    replacing = asyncio.create_task(replace())
    while not replacing.done():
        found = await storage.stat("input", "a.csv")
        assert found is not None
        assert found.metadata == {"number": str(found.size)}
    await replacing


async def test_metadata_goes_along_when_the_folder_is_moved(
    storage: FilesystemStorage, tmp_path: Path
) -> None:
    await put_numbered(storage, "a/b.csv", b"1111", "1")
    shutil.copytree(tmp_path / "files", tmp_path / "copy")
    config = FilesystemConfig(folder=tmp_path / "copy")
    async with config.open(data_dir=tmp_path, base_url="") as copy:
        assert await described(copy, "a/b.csv") == ("text/csv", {"number": "1"})


async def test_a_file_is_copied_whole_or_not_at_all(
    storage: FilesystemStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    (tmp_path / "source").write_bytes(b"data")
    monkeypatch.setattr("imgsvc.storage.disk.shutil.copyfileobj", full)
    with pytest.raises(StorageError, match="full"):
        await storage.put_file(
            "input", "a.csv", tmp_path / "source", content_type="text/csv", metadata={"n": "1"}
        )
    assert await keys(storage, "") == []
    assert list((tmp_path / "files" / "input" / STAGING).iterdir()) == []
    assert sidecars(tmp_path) == []


async def test_a_refused_put_leaves_no_metadata_behind(
    storage: FilesystemStorage, tmp_path: Path
) -> None:
    await put_plain(storage, "a/b.png")
    for key in ("a", "a/b.png/c.png"):
        with pytest.raises(InvalidObjectKey, match="exclude each other"):
            await put_numbered(storage, key, b"data", "1")
    assert sidecars(tmp_path) == []
