"""Who edits the pictures: an image API, and a local engine that steps in for it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Annotated, TypeAlias

from pydantic import BeforeValidator, Field

from imgsvc.imaging.pool import ImagePool
from imgsvc.providers.automatic1111 import Automatic1111Config, open_automatic1111
from imgsvc.providers.base import (
    LOCAL,
    Account,
    Edited,
    EditRequest,
    EditResult,
    Observer,
    PartialImage,
    Provider,
    ProviderCall,
    ProviderRetry,
    Reservation,
    Usage,
)
from imgsvc.providers.breaker import Breakers, BreakerState, BreakerStatus
from imgsvc.providers.catalogue import Catalogue
from imgsvc.providers.deny_list import read_patterns
from imgsvc.providers.huggingface import HuggingFaceConfig
from imgsvc.providers.limiter import Limits
from imgsvc.providers.local import LocalConfig, LocalProvider
from imgsvc.providers.models import Model
from imgsvc.providers.openai import OpenAIConfig, OpenAIEntry
from imgsvc.providers.options import EditOptions
from imgsvc.providers.policy import RoutingConfig
from imgsvc.providers.prompts import PromptFilter, PromptsConfig, open_prompt_filter
from imgsvc.providers.renewing import RenewingProvider
from imgsvc.providers.router import EditRouter
from imgsvc.secrets import NO_RENEWALS, Renewals

ImageApiConfig: TypeAlias = OpenAIConfig | Automatic1111Config | HuggingFaceConfig
"""How an image API is configured, whatever its kind."""

ProviderChoice = Annotated[
    Annotated[OpenAIEntry | Automatic1111Config | HuggingFaceConfig, Field(discriminator="kind")],
    # An entry that says nothing of its kind is a server with OpenAI's wire format.
    BeforeValidator(lambda entry: {"kind": "openai"} | entry if isinstance(entry, dict) else entry),
]

__all__ = [
    "LOCAL",
    "Account",
    "Automatic1111Config",
    "BreakerState",
    "BreakerStatus",
    "Breakers",
    "Catalogue",
    "EditOptions",
    "EditRequest",
    "EditResult",
    "EditRouter",
    "Edited",
    "HuggingFaceConfig",
    "ImageApiConfig",
    "Limits",
    "LocalConfig",
    "LocalProvider",
    "Model",
    "Observer",
    "OpenAIConfig",
    "OpenAIEntry",
    "PartialImage",
    "PromptFilter",
    "PromptsConfig",
    "Provider",
    "ProviderCall",
    "ProviderChoice",
    "ProviderRetry",
    "Reservation",
    "RoutingConfig",
    "Usage",
    "open_prompt_filter",
    "open_provider",
    "open_router",
    "read_patterns",
]


def open_provider(config: ImageApiConfig, pool: ImagePool) -> AbstractAsyncContextManager[Provider]:
    """Return the provider of this configuration, to be entered."""
    match config:
        case OpenAIConfig():
            from imgsvc.providers.openai.provider import (  # noqa: PLC0415 - takes a second
                open_openai,
            )

            return open_openai(config, pool)
        case Automatic1111Config():
            return open_automatic1111(config, pool)
        case HuggingFaceConfig():
            from imgsvc.providers.huggingface.provider import (  # noqa: PLC0415 - needs an extra
                open_huggingface,
            )

            return open_huggingface(config, pool)


@asynccontextmanager
async def open_router(
    configs: Sequence[ImageApiConfig],
    routing: RoutingConfig,
    local: LocalConfig,
    pool: ImagePool,
    *,
    renewals: Renewals = NO_RENEWALS,
) -> AsyncIterator[EditRouter]:
    """Yield the router to these providers, in their order; without any, the local engine edits."""
    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(open_provider(each, pool)) for each in configs]
        providers = [RenewingProvider(each, renewals) for each in opened]
        limits = {each.name: each.limits for each in configs}
        yield EditRouter(providers, LocalProvider(pool, local), routing, limits=limits)
