"""What tests of every room use: a clean environment, a receiver, settings."""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import aiohttp
import pytest
from aioresponses import aioresponses
from hypothesis import settings as hypothesis_settings

from imgsvc.config import ALIASES, PREFIX, Settings
from standins.receiver import Receiver, callback_receiver
from standins.s3 import S3Server, swift_server
from standins.service import service_settings

# What takes how long is a matter of benchmarks; a loaded machine must not fail a test.
hypothesis_settings.register_profile("imgsvc", deadline=None)
hypothesis_settings.load_profile("imgsvc")


class _Response(aiohttp.ClientResponse):
    """What aioresponses 0.7 makes, with the argument that aiohttp 3.14 has added."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("stream_writer", Mock(output_size=0))
        super().__init__(*args, **kwargs)


@pytest.fixture
def aioresponses_mock(monkeypatch: pytest.MonkeyPatch) -> Iterator[aioresponses]:
    monkeypatch.setattr("aioresponses.core.ClientResponse", _Response)
    with aioresponses() as mock:
        yield mock


@pytest.fixture(autouse=True, scope="session")
def _clean_environment() -> Iterator[None]:
    """Take out what a developer's shell configures for the real service."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name in ALIASES or name.startswith((PREFIX, "COS_", "OPENAI_")):
                patch.delenv(name)
        yield


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with callback_receiver() as running:
        yield running


@pytest.fixture
def make_settings(tmp_path: Path) -> Callable[..., Settings]:
    """Return a function that makes settings for a service of this test alone."""

    def make(**rooms: Any) -> Settings:
        return Settings.model_validate(service_settings(tmp_path / "data", **rooms))

    return make


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with swift_server(tmp_path_factory.mktemp("swift")) as server:
        yield server


@pytest.fixture(scope="session")
def s3_tls_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with swift_server(tmp_path_factory.mktemp("swift-tls"), tls=True) as server:
        yield server
