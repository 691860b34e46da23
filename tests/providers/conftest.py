"""A real image pool, a real stand-in of the image API, and pictures to edit."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from imgsvc.imaging.config import ImagesConfig
from imgsvc.imaging.formats import ImageFormat
from imgsvc.imaging.gate import inspect
from imgsvc.imaging.pool import ImagePool, open_image_pool
from imgsvc.providers import (
    EditRequest,
    EditRouter,
    LocalConfig,
    LocalProvider,
    OpenAIConfig,
    RoutingConfig,
)
from imgsvc.providers.openai.provider import OpenAIProvider, open_openai
from providers.desks import Clock, Desk, FailingProvider, MakeDesk
from providers.pictures import encoded
from standins.openai import OpenAIStandin, openai_standin


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def pool() -> AsyncIterator[ImagePool]:
    async with open_image_pool(ImagesConfig(processes=1)) as pool:
        yield pool


@pytest_asyncio.fixture(loop_scope="session")
async def standin() -> AsyncIterator[OpenAIStandin]:
    async with openai_standin() as standin:
        yield standin


@pytest.fixture
def config(standin: OpenAIStandin) -> OpenAIConfig:
    models = ["gpt-image-2", "gpt-image-2.6-flare"]
    return OpenAIConfig.model_validate(
        {"api_key": standin.api_key, "base_url": standin.base_url, "models": models}
    )


@pytest_asyncio.fixture(loop_scope="session")
async def provider(config: OpenAIConfig, pool: ImagePool) -> AsyncIterator[OpenAIProvider]:
    async with open_openai(config, pool) as provider:
        yield provider


@pytest.fixture
def make_request(tmp_path: Path) -> Callable[..., EditRequest]:
    """Return a maker of requests: of a picture file's bytes, or of a small PNG."""

    def make(content: bytes | None = None, **fields: Any) -> EditRequest:
        path = tmp_path / "input"
        path.write_bytes(encoded("PNG") if content is None else content)
        info = inspect(path, list(ImageFormat), 1_000_000)
        return EditRequest(**{"prompt": "Make it night"} | fields, image=path, info=info)

    return make


@pytest.fixture
def make_desk(pool: ImagePool) -> MakeDesk:
    """Return a maker of routers whose provider raises these errors in turn."""

    def make(*errors: BaseException | None, chance: float = 0.0, **config: Any) -> Desk:
        provider, clock = FailingProvider(*errors), Clock()
        router = EditRouter(
            [provider],
            LocalProvider(pool, LocalConfig()),
            RoutingConfig(**config),
            clock=clock,
            sleep=clock.sleep,
            chance=lambda: chance,
        )
        return Desk(provider=provider, router=router, clock=clock)

    return make
