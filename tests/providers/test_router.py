import inspect
import io
from collections.abc import Callable
from contextlib import suppress

import pytest
from PIL import Image
from structlog.testing import capture_logs

from imgsvc import errors
from imgsvc.errors import CorruptImage, ImgsvcError, ProviderError, ProviderTimeout
from imgsvc.imaging.encoded import EncodedImage
from imgsvc.imaging.formats import ImageFormat
from imgsvc.imaging.pool import ImagePool
from imgsvc.providers import (
    EditOptions,
    EditRequest,
    LocalProvider,
    OpenAIConfig,
    ProviderCall,
    open_router,
)
from imgsvc.providers.router import REACTIONS, EditRouter, Reaction
from providers.pictures import encoded
from standins.openai import OpenAIStandin

pytestmark = pytest.mark.asyncio(loop_scope="session")

MakeRequest = Callable[..., EditRequest]

FALLS_BACK: list[type[ProviderError]] = [
    errors.ProviderNotConfigured,
    errors.ProviderOutOfCredit,
    errors.ProviderRateLimited,
    errors.ProviderKeyRejected,
    errors.ProviderAccessDenied,
    errors.ProviderModelNotFound,
    errors.ProviderServerError,
    errors.ProviderTimeout,
    errors.ProviderConnectionLost,
    errors.ProviderUnreachable,
    errors.ProviderBadAnswer,
]
FAILS: list[type[ProviderError]] = [
    errors.ProviderRefusedContent,
    errors.ProviderRefusedImage,
    errors.ProviderRefusedParameter,
]


def ignore(_call: ProviderCall) -> None:
    """Take no note of a call."""


class FailingProvider:
    """A provider that raises what it is given."""

    name = "failing"

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def edit(self, _request: EditRequest) -> EncodedImage:
        raise self.error


async def test_the_policy_knows_every_error_of_a_provider() -> None:
    kinds = {
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, ProviderError) and kind is not ProviderError
    }
    assert set(REACTIONS) == kinds
    assert {kind for kind, reaction in REACTIONS.items() if reaction is Reaction.FAIL} == set(FAILS)


@pytest.mark.parametrize("kind", FALLS_BACK)
async def test_the_local_engine_steps_in_and_says_so(
    kind: type[ProviderError], pool: ImagePool, make_request: MakeRequest
) -> None:
    router = EditRouter(FailingProvider(kind()), LocalProvider(pool))
    with capture_logs() as logs:
        result = await router.edit(make_request(), fallback_allowed=True, observe=ignore)

    assert (result.provider, result.fallback_reason) == ("local", kind.code)
    assert logs == [
        {
            "event": "provider_fallback",
            "log_level": "warning",
            "reason": kind.code,
            "error": kind.__name__,
        }
    ]


@pytest.mark.parametrize("kind", FALLS_BACK + FAILS)
async def test_no_error_falls_back_if_the_caller_wants_none(
    kind: type[ProviderError], pool: ImagePool, make_request: MakeRequest
) -> None:
    router = EditRouter(FailingProvider(kind()), LocalProvider(pool))
    with pytest.raises(kind):
        await router.edit(make_request(), fallback_allowed=False, observe=ignore)


@pytest.mark.parametrize("error", [*(kind() for kind in FAILS), CorruptImage(), RuntimeError()])
async def test_what_the_caller_or_a_bug_caused_never_falls_back(
    error: Exception, pool: ImagePool, make_request: MakeRequest
) -> None:
    router = EditRouter(FailingProvider(error), LocalProvider(pool))
    with pytest.raises(type(error)):
        await router.edit(make_request(), fallback_allowed=True, observe=ignore)


@pytest.mark.parametrize("error", [ProviderTimeout(), CorruptImage(), None])
async def test_every_call_is_told_of_with_what_it_failed_with(
    error: Exception | None,
    config: OpenAIConfig,
    pool: ImagePool,
    make_request: MakeRequest,
) -> None:
    calls: list[ProviderCall] = []
    failing = FailingProvider(error) if error else None
    async with open_router(config, pool) as working:
        router = EditRouter(failing, LocalProvider(pool)) if failing else working
        with suppress(ImgsvcError):
            await router.edit(make_request(), fallback_allowed=False, observe=calls.append)

    [call] = calls
    assert call.provider == ("openai" if error is None else "failing")
    assert call.error == ("provider_timeout" if isinstance(error, ProviderTimeout) else None)
    assert call.seconds >= 0


async def test_an_edit_that_works_names_its_provider_and_no_reason(
    config: OpenAIConfig, pool: ImagePool, make_request: MakeRequest
) -> None:
    async with open_router(config, pool) as router:
        assert router.name == "openai"
        result = await router.edit(make_request(), fallback_allowed=True, observe=ignore)
    assert (result.provider, result.fallback_reason) == ("openai", None)


async def test_an_empty_account_gives_a_local_picture_with_the_reason(
    config: OpenAIConfig, pool: ImagePool, standin: OpenAIStandin, make_request: MakeRequest
) -> None:
    standin.fail_always("insufficient_quota")
    async with open_router(config, pool) as router:
        result = await router.edit(make_request(), fallback_allowed=True, observe=ignore)
    assert (result.provider, result.fallback_reason) == ("local", "provider_out_of_credit")
    assert len(standin.calls) == 1


async def test_without_a_key_the_local_engine_edits_and_says_why(
    pool: ImagePool, make_request: MakeRequest
) -> None:
    async with open_router(OpenAIConfig(), pool) as router:
        assert router.name == "local"
        result = await router.edit(make_request(), fallback_allowed=True, observe=ignore)
        assert (result.provider, result.fallback_reason) == ("local", "provider_not_configured")
        with pytest.raises(errors.ProviderNotConfigured):
            await router.edit(make_request(), fallback_allowed=False, observe=ignore)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [(None, ImageFormat.PNG), *((kind, kind) for kind in list(ImageFormat)[:3])],
)
async def test_the_local_picture_has_the_format_that_was_asked_for(
    asked: ImageFormat | None, expected: ImageFormat, pool: ImagePool, make_request: MakeRequest
) -> None:
    content = encoded("PNG", size=(600, 400))
    request = make_request(content, options=EditOptions(output_format=asked))
    result = await LocalProvider(pool).edit(request, "provider_timeout")

    assert result.format is expected
    with Image.open(io.BytesIO(await result.to_bytes())) as image:
        assert image.format == expected.name
        red, green = (image.getchannel(band).getpixel((0, 0)) for band in "RG")
    assert isinstance(red, int)
    assert isinstance(green, int)
    assert (red < 60, green > 200) == (True, True)  # cyan: red inverted
