"""Uploads of S3 with a checksum: of bytes in one call, of a large file in parts."""

import asyncio
import base64
import hashlib
import io
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from botocore.exceptions import ClientError

from imgsvc.storage.s3_config import Checksums
from imgsvc.storage.s3_errors import S3_ERRORS, code_of
from imgsvc.storage.s3_retry import Retry

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client
    from types_aiobotocore_s3.type_defs import (
        CompletedPartTypeDef,
        CreateMultipartUploadOutputTypeDef,
    )

PART = 16 << 20  # bytes; a file that is longer is sent in parts
_MAX_PARTS = 10_000  # of one object; parts of a file above 160 GiB are longer
_ABORT_TIMEOUT = 10  # seconds; who cancels must not wait long


def checksum(data: bytes, checksums: Checksums) -> dict[str, Any]:
    """Return the argument of an upload that lets the storage notice damage on the way."""
    if checksums == "when_supported":
        return {"ChecksumSHA256": base64.b64encode(hashlib.sha256(data).digest()).decode()}
    digest = hashlib.md5(data, usedforsecurity=False).digest()
    return {"ContentMD5": base64.b64encode(digest).decode()}


@dataclass(frozen=True, kw_only=True, slots=True)
class MultipartUpload:
    """Sends one file in parts, one after the other: memory does not grow with the file.

    Raises S3_ERRORS. If it fails or is cancelled, the parts are removed, unless the
    storage refuses that too or does not answer.
    """

    client: "S3Client"
    retry: Retry
    checksums: Checksums
    target: dict[str, Any]  # the arguments Bucket and Key

    async def send(self, source: BinaryIO, size: int, headers: dict[str, Any]) -> bool:
        """Send the rest of source; headers are further arguments for the object.

        `size` is in bytes. Returns False if the answers were not those of an S3 server.
        """
        if self.checksums == "when_supported":
            headers = {**headers, "ChecksumAlgorithm": "SHA256"}
        # A task of its own, which outlives a cancellation: without its answer, the upload
        # could not be removed.
        begun = asyncio.create_task(
            self.retry(lambda: self.client.create_multipart_upload(**self.target, **headers)),
            name="begin-multipart-upload",
        )
        try:
            upload = {**self.target, "UploadId": (await asyncio.shield(begun)).get("UploadId")}
            if not upload["UploadId"]:
                return False
            parts = await self._send_parts(upload, source, max(PART, -(-size // _MAX_PARTS)))
            return await self.retry(lambda: self._complete(upload, parts, size))
        except BaseException:
            await self._abort(begun)
            raise

    async def _send_parts(
        self, upload: dict[str, Any], source: BinaryIO, length: int
    ) -> list["CompletedPartTypeDef"]:
        parts: list[CompletedPartTypeDef] = []
        while data := await asyncio.to_thread(source.read, length):
            check = await asyncio.to_thread(checksum, data, self.checksums)
            number = len(parts) + 1

            async def attempt(
                data: bytes = data, check: dict[str, Any] = check, number: int = number
            ) -> str:
                answer = await self.client.upload_part(
                    **upload, PartNumber=number, Body=io.BytesIO(data), **check
                )
                return answer["ETag"]

            part: CompletedPartTypeDef = {"PartNumber": number, "ETag": await self.retry(attempt)}
            if sha256 := check.get("ChecksumSHA256"):
                part["ChecksumSHA256"] = sha256
            parts.append(part)
        return parts

    async def _complete(
        self, upload: dict[str, Any], parts: list["CompletedPartTypeDef"], size: int
    ) -> bool:
        try:
            answer = await self.client.complete_multipart_upload(
                **upload, MultipartUpload={"Parts": parts}
            )
        except ClientError as exc:
            # An earlier attempt may have worked, and only its answer was lost.
            if code_of(exc) == "NoSuchUpload" and await self._is_stored(size):
                return True
            raise
        return bool(answer.get("ETag"))

    async def _is_stored(self, size: int) -> bool:
        try:
            found = await self.client.head_object(**self.target)
        except ClientError:
            return False
        return found["ContentLength"] == size

    async def _abort(self, begun: "asyncio.Task[CreateMultipartUploadOutputTypeDef]") -> None:
        with suppress(*S3_ERRORS):  # the upload's own error says what is wrong
            async with asyncio.timeout(_ABORT_TIMEOUT):
                upload_id = (await begun)["UploadId"]
                await self.client.abort_multipart_upload(**self.target, UploadId=upload_id)
