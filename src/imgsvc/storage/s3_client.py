"""Connects to an S3-compatible object storage."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from aiobotocore.config import AioConfig
from aiobotocore.credentials import AioCredentials
from aiobotocore.session import get_session
from botocore.credentials import ReadOnlyCredentials
from botocore.utils import parse_timestamp

from imgsvc.secrets import NO_RENEWALS, Renewals
from imgsvc.storage.s3 import S3Storage
from imgsvc.storage.s3_config import S3Config
from imgsvc.storage.s3_retry import Retry

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client


@asynccontextmanager
async def open_s3(config: S3Config, renewals: Renewals = NO_RENEWALS) -> AsyncIterator[S3Storage]:
    """Yield the storage, which holds its connections until the context ends."""
    async with connect(config) as client:
        yield S3Storage(
            client=client,
            endpoint=config.endpoint,
            checksums=config.checksums,
            retry=Retry(seconds=config.retry_seconds, renewals=renewals),
        )


@asynccontextmanager
async def connect(config: S3Config) -> AsyncIterator["S3Client"]:
    """Yield a client that tries each call once."""
    session = get_session()
    session.register_component("credential_provider", _CurrentKeys(config))
    parsers = session.get_component("response_parser_factory")
    parsers.set_parser_defaults(timestamp_parser=_timestamp)
    create = session.create_client(
        "s3",
        endpoint_url=config.endpoint,
        region_name=config.region,
        verify=str(config.ca_file) if config.ca_file else None,
        config=AioConfig(
            signature_version="s3v4",
            # Hashing a whole body for its signature would stop the event loop. Each
            # upload carries a checksum made in a thread, and that header is signed.
            s3={"addressing_style": "path", "payload_signing_enabled": False},
            request_checksum_calculation=config.checksums,
            response_checksum_validation=config.checksums,
            # Its retries are counted, not timed, and end before an outage of seconds does.
            retries={"mode": "standard", "total_max_attempts": 1},
            connect_timeout=config.connect_timeout,
            read_timeout=config.read_timeout,
            max_pool_connections=config.max_connections,
        ),
    )
    async with create as client:
        client.meta.events.register("before-call.s3", _do_not_look_for_the_region)
        yield client


class _CurrentKeys(AioCredentials):
    """The keys as the configuration has them at each call; the environment's are not looked for."""

    def __init__(self, config: S3Config) -> None:
        super().__init__(config.access_key_id, config.secret_access_key.get_secret_value())
        self._config = config

    async def load_credentials(self) -> AioCredentials:
        """Return what a session signs with."""
        return self

    async def get_frozen_credentials(self) -> ReadOnlyCredentials:  # type: ignore[override] # aiobotocore awaits what botocore calls
        """Return the keys for one call."""
        config = self._config
        return ReadOnlyCredentials(
            config.access_key_id, config.secret_access_key.get_secret_value(), None
        )


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
