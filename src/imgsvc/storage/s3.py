"""Any S3-compatible object storage: IBM COS, AWS, MinIO, Ceph, Swift."""

import asyncio
import io
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import ClientError

from imgsvc.errors import ObjectTooLarge
from imgsvc.storage.base import ObjectInfo, ObjectStat
from imgsvc.storage.metadata import check_metadata
from imgsvc.storage.s3_config import Checksums
from imgsvc.storage.s3_errors import S3_ERRORS, Target, not_s3, status_of, storage_error
from imgsvc.storage.s3_retry import Retry
from imgsvc.storage.s3_upload import PART, MultipartUpload, checksum

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

T = TypeVar("T")

_CHUNK = 256 * 1024  # bytes read at a time
_PAGE = 250  # objects a page; the event loop parses its XML, 1000 of them too long


class S3Storage:
    """Objects of an S3-compatible storage, over one long-lived client."""

    kind = "s3"

    def __init__(
        self, *, client: "S3Client", endpoint: str, checksums: Checksums, retry: Retry
    ) -> None:
        self._client = client
        self._endpoint = endpoint
        self._checksums = checksums
        self._retry = retry

    async def put(
        self,
        bucket: str,
        key: str,
        data: bytes,
        *,
        content_type: str,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Store an object whole, or not at all; an existing one is replaced."""
        checked = check_metadata(metadata)
        check = await asyncio.to_thread(checksum, data, self._checksums)
        answer = await self._call(
            bucket,
            key,
            lambda: self._client.put_object(
                Bucket=bucket,
                Key=key,
                # as a file it is sent in pieces; bytes would go out in one, stopping the loop
                Body=io.BytesIO(data),
                ContentType=content_type,
                Metadata=checked,
                **check,
            ),
        )
        if not answer.get("ETag"):  # a web server may say 200 to anything
            raise not_s3(self._endpoint)

    async def put_file(
        self,
        bucket: str,
        key: str,
        path: Path,
        *,
        content_type: str,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Store a file of any size whole, or not at all, reading it a part at a time."""
        checked = check_metadata(metadata)
        with await asyncio.to_thread(path.open, "rb") as source:
            size = os.fstat(source.fileno()).st_size
            if size <= PART:
                data = await asyncio.to_thread(source.read)
                await self.put(bucket, key, data, content_type=content_type, metadata=checked)
                return
            upload = MultipartUpload(
                client=self._client,
                retry=self._retry,
                checksums=self._checksums,
                target={"Bucket": bucket, "Key": key},
            )
            headers = {"ContentType": content_type, "Metadata": checked}
            with self._mapped(bucket, key):
                if not await upload.send(source, size, headers):
                    raise not_s3(self._endpoint)

    async def get(self, bucket: str, key: str, *, max_bytes: int) -> bytes:
        """Return an object's content; raise ObjectTooLarge without reading a larger one."""

        async def attempt() -> tuple[int, list[bytes]]:
            answer = await self._client.get_object(Bucket=bucket, Key=key)
            chunks: list[bytes] = []
            async with answer["Body"] as body:
                size = answer.get("ContentLength", 0)
                if size > max_bytes:
                    return size, []
                received = 0
                async for chunk in body.iter_chunks(_CHUNK):
                    received += len(chunk)
                    if received > max_bytes:  # it came without a length
                        break
                    chunks.append(chunk)
            return received, chunks

        size, chunks = await self._call(bucket, key, attempt)
        if size > max_bytes:
            raise ObjectTooLarge(f"The object {key} has {size} bytes, more than {max_bytes}.")
        return await asyncio.to_thread(b"".join, chunks)

    async def stat(self, bucket: str, key: str) -> ObjectStat | None:
        """Return what is known of an object, None if there is none of this key."""

        async def attempt() -> dict[str, Any] | None:
            try:
                return dict(await self._client.head_object(Bucket=bucket, Key=key))
            except ClientError as exc:
                if status_of(exc) != 404:
                    raise
            # An answer to HEAD has no body, which would tell whether the bucket is missing.
            await self._client.list_objects_v2(Bucket=bucket, MaxKeys=1)
            return None

        answer = await self._call(bucket, key, attempt)
        if answer is None:
            return None
        if not answer.get("ETag"):
            raise not_s3(self._endpoint)
        return ObjectStat(
            size=answer["ContentLength"],
            modified=answer["LastModified"],
            content_type=answer.get("ContentType", "application/octet-stream"),
            metadata={name.lower(): value for name, value in answer["Metadata"].items()},
        )

    async def list(
        self, bucket: str, prefix: str, *, after: str | None = None
    ) -> AsyncIterator[ObjectInfo]:
        """Yield the objects whose key starts with prefix, in key order, page by page."""
        read_page = partial(
            self._client.list_objects_v2, Bucket=bucket, Prefix=prefix, MaxKeys=_PAGE
        )
        start = {} if after is None else {"StartAfter": after}
        while True:
            page = await self._call(bucket, None, partial(read_page, **start))
            if "IsTruncated" not in page:  # an empty answer, or XML of another kind
                raise not_s3(self._endpoint)
            for entry in page.get("Contents", ()):
                yield ObjectInfo(
                    key=entry["Key"], size=entry["Size"], modified=entry["LastModified"]
                )
            if not page["IsTruncated"]:
                return
            token = page.get("NextContinuationToken", "")
            if token in {"", start.get("ContinuationToken")}:  # this would never end
                raise not_s3(self._endpoint)
            start = {"ContinuationToken": token}

    async def presign(self, bucket: str, key: str, *, expires_in: int) -> str:
        """Return a URL that anyone can GET the object from for expires_in seconds."""
        with self._mapped(bucket, key):
            return await self._client.generate_presigned_url(
                "get_object", Params={"Bucket": bucket, "Key": key}, ExpiresIn=expires_in
            )

    async def delete(self, bucket: str, key: str) -> None:
        """Remove an object; one that is not there is no error."""
        await self._call(bucket, key, lambda: self._client.delete_object(Bucket=bucket, Key=key))

    async def _call(self, bucket: str, key: str | None, attempt: Callable[[], Awaitable[T]]) -> T:
        """Return what `attempt` does, which is run again while the storage fails."""
        with self._mapped(bucket, key):
            return await self._retry(attempt)

    @contextmanager
    def _mapped(self, bucket: str, key: str | None) -> Iterator[None]:
        try:
            yield
        except S3_ERRORS as exc:
            target = Target(endpoint=self._endpoint, bucket=bucket, key=key)
            raise storage_error(exc, target) from exc
