"""What every storage promises, tried on each of them with real files, sockets and signatures."""

import asyncio
import os
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from imgsvc.errors import BucketNotFound, ObjectNotFound, ObjectTooLarge
from standins.s3 import S3Server
from storage.subjects import LIMIT, Clients, Subject, filesystem_subject, s3_subject

pytestmark = pytest.mark.asyncio(loop_scope="module")  # S3 clients are slow to make

MIB = 1 << 20
ODD_KEYS = [
    "plain.png",
    "a/b/c/deep.png",
    "with space.png",
    "ünïcødé/画像 🎨.png",
    "plus+percent%41&equals=question?hash#.png",
    "quotes'\"<>;:@,$!*()[]{}|\\^~`.png",
    "trailing space /x.png",
    "x" * 200 + "/" + "y" * 200 + ".png",
]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def clients() -> AsyncIterator[Clients]:
    async with AsyncExitStack() as stack:
        yield Clients(stack)


@pytest_asyncio.fixture(
    params=[
        "filesystem",
        # The quick tests meet a real S3 in test_s3, test_s3_upload and test_service_on_s3.
        pytest.param("s3-tls", marks=pytest.mark.slow),
        pytest.param("s3", marks=pytest.mark.slow),
        pytest.param("s3-when_required", marks=pytest.mark.slow),
        pytest.param("s3-tls-when_required", marks=pytest.mark.slow),
    ],
    loop_scope="module",
)
async def subject(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    clients: Clients,
) -> AsyncIterator[Subject]:
    if request.param == "filesystem":
        async with filesystem_subject(tmp_path) as ready:
            yield ready
    else:
        name = "s3_tls_server" if "tls" in request.param else "s3_server"
        server: S3Server = request.getfixturevalue(name)
        required = request.param.endswith("when_required")
        storage = await clients.get(server, "when_required" if required else "when_supported")
        yield await s3_subject(server, storage, monkeypatch)


async def test_objects_with_odd_keys_come_back_by_get_listing_and_link(subject: Subject) -> None:
    for number, key in enumerate(ODD_KEYS):
        data = b"%d" % number
        await subject.put(key, data)
        assert await subject.get(key) == data
        assert await subject.keys(key) == [key]
        found = await subject.stat(key)
        assert found is not None
        assert found.size == 1
        url = await subject.storage.presign(subject.bucket, key, expires_in=60)
        assert await subject.fetch(url) == (200, "image/png", data)
        await subject.storage.delete(subject.bucket, key)
        assert await subject.keys("") == []


@pytest.mark.parametrize("size", [0, 1, 25 * MIB])
async def test_an_object_of_any_size_comes_back_whole(subject: Subject, size: int) -> None:
    data = os.urandom(size)
    await subject.put("sized.png", data)
    assert await subject.get("sized.png") == data
    assert [info.size async for info in subject.storage.list(subject.bucket, "")] == [size]


async def test_a_second_put_replaces_the_object(subject: Subject) -> None:
    await subject.put("a.png", b"long first content")
    await subject.put("a.png", b"second")
    assert await subject.get("a.png") == b"second"
    assert await subject.keys("") == ["a.png"]


async def test_many_puts_of_one_key_leave_one_of_them_whole(subject: Subject) -> None:
    contents = {str(n): bytes([n]) * 50_000 for n in range(8)}
    await asyncio.gather(
        *(subject.put("same.png", data, number=number) for number, data in contents.items())
    )
    found = await subject.stat("same.png")
    assert found is not None
    assert await subject.get("same.png") == contents[found.metadata["number"]]


async def test_an_object_keeps_its_content_type_and_metadata(subject: Subject) -> None:
    metadata = {"job-id": "1", "source-key": "in/%C3%A9.png", "odd": 'a b=c;d,"e" ~!'}
    await subject.storage.put(
        subject.bucket, "a/b.png", b"12345", content_type="text/csv", metadata=metadata
    )
    found = await subject.stat("a/b.png")
    assert found is not None
    assert (found.size, found.content_type, dict(found.metadata)) == (5, "text/csv", metadata)
    assert abs(found.modified - datetime.now(UTC)) < timedelta(minutes=5)
    assert await subject.keys("") == ["a/b.png"]


async def test_as_much_metadata_as_is_allowed_is_kept(subject: Subject) -> None:
    metadata = {f"{n}{'n' * 59}": "v" * 256 for n in range(6)}
    await subject.put("a.png", b"data", **metadata)
    found = await subject.stat("a.png")
    assert found is not None
    assert found.metadata == metadata


async def test_an_object_put_without_metadata_has_none(subject: Subject) -> None:
    await subject.put("a.png")
    found = await subject.stat("a.png")
    assert found is not None
    assert (found.content_type, dict(found.metadata)) == ("image/png", {})


async def test_metadata_is_replaced_and_removed_with_its_object(subject: Subject) -> None:
    await subject.put("a.png", b"12345", old="1", both="1")
    await subject.put("a.png", b"12345", both="2")
    found = await subject.stat("a.png")
    assert found is not None
    assert found.metadata == {"both": "2"}
    await subject.storage.delete(subject.bucket, "a.png")
    assert await subject.stat("a.png") is None
    await subject.put("a.png", b"12345")
    found = await subject.stat("a.png")
    assert found is not None
    assert found.metadata == {}


async def test_metadata_that_is_no_header_is_refused(subject: Subject) -> None:
    with pytest.raises(ValueError, match="value of job-id"):
        await subject.put("a.png", b"data", **{"job-id": "1\r\nx-amz-acl: public-read"})
    assert await subject.keys("") == []


async def test_an_object_that_is_not_there_has_no_stat(subject: Subject) -> None:
    await subject.put("a/b.png")
    for key in ("a", "a/b.png/c", "missing.png", "a/missing.png"):
        assert await subject.stat(key) is None


@pytest.mark.parametrize("size", [0, 1, 16 * MIB, 16 * MIB + 1, 37 * MIB])
async def test_a_file_of_any_size_is_stored_whole_with_its_metadata(
    subject: Subject, tmp_path: Path, size: int
) -> None:
    data = os.urandom(size)
    (tmp_path / "source").write_bytes(data)
    for number in ("1", "2"):
        await subject.storage.put_file(
            subject.bucket,
            "a/b.csv",
            tmp_path / "source",
            content_type="text/csv",
            metadata={"number": number},
        )
    found = await subject.stat("a/b.csv")
    assert found is not None
    assert (found.size, found.content_type) == (size, "text/csv")
    assert found.metadata == {"number": "2"}
    assert await subject.storage.get(subject.bucket, "a/b.csv", max_bytes=size) == data


async def test_a_file_that_cannot_be_opened_is_no_trouble_of_the_storage(
    subject: Subject, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError):
        await subject.storage.put_file(
            subject.bucket, "a.png", tmp_path / "missing", content_type="image/png"
        )
    assert await subject.keys("") == []


async def test_an_object_that_is_not_there_is_named(subject: Subject) -> None:
    with pytest.raises(ObjectNotFound, match=r"no/such\.png"):
        await subject.get("no/such.png")


async def test_a_bucket_that_is_not_there_is_named(subject: Subject) -> None:
    missing, storage = "bucket-that-is-missing", subject.storage
    with pytest.raises(BucketNotFound, match=missing):
        await storage.put(missing, "a.png", b"", content_type="image/png")
    with pytest.raises(BucketNotFound, match=missing):
        await storage.get(missing, "a.png", max_bytes=1)
    with pytest.raises(BucketNotFound, match=missing):
        await storage.delete(missing, "a.png")
    with pytest.raises(BucketNotFound, match=missing):
        await anext(storage.list(missing, ""))
    with pytest.raises(BucketNotFound, match=missing):
        await storage.stat(missing, "a.png")


async def test_a_bucket_name_cannot_lead_elsewhere(subject: Subject) -> None:
    for bucket in ("", "..", "../results", "results/..", "/etc", "a\0b", "."):
        with pytest.raises(BucketNotFound):
            await subject.storage.get(bucket, "passwd", max_bytes=LIMIT)


async def test_an_object_larger_than_allowed_is_refused(subject: Subject) -> None:
    await subject.put("big.png", b"x" * 1000)
    with pytest.raises(ObjectTooLarge, match=r"big\.png has 1000 bytes, more than 999"):
        await subject.storage.get(subject.bucket, "big.png", max_bytes=999)
    assert len(await subject.storage.get(subject.bucket, "big.png", max_bytes=1000)) == 1000


async def test_deleting_twice_is_no_error(subject: Subject) -> None:
    await subject.put("a.png")
    for _ in range(2):
        await subject.storage.delete(subject.bucket, "a.png")
        with pytest.raises(ObjectNotFound):
            await subject.get("a.png")


async def test_a_listing_tells_size_and_time(subject: Subject) -> None:
    await subject.put("a.png", b"12345")
    infos = [info async for info in subject.storage.list(subject.bucket, "")]
    assert [(info.key, info.size) for info in infos] == [("a.png", 5)]
    assert abs(infos[0].modified - datetime.now(UTC)) < timedelta(minutes=5)


async def test_a_prefix_is_the_beginning_of_a_key_and_order_is_by_bytes(subject: Subject) -> None:
    keys = [
        "a.png",
        "a/b.png",
        "a/b/c.png",
        "a/bc.png",
        "a0.png",
        "b.png",
        "é.png",
        "\U0001f3a8.png",
    ]
    await asyncio.gather(*(subject.put(key) for key in keys if key != "a/b/c.png"))
    await subject.put("a/b/c.png")
    expected = {
        "": keys,
        "a": keys[:5],
        "a/": keys[1:4],
        "a/b": keys[1:4],
        "a/b/": keys[2:3],
        "a/b.png": keys[1:2],
        "z": [],
        "a/b.png/": [],
        "missing/folder/": [],
        "../": [],
        "/": [],
    }
    assert {prefix: await subject.keys(prefix) for prefix in expected} == expected


async def test_a_listing_goes_on_behind_any_key(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgsvc.storage.s3._PAGE", 2)  # so that it comes with continuations
    monkeypatch.setattr("imgsvc.storage.walk._NAMES_AT_ONCE", 2)
    keys = [
        "a+/b",
        "a-.png",
        "a.png",
        "a/b.png",
        "a/b/c",
        "a/b/d/e",
        "a/bc",
        "a0",
        "b",
        "é",
        "ﬀ",
        "𝄞",
    ]
    assert keys == sorted(keys, key=str.encode)
    for key in keys:
        await subject.put(key)
    between = [
        "",
        "a",
        "a/",
        "a/b",
        "a/b/",
        "a/b/c/x",
        "a/b0",
        "a/b/d",
        "a/c",
        "a00",
        "zz",
        "\U0010ffff",
    ]
    for after in keys + between:
        behind = [key for key in keys if key.encode() > after.encode()]
        assert await subject.keys("", after) == behind
        for prefix in ("a", "a/", "a/b/"):
            expected = [key for key in behind if key.startswith(prefix)]
            assert await subject.keys(prefix, after) == expected


async def check_listing(subject: Subject, count: int) -> None:
    keys = [f"in/{n:05}.png" for n in range(count)]
    gate = asyncio.Semaphore(32)

    async def put(key: str) -> None:
        async with gate:
            await subject.put(key)

    await asyncio.gather(*(put(key) for key in keys))
    listing = subject.storage.list(subject.bucket, "in/")
    assert (await anext(listing)).key == keys[0]
    # objects of later pages are looked for only when their turn comes
    await subject.storage.delete(subject.bucket, keys[-1])
    assert [info.key async for info in listing] == keys[1:-1]


async def test_a_listing_goes_on_over_pages_lazily(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgsvc.storage.s3._PAGE", 10)
    monkeypatch.setattr("imgsvc.storage.filesystem._PAGE", 10)
    await check_listing(subject, 25)


@pytest.mark.slow
@pytest.mark.timeout(300)  # the server on loopback takes about 50 objects a second
@pytest.mark.parametrize("subject", ["filesystem", "s3"], indirect=True)
async def test_a_listing_of_thousands_is_complete(subject: Subject) -> None:
    await check_listing(subject, 2100)  # three pages of S3


async def test_a_tampered_link_is_refused(subject: Subject) -> None:
    await asyncio.gather(subject.put("a.png"), subject.put("b.png"))
    url = await subject.storage.presign(subject.bucket, "a.png", expires_in=60)
    assert (await subject.fetch(url))[0] == 200
    last = "0" if url[-1] != "0" else "1"
    for tampered in (
        url.replace("a.png", "b.png"),
        url[:-1] + last,
        re.sub(r"(xpires=\d+)", r"\g<1>0", url),
        url.split("?")[0],
    ):
        status, _, body = await subject.fetch(tampered)
        assert status in {400, 403}  # 400: what Swift says without any signature
        assert body != b"data"


async def test_an_expired_link_is_refused(subject: Subject) -> None:
    await subject.put("a.png")
    status, _, body = await subject.fetch(await subject.expired_link("a.png"))
    assert status == 403
    assert body != b"data"
