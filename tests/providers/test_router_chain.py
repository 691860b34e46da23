"""Several providers that step in for one another, and the local engine by name."""

import asyncio
import io
from typing import Any

import pytest
from PIL import Image

from imgsvc.errors import (
    ImgsvcError,
    ProviderModelNotFound,
    ProviderOutOfCredit,
    ProviderRefusedContent,
    ProviderRefusedImage,
    ProviderRefusedParameter,
    ProviderServerError,
    ProviderTimeout,
)
from imgsvc.imaging.pool import ImagePool
from imgsvc.providers import EditOptions, EditRouter, LocalConfig, LocalProvider, RoutingConfig
from providers.desks import Clock, Desk, FailingProvider, MakeRequest
from providers.pictures import encoded

pytestmark = pytest.mark.asyncio(loop_scope="session")


def desk(pool: ImagePool, *providers: FailingProvider) -> Desk:
    """Return a router to these providers; `desk.provider` is the last one."""
    clock = Clock()
    router = EditRouter(
        providers,
        LocalProvider(pool, LocalConfig()),
        RoutingConfig(),
        clock=clock,
        sleep=clock.sleep,
        chance=lambda: 0.0,
    )
    return Desk(provider=providers[-1], router=router, clock=clock)


async def test_the_next_provider_steps_in_and_the_reason_is_the_first_ones(
    pool: ImagePool, make_request: MakeRequest
) -> None:
    first = FailingProvider(ProviderOutOfCredit(), name="first")
    second = FailingProvider(ProviderTimeout(), name="second")
    third = FailingProvider(None, name="third")
    at = desk(pool, first, second, third)
    result = await at.edit(make_request())

    assert (result.provider, result.model) == ("third", "model-1")
    assert result.fallback_reason == "provider_out_of_credit"
    assert [(call.provider, call.error) for call in at.notes.calls] == [
        ("first", "provider_out_of_credit"),
        ("second", "provider_timeout"),
        ("third", None),
    ]


async def test_the_local_engine_steps_in_when_all_have_failed(
    pool: ImagePool, make_request: MakeRequest
) -> None:
    providers = [FailingProvider(ProviderOutOfCredit(), name=name) for name in ("first", "second")]
    at = desk(pool, *providers)
    result = await at.edit(make_request())
    assert (result.provider, result.model) == ("local", None)
    assert result.fallback_reason == "provider_out_of_credit"
    assert [provider.calls for provider in providers] == [1, 1]
    await at.edit(make_request())
    assert [provider.calls for provider in providers] == [1, 1]  # both breakers are open


@pytest.mark.parametrize("error", [ProviderRefusedContent(), ProviderOutOfCredit()])
async def test_nobody_else_is_asked_after_a_refusal_or_if_the_caller_wants_no_fallback(
    error: ImgsvcError, pool: ImagePool, make_request: MakeRequest
) -> None:
    second = FailingProvider(None, name="second")
    at = desk(pool, FailingProvider(error, name="first"), second)
    allowed = isinstance(error, ProviderRefusedContent)
    assert await at.edit(make_request(), allowed=allowed) is error
    assert second.calls == 0


@pytest.mark.parametrize("error", [ProviderRefusedParameter(), ProviderRefusedImage()])
async def test_one_that_only_steps_in_does_not_fail_the_job_with_what_it_cannot_read(
    error: ImgsvcError, pool: ImagePool, make_request: MakeRequest
) -> None:
    first = FailingProvider(ProviderOutOfCredit(), name="first")
    third = FailingProvider(None, name="third")
    at = desk(pool, first, FailingProvider(error, name="second"), third)
    result = await at.edit(make_request())
    assert (result.provider, result.fallback_reason) == ("third", "provider_out_of_credit")

    at = desk(pool, FailingProvider(error, name="first"), third)
    assert await at.edit(make_request()) is error


async def test_one_that_steps_in_and_refuses_the_content_ends_it(
    pool: ImagePool, make_request: MakeRequest
) -> None:
    error, third = ProviderRefusedContent(), FailingProvider(None, name="third")
    first = FailingProvider(ProviderOutOfCredit(), name="first")
    at = desk(pool, first, FailingProvider(error, name="second"), third)
    assert await at.edit(make_request()) is error
    assert third.calls == 0


async def test_one_that_never_answers_leaves_the_local_engine_time_to_step_in(
    pool: ImagePool, make_request: MakeRequest
) -> None:
    at = desk(pool, Silent(None, name="first"), Silent(None, name="second"))
    result = await at.edit(make_request(), left=0.5)
    assert (result.provider, result.fallback_reason) == ("local", "provider_timeout")
    first = at.notes.calls[0]
    assert (first.provider, first.error, first.cost) == ("first", "provider_timeout", None)


class Silent(FailingProvider):
    """One that takes the request and says nothing more."""

    async def edit(self, *_: Any) -> Any:
        await asyncio.Event().wait()


async def test_a_model_that_is_asked_for_decides_who_is_first(
    pool: ImagePool, make_request: MakeRequest
) -> None:
    at = desk(pool, FailingProvider(None, name="first"), FailingProvider(None, name="second"))
    result = await at.edit(make_request(options=EditOptions(model="second/model-2")))
    assert (result.provider, result.model) == ("second", "model-2")
    assert result.fallback_reason is None


async def test_a_model_that_is_no_longer_configured_falls_back(
    pool: ImagePool, make_request: MakeRequest
) -> None:
    at = desk(pool, FailingProvider(None))
    request = make_request(options=EditOptions(model="gone"))
    assert (await at.edit(request)).fallback_reason == "provider_model_not_found"
    assert isinstance(await at.edit(request, allowed=False), ProviderModelNotFound)
    assert at.provider.calls == 0


async def test_each_provider_has_its_own_retries(
    pool: ImagePool, make_request: MakeRequest
) -> None:
    first = FailingProvider(ProviderServerError(), name="first")
    second = FailingProvider(ProviderServerError(), None, name="second")
    at = desk(pool, first, second)
    assert (await at.edit(make_request())).provider == "second"
    assert (first.calls, second.calls, at.clock.waits) == (2, 2, [1.0, 1.0])


async def test_the_local_engine_by_name_is_no_fallback_and_writes_nothing_on_the_picture(
    pool: ImagePool, make_request: MakeRequest
) -> None:
    at = desk(pool, FailingProvider(None))
    content = encoded("PNG", size=(600, 400))
    request = make_request(content, prompt="Rotate left", options=EditOptions(model="local"))
    result = await at.edit(request, allowed=False)

    assert (result.provider, result.model, result.fallback_reason) == ("local", None, None)
    assert (result.operations, at.provider.calls) == (("rotate -90",), 0)
    with (
        Image.open(io.BytesIO(content)) as original,
        Image.open(io.BytesIO(await result.image.to_bytes())) as image,
    ):
        expected = original.transpose(Image.Transpose.ROTATE_90)
        assert image.convert("RGB").tobytes() == expected.convert("RGB").tobytes()


async def test_a_demo_of_the_local_engine_says_so_although_it_was_asked_for_by_name(
    pool: ImagePool, make_request: MakeRequest
) -> None:
    at = desk(pool, FailingProvider(None))
    content = encoded("PNG", size=(600, 400))
    request = make_request(content, prompt="Hello", options=EditOptions(model="local"))
    result = await at.edit(request)
    assert (result.operations, result.ignored) == ((), ("Hello",))
    with Image.open(io.BytesIO(await result.image.to_bytes())) as image:
        colours = image.convert("RGB").getcolors(600 * 400)
    assert colours is not None
    assert len(colours) > 1  # one colour, inverted, and a caption
