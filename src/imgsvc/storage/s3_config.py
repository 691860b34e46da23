"""Where an S3-compatible object storage is, and how to connect to it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.utils import parse_timestamp
from pydantic import AfterValidator, Field, FilePath, SecretStr, model_validator

from imgsvc.storage.s3 import S3Storage
from imgsvc.storage.s3_retry import Retry
from imgsvc.storage.s3_upload import Checksums
from imgsvc.storage.settings import StorageSettings

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client


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
    ) -> AsyncIterator[S3Storage]:
        """Yield the storage, which holds its connections until the context ends."""
        async with self.connect() as client:
            yield S3Storage(
                client=client,
                endpoint=self.endpoint,
                checksums=self.checksums,
                retry=Retry(seconds=self.retry_seconds),
            )

    @asynccontextmanager
    async def connect(self) -> AsyncIterator["S3Client"]:
        """Yield a client that tries each call once."""
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
                # Its retries are counted, not timed, and end before an outage of seconds does.
                retries={"mode": "standard", "total_max_attempts": 1},
                connect_timeout=self.connect_timeout,
                read_timeout=self.read_timeout,
                max_pool_connections=self.max_connections,
            ),
        )
        async with create as client:
            client.meta.events.register("before-call.s3", _do_not_look_for_the_region)
            yield client


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
