"""Who edits the pictures: an image API, and a local engine that steps in for it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from imgsvc.imaging.pool import ImagePool
from imgsvc.providers.base import (
    LOCAL,
    Edited,
    EditRequest,
    EditResult,
    Observer,
    Provider,
    ProviderCall,
    ProviderRetry,
    Usage,
)
from imgsvc.providers.breaker import Breakers, BreakerState, BreakerStatus
from imgsvc.providers.catalogue import Catalogue
from imgsvc.providers.limiter import Limits
from imgsvc.providers.local import LocalConfig, LocalProvider
from imgsvc.providers.models import Model
from imgsvc.providers.openai import OpenAIConfig, OpenAIProvider, open_openai
from imgsvc.providers.options import EditOptions
from imgsvc.providers.policy import RoutingConfig
from imgsvc.providers.prompts import PromptFilter, PromptsConfig, open_prompt_filter
from imgsvc.providers.router import EditRouter

__all__ = [
    "LOCAL",
    "BreakerState",
    "BreakerStatus",
    "Breakers",
    "Catalogue",
    "EditOptions",
    "EditRequest",
    "EditResult",
    "EditRouter",
    "Edited",
    "Limits",
    "LocalConfig",
    "LocalProvider",
    "Model",
    "Observer",
    "OpenAIConfig",
    "OpenAIProvider",
    "PromptFilter",
    "PromptsConfig",
    "Provider",
    "ProviderCall",
    "ProviderRetry",
    "RoutingConfig",
    "Usage",
    "open_openai",
    "open_prompt_filter",
    "open_router",
]


@asynccontextmanager
async def open_router(
    configs: Sequence[OpenAIConfig], routing: RoutingConfig, local: LocalConfig, pool: ImagePool
) -> AsyncIterator[EditRouter]:
    """Yield the router to these providers, in their order; without any, the local engine edits."""
    async with AsyncExitStack() as stack:
        providers = [await stack.enter_async_context(open_openai(each, pool)) for each in configs]
        limits = {each.name: each.limits for each in configs}
        yield EditRouter(providers, LocalProvider(pool, local), routing, limits=limits)
