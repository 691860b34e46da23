"""Where an S3-compatible object storage is.

The adapter and its client take half a second to import, so they are imported when it is used.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, FilePath, SecretStr, model_validator

from imgsvc.secrets import NO_RENEWALS, Renewals
from imgsvc.storage.settings import StorageSettings

if TYPE_CHECKING:
    from imgsvc.storage.s3 import S3Storage

Checksums = Literal["when_supported", "when_required"]


_BUCKET_NAME = r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$"  # what S3 allows as a name


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
    allow_buckets: list[Annotated[str, Field(pattern=_BUCKET_NAME)]] = Field(
        [],
        description="Further buckets that batches may name as `input_bucket` or `output_bucket`.",
    )
    access_key_id: str = Field(
        pattern="^[!-~]+$", description="Access key id (HMAC credentials in COS)."
    )
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
    retry_seconds: float = Field(
        60,
        ge=0,
        le=3600,
        description="How long calls are tried again while the storage answers 500, 502, 503, 504 "
        "or SlowDown, or cannot be reached, in seconds.",
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
        renewals: Renewals = NO_RENEWALS,
    ) -> AsyncIterator["S3Storage"]:
        """Yield the storage, which holds its connections until the context ends."""
        from imgsvc.storage.s3_client import open_s3  # noqa: PLC0415 - see the module's docstring

        async with open_s3(self, renewals) as storage:
            yield storage
