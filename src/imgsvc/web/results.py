"""Results of jobs, as long as they are kept."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import pybase64
from aiohttp import web
from pydantic import BaseModel, Field

from imgsvc.errors import JobHasNoResult, JobNotFinished, ResultGone
from imgsvc.jobs.blobs import BlobFolder
from imgsvc.jobs.models import BatchSpec, BlobRef, InlineResult, Job, StoredResult
from imgsvc.storage import Storage, StorageConfig
from imgsvc.web.answers import json_response

_CHUNK = 256 * 1024
"""Bytes read at once; a multiple of four, so that each chunk of base64 decodes alone."""


class StoredResultView(BaseModel):
    """Where a result is: an edited image, or a batch's manifest."""

    object_key: str = Field(description="The object's key in the output bucket.")
    result_url: str = Field(
        description="A fresh signed download link; pass it on unchanged.",
        json_schema_extra={"format": "uri"},
    )
    expires_in: int = Field(description="How long the link works, in seconds.")


async def result_response(
    request: web.Request, job: Job, *, blobs: BlobFolder, storage: Storage, buckets: StorageConfig
) -> web.StreamResponse:
    """Answer with the job's image, or with a new link to what it has stored.

    Raises JobNotFinished, JobHasNoResult, ResultGone or StorageError.
    """
    if job.outcome is None:
        raise JobNotFinished
    match job.outcome.result:
        case StoredResult(bucket=bucket, key=key):
            expires_in = buckets.presign_expires
            url = await storage.presign(bucket, key, expires_in=expires_in)
            view = StoredResultView(object_key=key, result_url=url, expires_in=expires_in)
            return json_response(view.model_dump())
        case InlineResult() as where if job.callback_body is not None:
            return await _stream(request, blobs.path(job.callback_body), where)
    if isinstance(job.spec, BatchSpec):
        raise JobHasNoResult(
            "The batch has no manifest: its callback says why. What became of each object is"
            f" at /jobs/{job.id}/items."
        )
    raise JobHasNoResult


async def callback_body_response(
    request: web.Request, blobs: BlobFolder, body: BlobRef, *, headers: Mapping[str, str]
) -> web.StreamResponse:
    """Answer with the frozen body of a callback; raise ResultGone if it is gone.

    Always whole: `web.FileResponse` would answer to ranges and conditions, which make no
    sense where each request is a job of its own.
    """
    file = await _open(blobs.path(body))
    with file:
        response = web.StreamResponse(headers={"Content-Type": body.content_type, **headers})
        response.content_length = body.size
        await response.prepare(request)
        with suppress(ConnectionError):  # who has gone needs no rest
            while chunk := await asyncio.to_thread(file.read, _CHUNK):
                await response.write(chunk)
    return response


async def _open(path: Path) -> BinaryIO:
    try:
        return await asyncio.to_thread(path.open, "rb")
    except FileNotFoundError as exc:
        raise ResultGone from exc


async def _stream(request: web.Request, body: Path, where: InlineResult) -> web.StreamResponse:
    """Send the image from inside a callback's body, a chunk at a time."""
    file = await _open(body)
    with file:
        response = web.StreamResponse(
            headers={
                "Content-Type": where.media_type,
                "Cache-Control": "private",
                "X-Content-Type-Options": "nosniff",
            }
        )
        response.content_length = await asyncio.to_thread(_size, file, where)
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        with suppress(ConnectionError):  # who has gone needs no rest
            for start in range(0, where.length, _CHUNK):
                length = min(_CHUNK, where.length - start)
                await response.write(
                    await asyncio.to_thread(_decoded, file, where.offset + start, length)
                )
    return response


def _size(file: BinaryIO, where: InlineResult) -> int:
    """Return the bytes of the image: three for four characters, less the padding."""
    file.seek(where.offset + where.length - 2)
    return where.length // 4 * 3 - file.read(2).count(b"=")


def _decoded(file: BinaryIO, offset: int, length: int) -> bytes:
    file.seek(offset)
    return pybase64.b64decode(file.read(length), validate=True)
