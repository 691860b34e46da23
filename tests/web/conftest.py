from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from imgsvc.config import Settings
from standins.openai import OpenAIStandin, openai_standin
from standins.service import Caller, running_service, service_settings


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def shared_local(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Caller]:
    """Run a service with nothing configured: local engine, results in a folder."""
    settings = service_settings(tmp_path_factory.mktemp("local"))
    async with running_service(Settings.model_validate(settings)) as caller:
        yield caller


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def standin() -> AsyncIterator[OpenAIStandin]:
    async with openai_standin() as running:
        yield running


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def shared_remote(
    tmp_path_factory: pytest.TempPathFactory, standin: OpenAIStandin
) -> AsyncIterator[Caller]:
    """Run a service that edits with an image API."""
    settings = service_settings(
        tmp_path_factory.mktemp("remote"),
        openai={
            "api_key": standin.api_key,
            "base_url": standin.base_url,
            "models": ["gpt-image-2", "gpt-image-2.6-flare"],
        },
        callbacks={"schedule": [0, 0, 0]},
        # The tests share this service: an error of one must not hold back the others' calls.
        routing={"open_seconds": 1e-6, "max_open_seconds": 1e-6},
        images={"processes": 1, "max_bytes": 300_000},
    )
    async with running_service(Settings.model_validate(settings)) as caller:
        yield caller


@pytest_asyncio.fixture(loop_scope="package")
async def local(shared_local: Caller) -> Caller:
    """Return the local service when it has done what earlier tests left to it."""
    await shared_local.quiet()
    return shared_local


@pytest_asyncio.fixture(loop_scope="package")
async def remote(shared_remote: Caller) -> Caller:
    """Return the service with an image API when it has done what earlier tests left to it."""
    await shared_remote.quiet()
    return shared_remote
