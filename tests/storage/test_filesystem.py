import errno
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from imgsvc.errors import (
    ConfigurationError,
    InvalidObjectKey,
    ObjectNotFound,
    StorageAccessDenied,
    StorageError,
)
from imgsvc.storage import FilesystemConfig, FilesystemStorage
from imgsvc.storage.disk import STAGING, storage_error
from imgsvc.storage.filesystem import content_type

BAD_KEYS = ["", "..", "../x", "a/../../x", "/etc/passwd", "a//b", "a/./b", "a\0b", "x" * 256]


@pytest.fixture
async def storage(tmp_path: Path) -> AsyncIterator[FilesystemStorage]:
    async with FilesystemConfig().open(data_dir=tmp_path, base_url="http://host") as opened:
        yield opened


async def put(storage: FilesystemStorage, key: str, data: bytes = b"data") -> None:
    await storage.put("input", key, data, content_type="image/png")


async def keys(storage: FilesystemStorage, prefix: str = "") -> list[str]:
    return [info.key async for info in storage.list("input", prefix)]


def verification(url: str) -> dict[str, str]:
    return dict(pair.split("=") for pair in url.split("?")[1].split("&"))


async def test_objects_are_plain_files_in_the_data_folder(
    storage: FilesystemStorage, tmp_path: Path
) -> None:
    await put(storage, "a/b.png")
    assert (tmp_path / "files" / "input" / "a" / "b.png").read_bytes() == b"data"
    (tmp_path / "files" / "input" / "dropped.png").write_bytes(b"by hand")
    assert await storage.get("input", "dropped.png", max_bytes=100) == b"by hand"


@pytest.mark.parametrize("key", BAD_KEYS)
async def test_no_key_leaves_the_bucket(storage: FilesystemStorage, key: str) -> None:
    with pytest.raises(InvalidObjectKey):
        await put(storage, key)
    with pytest.raises(InvalidObjectKey):
        await storage.stat("input", key)
    with pytest.raises(InvalidObjectKey):
        await storage.get("input", key, max_bytes=100)
    with pytest.raises(InvalidObjectKey):
        await storage.delete("input", key)
    with pytest.raises(InvalidObjectKey):
        await storage.presign("input", key, expires_in=60)


async def test_symbolic_links_are_not_followed(storage: FilesystemStorage, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.png").write_bytes(b"secret")
    bucket = tmp_path / "files" / "input"
    (bucket / "folder").symlink_to(outside)
    (bucket / "file.png").symlink_to(outside / "secret.png")
    assert await keys(storage) == []
    assert await keys(storage, "folder/") == []
    with pytest.raises(InvalidObjectKey):
        await storage.get("input", "folder/secret.png", max_bytes=100)
    with pytest.raises(InvalidObjectKey):
        await put(storage, "folder/secret.png", b"overwritten")
    with pytest.raises(ObjectNotFound):
        await storage.get("input", "file.png", max_bytes=100)
    await put(storage, "file.png", b"replaced")
    assert (outside / "secret.png").read_bytes() == b"secret"
    assert await storage.get("input", "file.png", max_bytes=100) == b"replaced"


async def test_unfinished_files_are_neither_listed_nor_readable(
    storage: FilesystemStorage, tmp_path: Path
) -> None:
    (tmp_path / "files" / "input" / STAGING / "unfinished").write_bytes(b"half")
    await put(storage, "a.png")
    assert await keys(storage) == ["a.png"]
    assert await keys(storage, STAGING) == []
    with pytest.raises(InvalidObjectKey):
        await storage.get("input", f"{STAGING}/unfinished", max_bytes=100)


async def test_the_next_start_removes_what_a_crashed_upload_left(tmp_path: Path) -> None:
    staging = tmp_path / "files" / "input" / STAGING
    staging.mkdir(parents=True)
    (staging / "old").touch()
    os.utime(staging / "old", (0, 0))
    (staging / "fresh").touch()  # of another process, perhaps
    async with FilesystemConfig().open(data_dir=tmp_path, base_url=""):
        assert [path.name for path in staging.iterdir()] == ["fresh"]


async def test_a_refused_put_leaves_nothing_behind(
    storage: FilesystemStorage, tmp_path: Path
) -> None:
    await put(storage, "a/b.png")
    for key in ("a", "a/b.png/c.png"):
        with pytest.raises(InvalidObjectKey, match="exclude each other"):
            await put(storage, key)
    assert await keys(storage) == ["a/b.png"]
    assert list((tmp_path / "files" / "input" / STAGING).iterdir()) == []


@pytest.mark.parametrize("key", ["a", "a/b.png/c.png"])
async def test_a_folder_and_what_lies_below_a_file_are_no_objects(
    storage: FilesystemStorage, key: str
) -> None:
    await put(storage, "a/b.png")
    with pytest.raises(ObjectNotFound):
        await storage.get("input", key, max_bytes=100)
    await storage.delete("input", key)
    assert await keys(storage) == ["a/b.png"]


async def test_special_files_are_not_opened(storage: FilesystemStorage, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "files" / "input" / "pipe.png")
    assert await keys(storage) == []
    with pytest.raises(ObjectNotFound):
        await storage.get("input", "pipe.png", max_bytes=100)


async def test_files_whose_names_are_no_keys_are_listed_and_refused(
    storage: FilesystemStorage, tmp_path: Path
) -> None:
    bucket = os.fsencode(tmp_path / "files" / "input")
    for name in (b"not-utf-8-\xff.png", b"line\nbreak.png", b"fine.png"):
        os.mknod(bucket + b"/" + name)
    first, *odd = await keys(storage)
    assert (first, odd) == ("fine.png", ["line\nbreak.png", "not-utf-8-\udcff.png"])
    for key in odd:
        with pytest.raises(InvalidObjectKey, match="Choose another name"):
            await storage.get("input", key, max_bytes=100)


async def test_a_listing_goes_on_behind_a_file_whose_name_is_not_utf_8(
    storage: FilesystemStorage, tmp_path: Path
) -> None:
    bucket = os.fsencode(tmp_path / "files" / "input")
    for name in (b"\xee\x80\x80.png", b"\xff.png", b"\xf0\x9f\x8e\xa8.png"):
        os.mknod(bucket + b"/" + name)
    everything = await keys(storage)
    assert everything == ["\ue000.png", "\U0001f3a8.png", "\udcff.png"]
    for number, key in enumerate(everything):
        behind = [info.key async for info in storage.list("input", "", after=key)]
        assert behind == everything[number + 1 :]


async def test_a_large_folder_is_read_a_part_at_a_time(
    storage: FilesystemStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgsvc.storage.walk._NAMES_AT_ONCE", 7)
    names = [f"{n:03}.png" for n in range(50)]
    for name in names:
        (tmp_path / "files" / "input" / name).touch()
    assert await keys(storage) == names


async def test_a_link_leads_to_the_file(storage: FilesystemStorage, tmp_path: Path) -> None:
    await put(storage, "a.png")
    url = await storage.presign("input", "a.png", expires_in=60)
    assert url.startswith("http://host/files/input/a.png?")
    path = await storage.verify_link("input", "a.png", **verification(url))
    assert path == tmp_path / "files" / "input" / "a.png"


async def test_a_link_outlives_a_restart_but_not_its_object(tmp_path: Path) -> None:
    config = FilesystemConfig(folder=tmp_path / "elsewhere")
    async with config.open(data_dir=tmp_path / "data", base_url="http://host") as storage:
        await put(storage, "a.png")
        fields = verification(await storage.presign("input", "a.png", expires_in=60))
    async with config.open(data_dir=tmp_path / "data", base_url="http://host") as storage:
        assert (await storage.verify_link("input", "a.png", **fields)).is_file()
        await storage.delete("input", "a.png")
        with pytest.raises(ObjectNotFound):
            await storage.verify_link("input", "a.png", **fields)


async def test_a_folder_that_cannot_be_made_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    config = FilesystemConfig(folder=tmp_path / "file")
    with pytest.raises(ConfigurationError, match=r"storage\.folder") as caught:
        async with config.open(data_dir=tmp_path, base_url=""):
            pass
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize(
    ("number", "expected", "words"),
    [
        (errno.ENOENT, ObjectNotFound, "does not exist"),
        (errno.EISDIR, InvalidObjectKey, "exclude each other"),
        (errno.EACCES, StorageAccessDenied, "owner and permissions"),
        (errno.EROFS, StorageAccessDenied, "owner and permissions"),
        (errno.ENOSPC, StorageError, "full"),
        (errno.EDQUOT, StorageError, "full"),
        (errno.EIO, StorageError, "Input/output error"),
    ],
)
def test_errors_of_the_disk_say_what_to_do(
    number: int, expected: type[StorageError], words: str
) -> None:
    error = storage_error(OSError(number, "text", "/secret/path"), "a.png")
    assert type(error) is expected
    assert words in error.message
    assert "/secret" not in error.message


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.png", "image/png"),
        ("a.JPG", "image/jpeg"),
        ("a.webp", "image/webp"),
        ("a.avif", "image/avif"),
        ("manifest.json", "application/json"),
        ("manifest.csv", "text/csv; charset=utf-8"),
        ("page.html", "application/octet-stream"),
        ("drawing.svg", "application/octet-stream"),
        ("none", "application/octet-stream"),
    ],
)
def test_the_extension_tells_the_content_type_and_nothing_that_runs(
    name: str, expected: str
) -> None:
    assert content_type(Path(name)) == expected
