"""Calls to S3 are tried again while the storage is down, and only then."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web
from botocore.exceptions import ClientError, ConnectionClosedError

from imgsvc.errors import BucketNotFound, StorageAccessDenied, StorageError, StorageUnreachable
from imgsvc.storage import Storage
from imgsvc.storage.s3_errors import S3_ERRORS
from imgsvc.storage.s3_retry import Retry
from standins.s3 import S3Server
from storage.proxies import Proxy, Time, overloaded, proxied

Call = Callable[[Storage, str, Path], Awaitable[object]]


def answer(status: int, code: str = "") -> ClientError:
    return ClientError(
        {
            "Error": {"Code": code},
            "ResponseMetadata": {"HTTPStatusCode": status},  # type: ignore[typeddict-item]  # all that is read
        },
        "PutObject",
    )


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
async def bucket(s3_server: S3Server) -> str:
    name = f"bucket-{uuid.uuid4().hex}"
    await asyncio.to_thread(s3_server.create_bucket, name)
    return name


@pytest.fixture
async def through_a_proxy(s3_server: S3Server, time: Time) -> AsyncIterator[tuple[Storage, Proxy]]:
    async with proxied(s3_server, time.retry()) as both:
        yield both


# -- the schedule ----------------------------------------------------------------------------


async def test_waits_double_up_to_eight_seconds_and_end_after_the_time_in_all(time: Time) -> None:
    calls: list[float] = []

    async def failing() -> None:
        calls.append(time.now)
        raise answer(503)

    with pytest.raises(ClientError):
        await time.retry(seconds=30)(failing)
    assert time.waits == [0.5, 1, 2, 4, 8, 8, 6.5]
    assert calls[-1] == 30  # the last attempt comes at the very end


async def test_half_of_each_wait_is_random(time: Time) -> None:
    with pytest.raises(ClientError):
        await time.retry(seconds=2, random=0)(_raising(answer(503)))
    assert time.waits == [0.25, 0.5, 1, 0.25]


async def test_the_time_counts_from_the_first_failure_not_from_the_call(time: Time) -> None:
    calls: list[float] = []

    async def slow() -> str:
        calls.append(time.now)
        if len(calls) > 1:
            return "done"
        time.now += 1000  # a long upload, which then breaks off
        raise ConnectionClosedError(endpoint_url="http://x")

    assert await time.retry()(slow) == "done"


async def test_with_no_time_a_call_is_tried_once(time: Time) -> None:
    with pytest.raises(ClientError):
        await time.retry(seconds=0)(_raising(answer(503)))
    assert time.waits == []


def _raising(exc: Exception) -> Callable[[], Awaitable[None]]:
    async def attempt() -> None:
        raise exc

    return attempt


async def test_a_call_can_be_cancelled_while_it_waits() -> None:
    waiting = asyncio.Event()

    async def sleep(_: float) -> None:
        waiting.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(_call(Retry(seconds=60, sleep=sleep), answer(503)))
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def _call(retry: Retry, exc: Exception) -> None:
    await retry(_raising(exc))


# -- through a proxy, to a real server ---------------------------------------------------------


async def _list(storage: Storage, bucket: str, _: Path) -> object:
    return [info.key async for info in storage.list(bucket, "")]


CALLS: dict[str, Call] = {
    "put": lambda storage, bucket, _: storage.put(bucket, "new", b"x", content_type="text/plain"),
    "put_file": lambda storage, bucket, path: storage.put_file(
        bucket, "large", path, content_type="text/plain"
    ),
    "get": lambda storage, bucket, _: storage.get(bucket, "there", max_bytes=10),
    "stat": lambda storage, bucket, _: storage.stat(bucket, "there"),
    "stat of nothing": lambda storage, bucket, _: storage.stat(bucket, "missing"),
    "list": _list,
    "delete": lambda storage, bucket, _: storage.delete(bucket, "there"),
}


@pytest.fixture
def large(tmp_path: Path) -> Path:
    (tmp_path / "large").write_bytes(bytes(17 << 20))
    return tmp_path / "large"


@pytest.mark.parametrize(
    "call",
    [
        call if call in {"put", "list"} else pytest.param(call, marks=pytest.mark.slow)
        for call in CALLS
    ],
)
async def test_a_storage_that_is_down_for_thirty_seconds_fails_nothing(
    through_a_proxy: tuple[Storage, Proxy], bucket: str, time: Time, large: Path, call: str
) -> None:
    storage, proxy = through_a_proxy
    await storage.put(bucket, "there", b"content", content_type="text/plain")
    expected = (
        None if "stat" in call or "put" in call else await CALLS["list"](storage, bucket, large)
    )
    proxy.seen.clear()

    async def down(_: web.Request) -> web.StreamResponse | None:
        return overloaded() if time.now < 30 else None

    proxy.before = down
    result = await CALLS[call](storage, bucket, large)
    assert 30 <= time.now < 60
    assert len(proxy.seen) > len(time.waits)
    keys = await CALLS["list"](storage, bucket, large)
    assert {
        "put": keys == ["new", "there"],
        "put_file": keys == ["large", "there"],
        "get": result == b"content",
        "stat": result is not None,
        "stat of nothing": result is None,
        "list": result == expected == ["there"],
        "delete": keys == [],
    }[call]


async def test_a_listing_whose_second_page_fails_goes_on_without_a_gap(
    through_a_proxy: tuple[Storage, Proxy], bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgsvc.storage.s3._PAGE", 2)
    storage, proxy = through_a_proxy
    keys = [f"{n}.png" for n in range(5)]
    for key in keys:
        await storage.put(bucket, key, b"x", content_type="image/png")
    listing = storage.list(bucket, "")
    listed = [(await anext(listing)).key for _ in range(2)]
    failures = iter([overloaded(), overloaded("InternalError", 500)])

    async def fail_twice(_: web.Request) -> web.StreamResponse | None:
        return next(failures, None)

    proxy.before = fail_twice
    assert listed + [info.key async for info in listing] == keys


@pytest.mark.parametrize(
    "status", [503, *(pytest.param(each, marks=pytest.mark.slow) for each in (500, 502, 504))]
)
async def test_an_answer_of_a_failing_storage_is_not_taken_for_the_last_word(
    through_a_proxy: tuple[Storage, Proxy], bucket: str, status: int
) -> None:
    storage, proxy = through_a_proxy
    failures = iter([web.Response(status=status, text="<html><p>Bad", content_type="text/html")])

    async def fail_once(_: web.Request) -> web.StreamResponse | None:
        return next(failures, None)

    proxy.before = fail_once
    await storage.put(bucket, "a.png", b"x", content_type="image/png")
    assert await storage.get(bucket, "a.png", max_bytes=1) == b"x"


async def test_a_connection_that_breaks_in_an_upload_or_download_is_made_again(
    through_a_proxy: tuple[Storage, Proxy], bucket: str
) -> None:
    storage, proxy = through_a_proxy
    broken = 0

    async def break_off(request: web.Request) -> web.StreamResponse | None:
        nonlocal broken
        broken += 1
        if broken % 2 == 0:
            return None
        response = web.StreamResponse(headers={"Content-Length": "100"})
        if request.method == "GET":
            await response.prepare(request)
            await response.write(b"only this")
        assert request.transport
        request.transport.close()
        return response

    proxy.before = break_off
    await storage.put(bucket, "a.png", b"content", content_type="image/png")
    assert await storage.get(bucket, "a.png", max_bytes=100) == b"content"
    assert broken == 4


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("AccessDenied", 403, StorageAccessDenied),
        ("InvalidAccessKeyId", 403, StorageAccessDenied),
        ("NoSuchBucket", 404, BucketNotFound),
        ("BadDigest", 400, StorageError),
        ("TooManyRequests", 429, StorageUnreachable),
        ("NotImplemented", 501, StorageError),
    ],
)
async def test_an_answer_that_says_no_is_taken_at_once(
    through_a_proxy: tuple[Storage, Proxy],
    bucket: str,
    time: Time,
    code: str,
    status: int,
    expected: type[StorageError],
) -> None:
    storage, proxy = through_a_proxy

    async def refuse(_: web.Request) -> web.StreamResponse:
        return overloaded(code, status)

    proxy.before = refuse
    with pytest.raises(expected):
        await storage.put(bucket, "a.png", b"x", content_type="image/png")
    assert (proxy.seen, time.waits) == (["PUT"], [])


async def test_a_storage_that_stays_down_is_named(
    through_a_proxy: tuple[Storage, Proxy], bucket: str, time: Time
) -> None:
    storage, proxy = through_a_proxy

    async def down(_: web.Request) -> web.StreamResponse:
        return overloaded()

    proxy.before = down
    with pytest.raises(StorageUnreachable, match="overloaded") as caught:
        await storage.get(bucket, "a.png", max_bytes=1)
    assert isinstance(caught.value.__cause__, S3_ERRORS)
    assert time.now == 60
