"""Who edits the pictures: an image API, and a local engine that steps in for it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from imgsvc.imaging.pool import ImagePool
from imgsvc.providers.base import (
    EditOptions,
    EditRequest,
    EditResult,
    Observer,
    Provider,
    ProviderCall,
    ProviderRetry,
)
from imgsvc.providers.breaker import Breakers, BreakerState, BreakerStatus
from imgsvc.providers.local import LocalConfig, LocalProvider
from imgsvc.providers.openai import OpenAIConfig, OpenAIProvider, open_openai
from imgsvc.providers.policy import RoutingConfig
from imgsvc.providers.router import EditRouter

__all__ = [
    "BreakerState",
    "BreakerStatus",
    "Breakers",
    "EditOptions",
    "EditRequest",
    "EditResult",
    "EditRouter",
    "LocalConfig",
    "LocalProvider",
    "Observer",
    "OpenAIConfig",
    "OpenAIProvider",
    "Provider",
    "ProviderCall",
    "ProviderRetry",
    "RoutingConfig",
    "open_openai",
    "open_router",
]


@asynccontextmanager
async def open_router(
    openai: OpenAIConfig, routing: RoutingConfig, local: LocalConfig, pool: ImagePool
) -> AsyncIterator[EditRouter]:
    """Yield the router; without a key it has the local engine alone."""
    engine = LocalProvider(pool, local)
    if openai.api_key is None:
        yield EditRouter(None, engine, routing)
        return
    async with open_openai(openai, pool) as primary:
        yield EditRouter(primary, engine, routing)
