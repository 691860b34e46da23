"""Every kind of provider with its stand-in, ready to be tried by the conformance suite."""

import io
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from PIL import Image, ImageChops

from imgsvc import errors
from imgsvc.errors import ProviderError
from imgsvc.imaging.pool import ImagePool
from imgsvc.providers import (
    Automatic1111Config,
    HuggingFaceConfig,
    OpenAIConfig,
    Provider,
    open_provider,
)
from standins import automatic1111, huggingface
from standins.automatic1111 import automatic1111_standin
from standins.huggingface import huggingface_standin
from standins.openai import openai_standin


class Standin(Protocol):
    """What the suite needs of every stand-in."""

    answer: bytes | None

    def fail_always(self, name: str | None) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A stand-in, and how a provider for it is configured."""

    standin: Any
    config: Any
    secret: str
    sent: Callable[[], list[tuple[bytes, bytes | None]]]  # pictures with their masks
    pool: ImagePool

    def open(self, **changes: Any) -> AbstractAsyncContextManager[Provider]:
        """Open a provider with some settings changed."""
        return open_provider(self.config.model_copy(update=changes), self.pool)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of provider."""

    name: str
    subject: Callable[[ImagePool], AbstractAsyncContextManager[Subject]]
    failures: Mapping[str, type[ProviderError]]
    limit: str  # the name of what bounds its answers
    to_edit: Callable[[Image.Image], Image.Image] | None  # of a mask, white where to edit
    any_format: bool  # it converts what the server answers
    sizes: Mapping[str | None, tuple[int, int]] = field(default_factory=dict)  # of 48 x 32 pixels

    def __str__(self) -> str:
        return self.name


TRICKS: Mapping[str, type[ProviderError]] = {
    "disconnect": errors.ProviderConnectionLost,
    "disconnect_mid_answer": errors.ProviderConnectionLost,
    "web_page": errors.ProviderBadAnswer,
    "redirect": errors.ProviderBadAnswer,
    "not_an_image": errors.ProviderBadAnswer,
}


def _white_where_clear(mask: Image.Image) -> Image.Image:
    return ImageChops.invert(mask.getchannel("A"))


@asynccontextmanager
async def _openai(pool: ImagePool) -> AsyncIterator[Subject]:
    async with openai_standin() as standin:
        config = OpenAIConfig.model_validate(
            {"api_key": standin.api_key, "base_url": standin.base_url}
        )
        yield Subject(
            standin=standin,
            config=config,
            secret=standin.api_key,
            sent=lambda: [
                (call.image.data, call.mask.data if call.mask else None) for call in standin.calls
            ],
            pool=pool,
        )


@asynccontextmanager
async def _automatic1111(pool: ImagePool) -> AsyncIterator[Subject]:
    async with automatic1111_standin() as standin:
        config = Automatic1111Config.model_validate(
            {
                "base_url": standin.url,
                "username": automatic1111.USERNAME,
                "password": automatic1111.PASSWORD,
                "models": ["v1-5-inpainting", "sd_xl_base_1.0"],
            }
        )
        yield Subject(
            standin=standin,
            config=config,
            secret=automatic1111.PASSWORD,
            sent=lambda: [(call.picture, call.mask) for call in standin.calls],
            pool=pool,
        )


@asynccontextmanager
async def _huggingface(pool: ImagePool) -> AsyncIterator[Subject]:
    async with huggingface_standin() as standin:
        config = HuggingFaceConfig.model_validate(
            {"api_key": huggingface.TOKEN, "base_url": standin.url, "models": [huggingface.MODEL]}
        )
        yield Subject(
            standin=standin,
            config=config,
            secret=huggingface.TOKEN,
            sent=lambda: [(call.picture, None) for call in standin.calls],
            pool=pool,
        )


OPENAI = Kind(
    name="openai",
    subject=_openai,
    failures={
        "invalid_api_key": errors.ProviderKeyRejected,
        "insufficient_quota": errors.ProviderOutOfCredit,
        "organization_not_verified": errors.ProviderAccessDenied,
        "model_not_found": errors.ProviderModelNotFound,
        "moderation_blocked": errors.ProviderRefusedContent,
        "invalid_image_file": errors.ProviderRefusedImage,
        "invalid_value": errors.ProviderRefusedParameter,
        "rate_limit_exceeded": errors.ProviderRateLimited,
        "server_error": errors.ProviderServerError,
        "gateway_html": errors.ProviderServerError,
        "empty_data": errors.ProviderBadAnswer,
        **TRICKS,
    },
    limit="imgsvc.providers.cutting.MAX_PICTURE_BYTES",
    to_edit=_white_where_clear,
    any_format=False,
    sizes={None: (48, 32), "auto": (48, 32), "64x128": (64, 128)},
)
AUTOMATIC1111 = Kind(
    name="automatic1111",
    subject=_automatic1111,
    failures={
        "not_authenticated": errors.ProviderKeyRejected,
        "wrong_password": errors.ProviderKeyRejected,
        "forbidden": errors.ProviderAccessDenied,
        "no_api": errors.ProviderModelNotFound,
        "no_sampler": errors.ProviderRefusedParameter,
        "no_sampler_1.10": errors.ProviderRefusedParameter,
        "invalid": errors.ProviderRefusedParameter,
        "too_large": errors.ProviderRefusedImage,
        "busy": errors.ProviderRateLimited,
        "out_of_memory": errors.ProviderServerError,
        "gateway": errors.ProviderServerError,
        "gateway_timeout": errors.ProviderTimeout,
        "empty": errors.ProviderBadAnswer,
        "cut_short": errors.ProviderBadAnswer,
        **TRICKS,
    },
    limit="imgsvc.providers.cutting.MAX_PICTURE_BYTES",
    to_edit=lambda mask: mask,
    any_format=True,
    sizes={None: (96, 64), "auto": (96, 64), "64x128": (64, 128)},
)
HUGGINGFACE = Kind(
    name="huggingface",
    subject=_huggingface,
    failures={
        "wrong_token": errors.ProviderKeyRejected,
        "no_credits": errors.ProviderOutOfCredit,
        "no_permission": errors.ProviderAccessDenied,
        "no_model": errors.ProviderModelNotFound,
        "gone": errors.ProviderModelNotFound,
        "invalid": errors.ProviderRefusedParameter,
        "bad_request": errors.ProviderRefusedParameter,
        "too_large": errors.ProviderRefusedImage,
        "rate_limited": errors.ProviderRateLimited,
        "loading": errors.ProviderServerError,
        "failed": errors.ProviderServerError,
        "gateway": errors.ProviderServerError,
        "gateway_timeout": errors.ProviderTimeout,
        "empty": errors.ProviderBadAnswer,
        "cut_short": errors.ProviderBadAnswer,
        **TRICKS,
    },
    limit="imgsvc.providers.huggingface.provider.MAX_PICTURE_BYTES",
    to_edit=None,
    any_format=True,
    sizes={None: (96, 64), "auto": (96, 64), "64x128": (64, 128)},
)
KINDS = [OPENAI, AUTOMATIC1111, HUGGINGFACE]


def opened(content: bytes) -> Image.Image:
    """Return a picture file decoded."""
    image = Image.open(io.BytesIO(content))
    image.load()
    return image
