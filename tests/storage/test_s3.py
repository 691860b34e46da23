"""What only S3 has: credentials, endpoints, checksums on the wire, broken connections."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port
from pydantic import TypeAdapter, ValidationError

from imgsvc.errors import (
    BucketNotFound,
    InvalidObjectKey,
    ObjectTooLarge,
    StorageAccessDenied,
    StorageError,
    StorageUnreachable,
)
from imgsvc.storage import FilesystemConfig, S3Config, Storage, StorageConfig
from standins.s3 import S3Server

KEYS: dict[str, Any] = {"access_key_id": "an-id", "secret_access_key": "the-s3cr3t"}
MIB = 1 << 20


@asynccontextmanager
async def opened(endpoint: str, **fields: Any) -> AsyncIterator[Storage]:
    values = {"endpoint": endpoint, "bucket": "pictures", "retry_seconds": 0, **KEYS, **fields}
    config = S3Config.model_validate(values)
    async with config.open(data_dir=Path("unused"), base_url="") as storage:
        yield storage


@asynccontextmanager
async def answering(
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]], **fields: Any
) -> AsyncIterator[Storage]:
    """Yield a storage whose server is the handler."""
    app = web.Application(client_max_size=64 * MIB)
    app.router.add_route("*", "/{path:.*}", handler)
    async with (
        TestServer(app) as server,
        opened(str(server.make_url("")), **fields) as storage,
    ):
        yield storage


# -- credentials and endpoints, on a real server ------------------------------------------


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"secret_access_key": "wrong-s3cr3t"}, "do not belong together"),
        ({"access_key_id": "test:nobody"}, "access key"),
    ],
)
async def test_wrong_credentials_are_told_apart(
    s3_server: S3Server, fields: dict[str, str], words: str
) -> None:
    right = {"access_key_id": s3_server.access_key, "secret_access_key": s3_server.secret_key}
    async with opened(s3_server.endpoint, **{**right, **fields}) as storage:
        with pytest.raises(StorageAccessDenied, match=words) as caught:
            await storage.get("pictures", "a.png", max_bytes=1)
    assert "s3cr3t" not in caught.value.message


async def test_a_wrong_region_is_named(s3_server: S3Server) -> None:
    fields = {"access_key_id": s3_server.access_key, "secret_access_key": s3_server.secret_key}
    async with opened(s3_server.endpoint, region="elsewhere", **fields) as storage:
        with pytest.raises(StorageError, match="COS_REGION"):
            await storage.get("pictures", "a.png", max_bytes=1)


async def test_a_certificate_of_an_unknown_authority_is_named(s3_tls_server: S3Server) -> None:
    async with opened(s3_tls_server.endpoint) as storage:
        with pytest.raises(StorageUnreachable, match=r"certificate .* storage\.ca_file"):
            await storage.get("pictures", "a.png", max_bytes=1)


async def test_https_to_a_plain_server_is_named(s3_server: S3Server) -> None:
    async with opened(s3_server.endpoint.replace("http:", "https:")) as storage:
        with pytest.raises(StorageUnreachable, match="https"):
            await storage.get("pictures", "a.png", max_bytes=1)


async def test_an_endpoint_where_nobody_listens_is_named() -> None:
    endpoint = f"http://127.0.0.1:{unused_port()}"
    async with opened(endpoint) as storage:
        with pytest.raises(StorageUnreachable, match=f"No connection to the storage at {endpoint}"):
            await storage.get("pictures", "a.png", max_bytes=1)


# -- answers that no good server gives -----------------------------------------------------


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (200, "is no S3 server"),
        (302, "does not answer like an S3 server"),
        (404, "does not answer like an S3 server"),
    ],
)
async def test_a_web_page_in_place_of_s3_is_named(status: int, words: str) -> None:
    async def page(_: web.Request) -> web.StreamResponse:
        text = "<!doctype html><html><body><p>Welcome<br></body></html>"
        headers = {"Location": "/login"}
        return web.Response(status=status, text=text, content_type="text/html", headers=headers)

    async with answering(page) as storage:
        with pytest.raises(StorageError, match=words):
            await anext(storage.list("pictures", ""))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", "text/plain"),
        ("<html><body>Welcome</body></html>", "text/html"),
        ("<feed><Name>pictures</Name></feed>", "application/xml"),
    ],
)
async def test_an_answer_200_that_is_not_of_s3_is_no_success(
    text: str, kind: str, tmp_path: Path
) -> None:
    async def friendly(request: web.Request) -> web.StreamResponse:
        await request.read()
        return web.Response(text=text, content_type=kind)

    file = tmp_path / "large"
    file.touch()
    os.truncate(file, 17 * MIB)
    async with answering(friendly) as storage:
        with pytest.raises(StorageError, match="does not answer like an S3 server"):
            await storage.put("pictures", "a.png", b"data", content_type="image/png")
        with pytest.raises(StorageError, match="does not answer like an S3 server"):
            await storage.put_file("pictures", "a.png", file, content_type="image/png")
        with pytest.raises(StorageError, match="does not answer like an S3 server"):
            await storage.stat("pictures", "a.png")
        with pytest.raises(StorageError, match="does not answer like an S3 server"):
            await anext(storage.list("pictures", ""))


async def test_a_listing_that_goes_round_in_a_circle_ends() -> None:
    page = "<IsTruncated>true</IsTruncated><NextContinuationToken>x</NextContinuationToken>"

    async def circle(_: web.Request) -> web.StreamResponse:
        text = f"<ListBucketResult>{page}</ListBucketResult>"
        return web.Response(text=text, content_type="application/xml")

    async with answering(circle) as storage:
        with pytest.raises(StorageError, match="does not answer like an S3 server"):
            await anext(storage.list("pictures", ""))


async def test_a_download_that_breaks_off_is_no_object() -> None:
    async def breaking(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"only this")
        assert request.transport
        request.transport.close()
        return response

    async with answering(breaking) as storage:
        with pytest.raises(StorageUnreachable, match="broke"):
            await storage.get("pictures", "a.png", max_bytes=1000)


async def test_a_download_damaged_on_its_way_is_no_object() -> None:
    async def damaged(_: web.Request) -> web.StreamResponse:
        return web.Response(body=b"data", headers={"x-amz-checksum-crc32": "AAAAAA=="})

    async with answering(damaged) as storage:
        with pytest.raises(StorageError, match="damaged"):
            await storage.get("pictures", "a.png", max_bytes=1000)


async def test_the_body_of_an_object_too_large_is_not_waited_for() -> None:
    asked_for_more = asyncio.Event()

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000000"})
        await response.prepare(request)
        await asked_for_more.wait()  # the body never comes
        return response

    async with answering(endless) as storage:
        with pytest.raises(ObjectTooLarge, match="1000000 bytes, more than 10"):
            await storage.get("pictures", "a.png", max_bytes=10)
        asked_for_more.set()


async def test_a_download_without_a_length_stops_at_the_limit() -> None:
    async def unbounded(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        while request.transport and not request.transport.is_closing():
            await response.write(b"x" * 65536)
        return response

    async with answering(unbounded) as storage:
        with pytest.raises(ObjectTooLarge):
            await storage.get("pictures", "a.png", max_bytes=MIB)


# -- what goes over the wire ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("checksums", "header", "value"),
    [
        ("when_supported", "x-amz-checksum-sha256", "Om6weQ85rIfJTzhWst0sXREOaBFgImGpqSPTuyOtyLc="),
        ("when_required", "Content-MD5", "jXd/OF09/siBXSD3SWAm3A=="),
    ],
)
async def test_an_upload_has_a_checksum_and_type_but_no_framing(
    checksums: str, header: str, value: str
) -> None:
    seen: list[tuple[dict[str, str], bytes]] = []

    async def record(request: web.Request) -> web.StreamResponse:
        seen.append((dict(request.headers), await request.read()))
        return web.Response(headers={"ETag": '"x"'})

    async with answering(record, checksums=checksums) as storage:
        await storage.put("pictures", "a.png", b"data", content_type="image/png")
    ((headers, body),) = seen
    assert body == b"data"
    assert headers[header] == value
    assert headers["Content-Type"] == "image/png"
    assert "Content-Encoding" not in headers
    sums = [name for name in headers if "checksum" in name.lower() or name == "Content-MD5"]
    assert sums == [header]
    signed = headers["Authorization"].split("SignedHeaders=")[1].split(",")[0].split(";")
    assert header.lower() in signed


async def test_an_empty_key_is_refused_before_anything_is_sent() -> None:
    async with opened("http://127.0.0.1:9") as storage:
        with pytest.raises(InvalidObjectKey):
            await storage.put("pictures", "", b"", content_type="image/png")
        with pytest.raises(BucketNotFound):
            await storage.put("", "a.png", b"", content_type="image/png")


# -- configuration -------------------------------------------------------------------------


def missing(values: dict[str, Any]) -> set[str]:
    with pytest.raises(ValidationError) as caught:
        S3Config.model_validate(values)
    errors = caught.value.errors()
    assert {error["type"] for error in errors} == {"missing"}
    return {str(error["loc"][0]) for error in errors}


def test_everything_that_is_missing_is_named_at_once() -> None:
    assert missing({}) == {"endpoint", "bucket", "access_key_id", "secret_access_key"}
    assert missing({"endpoint": "http://x", "input_bucket": "in", **KEYS}) == {"bucket"}


def test_one_bucket_is_both_unless_they_are_named() -> None:
    one = S3Config.model_validate({"endpoint": "http://x", "bucket": "both", **KEYS})
    assert (one.input_bucket, one.output_bucket) == ("both", "both")
    other = S3Config.model_validate(
        {"endpoint": "http://x", "bucket": "both", "output_bucket": "out", **KEYS}
    )
    assert (other.input_bucket, other.output_bucket) == ("both", "out")
    two = S3Config.model_validate(
        {"endpoint": "http://x", "input_bucket": "in", "output_bucket": "out", **KEYS}
    )
    assert (two.bucket, two.input_bucket, two.output_bucket) == (None, "in", "out")


@pytest.mark.parametrize(
    "endpoint",
    ["s3.example.com", "ftp://s3.example.com", "http://", "http://u:p@host", "http://host/?a=b"],
)
def test_an_endpoint_is_a_plain_url(endpoint: str) -> None:
    with pytest.raises(ValidationError, match="must"):
        S3Config.model_validate({"endpoint": endpoint, "bucket": "b", **KEYS})


def test_the_secret_is_not_shown() -> None:
    config = S3Config.model_validate({"endpoint": "http://x", "bucket": "b", **KEYS})
    assert "s3cr3t" not in repr(config)
    assert "s3cr3t" not in config.model_dump_json()


def test_prefixes_end_with_a_slash() -> None:
    config = FilesystemConfig(input_prefix="/in//a", output_prefix="")
    assert (config.input_prefix, config.output_prefix) == ("in/a/", "")


def test_the_kind_chooses_the_storage() -> None:
    adapter: TypeAdapter[StorageConfig] = TypeAdapter(StorageConfig)
    assert isinstance(adapter.validate_python({"kind": "filesystem"}), FilesystemConfig)
    config = {"kind": "s3", "endpoint": "http://x", "bucket": "b", **KEYS}
    assert isinstance(adapter.validate_python(config), S3Config)
    with pytest.raises(ValidationError, match="kind"):
        adapter.validate_python({"kind": "tape"})


@pytest.mark.parametrize("bucket", ["..", ".hidden", "a/b", "", "a\n"])
def test_a_bucket_of_the_filesystem_is_a_plain_folder_name(bucket: str) -> None:
    with pytest.raises(ValidationError):
        FilesystemConfig(input_bucket=bucket)
