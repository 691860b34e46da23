import inspect
import io
from math import inf

import pytest
from PIL import Image
from structlog.testing import capture_logs

from imgsvc import errors
from imgsvc.errors import (
    CorruptImage,
    ImgsvcError,
    InstructionNotUnderstood,
    ProviderError,
    ProviderTimeout,
)
from imgsvc.imaging.editing import Unknown
from imgsvc.imaging.formats import ImageFormat
from imgsvc.imaging.pool import ImagePool
from imgsvc.providers import (
    EditOptions,
    EditRouter,
    LocalConfig,
    LocalProvider,
    OpenAIConfig,
    RoutingConfig,
    open_router,
)
from imgsvc.providers.policy import POLICY, Reaction
from providers.desks import (
    FAILS,
    FALLS_BACK,
    FailingProvider,
    MakeDesk,
    MakeRequest,
    Notes,
)
from providers.pictures import encoded
from standins.accounts import OpenAccount
from standins.openai import OpenAIStandin

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_the_policy_knows_every_error_of_a_provider() -> None:
    kinds = {
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, ProviderError) and kind is not ProviderError
    }
    assert set(POLICY) == kinds
    fails = {kind for kind, rule in POLICY.items() if rule.reaction is not Reaction.FALL_BACK}
    assert fails == set(FAILS)


@pytest.mark.parametrize("kind", FALLS_BACK)
async def test_the_local_engine_steps_in_and_says_so(
    kind: type[ProviderError], make_desk: MakeDesk, make_request: MakeRequest
) -> None:
    desk = make_desk(kind())
    with capture_logs() as logs:
        result = await desk.edit(make_request())

    assert (result.provider, result.fallback_reason) == ("local", kind.code)
    assert [line for line in logs if line["event"] == "provider_fallback"] == [
        {
            "event": "provider_fallback",
            "log_level": "warning",
            "provider": "failing",
            "reason": kind.code,
            "error": kind.__name__,
        }
    ]


@pytest.mark.parametrize("kind", FALLS_BACK + FAILS)
async def test_no_error_falls_back_if_the_caller_wants_none(
    kind: type[ProviderError], make_desk: MakeDesk, make_request: MakeRequest
) -> None:
    assert type(await make_desk(kind()).edit(make_request(), allowed=False)) is kind


@pytest.mark.parametrize("error", [*(kind() for kind in FAILS), CorruptImage()])
async def test_what_the_caller_caused_never_falls_back_and_is_not_repeated(
    error: ImgsvcError, make_desk: MakeDesk, make_request: MakeRequest
) -> None:
    desk = make_desk(error)
    assert await desk.edit(make_request()) is error
    assert (desk.provider.calls, desk.clock.waits) == (1, [])


async def test_a_bug_never_falls_back(make_desk: MakeDesk, make_request: MakeRequest) -> None:
    with pytest.raises(ZeroDivisionError):
        await make_desk(ZeroDivisionError()).edit(make_request())


# -- with the stand-in --------------------------------------------------------------------


async def test_an_edit_that_works_names_its_provider_and_no_reason(
    config: OpenAIConfig, pool: ImagePool, make_request: MakeRequest
) -> None:
    async with open_router([config], RoutingConfig(), LocalConfig(), pool) as router:
        assert router.catalogue.asked_for(EditOptions(), has_mask=False) == "openai"
        result = await router.edit(
            make_request(),
            fallback_allowed=True,
            until=inf,
            observer=Notes(),
            account=OpenAccount(),
        )
    assert (result.provider, result.fallback_reason) == ("openai", None)


async def test_an_empty_account_gives_a_local_picture_with_the_reason(
    config: OpenAIConfig, pool: ImagePool, standin: OpenAIStandin, make_request: MakeRequest
) -> None:
    standin.fail_always("insufficient_quota")
    async with open_router([config], RoutingConfig(), LocalConfig(), pool) as router:
        result = await router.edit(
            make_request(),
            fallback_allowed=True,
            until=inf,
            observer=Notes(),
            account=OpenAccount(),
        )
    assert (result.provider, result.fallback_reason) == ("local", "provider_out_of_credit")
    assert len(standin.calls) == 1


async def test_without_a_key_the_local_engine_edits_and_says_why(
    pool: ImagePool, make_request: MakeRequest
) -> None:
    async with open_router([], RoutingConfig(), LocalConfig(), pool) as router:
        assert router.catalogue.asked_for(EditOptions(), has_mask=False) == "local"
        with capture_logs() as logs:
            result = await router.edit(
                make_request(),
                fallback_allowed=True,
                until=inf,
                observer=Notes(),
                account=OpenAccount(),
            )
        assert (result.provider, result.fallback_reason) == ("local", "provider_not_configured")
        (line,) = [line for line in logs if line["event"] == "provider_fallback"]
        assert (line["provider"], line["reason"]) == (None, "provider_not_configured")
        with pytest.raises(
            errors.ProviderNotConfigured, match=r"OPENAI_API_KEY.*\[\[providers\]\]"
        ):
            await router.edit(
                make_request(),
                fallback_allowed=False,
                until=inf,
                observer=Notes(),
                account=OpenAccount(),
            )


@pytest.mark.parametrize(
    ("asked", "expected"),
    [(None, ImageFormat.PNG), *((kind, kind) for kind in list(ImageFormat)[:3])],
)
async def test_the_local_picture_has_the_format_that_was_asked_for(
    asked: ImageFormat | None, expected: ImageFormat, pool: ImagePool, make_request: MakeRequest
) -> None:
    content = encoded("PNG", size=(600, 400))
    request = make_request(content, options=EditOptions(output_format=asked))
    result = await LocalProvider(pool, LocalConfig()).edit(request, "provider_timeout")

    assert result.image.format is expected
    with Image.open(io.BytesIO(await result.image.to_bytes())) as image:
        assert image.format == expected.name
        red, green = (image.getchannel(band).getpixel((0, 0)) for band in "RG")
    assert isinstance(red, int)
    assert isinstance(green, int)
    assert (red < 60, green > 200) == (True, True)  # cyan: red inverted


async def test_the_local_engine_does_what_it_understands_and_reports_it(
    pool: ImagePool, make_request: MakeRequest
) -> None:
    config = LocalConfig(watermark=False)
    content = encoded("PNG", size=(600, 400))
    request = make_request(content, prompt="Rotate the horse left, save it as WebP")
    result = await LocalProvider(pool, config).edit(request, "provider_timeout")

    assert (result.operations, result.ignored) == (("rotate -90", "convert webp"), ("horse",))
    with Image.open(io.BytesIO(await result.image.to_bytes())) as image:
        assert (image.format, image.size) == ("WEBP", (400, 600))


async def test_a_fallback_that_understands_nothing_can_fail_and_say_why(
    pool: ImagePool, make_request: MakeRequest
) -> None:
    local = LocalProvider(pool, LocalConfig(unknown=Unknown.REFUSE))
    router = EditRouter([FailingProvider(ProviderTimeout())], local, RoutingConfig())
    with capture_logs() as logs, pytest.raises(InstructionNotUnderstood) as failed:
        await router.edit(
            make_request(),
            fallback_allowed=True,
            until=inf,
            observer=Notes(),
            account=OpenAccount(),
        )
    assert failed.value.code == "instruction_not_understood"
    assert "(provider_timeout)" in failed.value.message
    assert "night" not in str(logs) + failed.value.message
