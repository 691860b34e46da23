"""Any S3-compatible object storage: IBM COS, AWS, MinIO, Ceph, Swift."""

import asyncio
import base64
import hashlib
import io
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.utils import parse_timestamp
from pydantic import AfterValidator, Field, FilePath, SecretStr, model_validator

from imgsvc.errors import ObjectTooLarge
from imgsvc.storage.base import ObjectInfo
from imgsvc.storage.s3_errors import S3_ERRORS, Target, not_s3, storage_error
from imgsvc.storage.settings import StorageSettings

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

Checksums = Literal["when_supported", "when_required"]

_CHUNK = 256 * 1024  # bytes read at a time
_PAGE = 250  # objects a page; the event loop parses its XML, 1000 of them too long


def _check_endpoint(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be an http or https URL, https://s3.example.com say")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("must not hold credentials, a query or a fragment")
    return url.rstrip("/")


class S3Config(StorageSettings):
    """A bucket, or two, of an S3-compatible object storage."""

    kind: Literal["s3"] = Field(
        "s3", description="Keep objects in S3-compatible object storage, IBM COS say."
    )
    endpoint: Annotated[str, AfterValidator(_check_endpoint)] = Field(
        description="URL of the storage, without a bucket."
    )
    region: str = Field(
        "us-east-1",
        min_length=1,
        description="Region that requests are signed for. IBM COS takes any; AWS wants its own.",
    )
    bucket: str | None = Field(
        min_length=1,
        description="Bucket for inputs and outputs; not needed if both of the next two are given.",
    )
    input_bucket: str = Field(
        "",
        description="Bucket that batches read from; `bucket` if not set.",
    )
    output_bucket: str = Field(
        "",
        description="Bucket that results are written to; `bucket` if not set.",
    )
    access_key_id: str = Field(min_length=1, description="Access key id (HMAC credentials in COS).")
    secret_access_key: SecretStr = Field(
        min_length=1, description="Secret that belongs to the access key id."
    )
    checksums: Checksums = Field(
        "when_supported",
        description="`when_supported` sends SHA-256 checksums and checks those of downloads; "
        "`when_required` sends only Content-MD5, for older storages.",
    )
    connect_timeout: float = Field(
        10, gt=0, le=300, description="How long to wait for a connection, in seconds."
    )
    read_timeout: float = Field(
        60, gt=0, le=3600, description="How long to wait for the next bytes, in seconds."
    )
    max_connections: int = Field(
        32, ge=1, le=1000, description="Connections to the storage at the same time."
    )
    ca_file: FilePath | None = Field(
        None, description="PEM file of a private certificate authority that the storage uses."
    )

    @model_validator(mode="before")
    @classmethod
    def _one_bucket_or_two(cls, data: Any) -> Any:
        """Let `bucket` stand for those not named; it is missing only if it would be needed."""
        if not isinstance(data, dict):
            return data
        names = ("input_bucket", "output_bucket")
        named = {name: data[name] for name in names if data.get(name)}
        if len(named) == len(names):
            return {"bucket": None, **data}
        if bucket := data.get("bucket"):
            return {**data, **dict.fromkeys(names, bucket), **named}
        return data

    @model_validator(mode="after")
    def _endpoint_is_without_bucket(self) -> "S3Config":
        last = urlsplit(self.endpoint).path.rpartition("/")[2]
        if last and last in {self.bucket, self.input_bucket, self.output_bucket}:
            raise ValueError(f"endpoint: leave the bucket out of it: drop /{last} at its end")
        return self

    @asynccontextmanager
    async def open(
        self,
        *,
        data_dir: Path,  # noqa: ARG002  # all kinds are opened alike; this one keeps no files
        base_url: str,  # noqa: ARG002  # nor does it serve links itself
    ) -> AsyncIterator["S3Storage"]:
        """Yield the storage, which holds its connections until the context ends."""
        session = get_session()
        parsers = session.get_component("response_parser_factory")
        parsers.set_parser_defaults(timestamp_parser=_timestamp)
        create = session.create_client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=self.region,
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=self.secret_access_key.get_secret_value(),
            verify=str(self.ca_file) if self.ca_file else None,
            config=AioConfig(
                signature_version="s3v4",
                # Hashing a whole body for its signature would stop the event loop. Each
                # upload carries a checksum made in a thread, and that header is signed.
                s3={"addressing_style": "path", "payload_signing_enabled": False},
                request_checksum_calculation=self.checksums,
                response_checksum_validation=self.checksums,
                retries={"mode": "standard", "total_max_attempts": 3},
                connect_timeout=self.connect_timeout,
                read_timeout=self.read_timeout,
                max_pool_connections=self.max_connections,
            ),
        )
        async with create as client:
            client.meta.events.register("before-call.s3", _do_not_look_for_the_region)
            yield S3Storage(client=client, endpoint=self.endpoint, checksums=self.checksums)


class S3Storage:
    """Objects of an S3-compatible storage, over one long-lived client."""

    kind = "s3"

    def __init__(self, *, client: "S3Client", endpoint: str, checksums: Checksums) -> None:
        self._client = client
        self._endpoint = endpoint
        self._checksums = checksums

    async def put(self, bucket: str, key: str, data: bytes, *, content_type: str) -> None:
        """Store an object whole, or not at all; an existing one is replaced."""
        checksum = await asyncio.to_thread(_checksum, data, self._checksums)
        with self._mapped(bucket, key):
            answer = await self._client.put_object(
                Bucket=bucket,
                Key=key,
                # as a file it is sent in pieces; bytes would go out in one, stopping the loop
                Body=io.BytesIO(data),
                ContentType=content_type,
                **checksum,
            )
        if not answer.get("ETag"):  # a web server may say 200 to anything
            raise not_s3(self._endpoint)

    async def get(self, bucket: str, key: str, *, max_bytes: int) -> bytes:
        """Return an object's content; raise ObjectTooLarge without reading a larger one."""
        chunks: list[bytes] = []
        with self._mapped(bucket, key):
            answer = await self._client.get_object(Bucket=bucket, Key=key)
            async with answer["Body"] as body:
                size = answer.get("ContentLength", 0)
                if size <= max_bytes:
                    received = 0
                    async for chunk in body.iter_chunks(_CHUNK):
                        received += len(chunk)
                        if received > max_bytes:  # it came without a length
                            break
                        chunks.append(chunk)
                    size = received
        if size > max_bytes:
            raise ObjectTooLarge(f"The object {key} has {size} bytes, more than {max_bytes}.")
        return await asyncio.to_thread(b"".join, chunks)

    async def list(self, bucket: str, prefix: str) -> AsyncIterator[ObjectInfo]:
        """Yield the objects whose key starts with prefix, in key order, page by page."""
        pages = aiter(
            self._client.get_paginator("list_objects_v2").paginate(
                Bucket=bucket, Prefix=prefix, PaginationConfig={"PageSize": _PAGE}
            )
        )
        while True:
            with self._mapped(bucket, None):
                page = await anext(pages, None)
            if page is None:
                return
            if "IsTruncated" not in page:  # an empty answer, or XML of another kind
                raise not_s3(self._endpoint)
            for entry in page.get("Contents", ()):
                yield ObjectInfo(
                    key=entry["Key"], size=entry["Size"], modified=entry["LastModified"]
                )

    async def presign(self, bucket: str, key: str, *, expires_in: int) -> str:
        """Return a URL that anyone can GET the object from for expires_in seconds."""
        with self._mapped(bucket, key):
            return await self._client.generate_presigned_url(
                "get_object", Params={"Bucket": bucket, "Key": key}, ExpiresIn=expires_in
            )

    async def delete(self, bucket: str, key: str) -> None:
        """Remove an object; one that is not there is no error."""
        with self._mapped(bucket, key):
            await self._client.delete_object(Bucket=bucket, Key=key)

    @contextmanager
    def _mapped(self, bucket: str, key: str | None) -> Iterator[None]:
        try:
            yield
        except S3_ERRORS as exc:
            target = Target(endpoint=self._endpoint, bucket=bucket, key=key)
            raise storage_error(exc, target) from exc


def _do_not_look_for_the_region(context: dict[str, Any], **_: Any) -> None:
    """Keep the client from following a redirect to the region of a bucket.

    It would send its credentials to hosts that nobody has configured, and it recurses
    without end when something that is not S3 redirects every request.
    """
    context["s3_redirect"]["redirected"] = True


def _timestamp(text: Any) -> datetime:
    """Return the time of a listing's entry or of a header.

    The client's own parser guesses the format; that makes up most of reading a page.
    """
    try:
        return datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return parse_timestamp(text)


def _checksum(data: bytes, checksums: Checksums) -> dict[str, Any]:
    """Return the argument of an upload that lets the storage notice damage on the way."""
    if checksums == "when_supported":
        return {"ChecksumSHA256": base64.b64encode(hashlib.sha256(data).digest()).decode()}
    digest = hashlib.md5(data, usedforsecurity=False).digest()
    return {"ContentMD5": base64.b64encode(digest).decode()}
