import asyncio
import inspect
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import Any

import pytest
from PIL import Image
from structlog.testing import capture_logs

from imgsvc import errors
from imgsvc.errors import (
    CorruptImage,
    ImgsvcError,
    InstructionNotUnderstood,
    ProviderError,
    ProviderOutOfCredit,
    ProviderRateLimited,
    ProviderServerError,
    ProviderTimeout,
    ProviderUnreachable,
)
from imgsvc.imaging.editing import Unknown
from imgsvc.imaging.encoded import EncodedImage
from imgsvc.imaging.formats import ImageFormat
from imgsvc.imaging.pool import ImagePool
from imgsvc.providers import (
    EditOptions,
    EditRequest,
    LocalConfig,
    LocalProvider,
    OpenAIConfig,
    ProviderCall,
    ProviderRetry,
    RoutingConfig,
    open_router,
)
from imgsvc.providers.policy import POLICY, Reaction
from imgsvc.providers.router import EditRouter
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


@dataclass(slots=True)
class Clock:
    """Time that passes only while the router waits."""

    now: float = 0.0
    waits: list[float] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds

    def __call__(self) -> float:
        return self.now


@dataclass(slots=True)
class Notes:
    """What the router tells of one picture."""

    calls: list[ProviderCall] = field(default_factory=list)
    retries: list[ProviderRetry] = field(default_factory=list)

    def provider_called(self, call: ProviderCall) -> None:
        self.calls.append(call)

    def provider_retry(self, retry: ProviderRetry) -> None:
        self.retries.append(retry)


class FailingProvider:
    """A provider that raises what it is given, one after the other, and then the last again."""

    name = "failing"

    def __init__(self, *errors: BaseException | None) -> None:
        self.errors = list(errors)
        self.calls = 0

    def model(self, options: EditOptions) -> str:
        return options.model or "model-1"

    async def edit(self, _request: EditRequest) -> EncodedImage:
        self.calls += 1
        error = self.errors.pop(0) if len(self.errors) > 1 else self.errors[0]
        if error is not None:
            raise error
        return EncodedImage(format=ImageFormat.PNG, content=encoded("PNG"))


@dataclass(kw_only=True, slots=True)
class Desk:
    """A router in front of a provider that fails, with its own clock."""

    provider: FailingProvider
    router: EditRouter
    clock: Clock
    notes: Notes = field(default_factory=Notes)

    async def edit(self, request: EditRequest, *, left: float = 600, allowed: bool = True) -> Any:
        """Return the result of an edit that has so many seconds, or the error it fails with."""
        try:
            return await self.router.edit(
                request,
                fallback_allowed=allowed,
                until=self.clock.now + left,
                observer=self.notes,
            )
        except ImgsvcError as error:
            return error


MakeDesk = Callable[..., Desk]


@pytest.fixture
def make_desk(pool: ImagePool) -> MakeDesk:
    def make(*errors: BaseException | None, chance: float = 0.0, **config: Any) -> Desk:
        provider, clock = FailingProvider(*errors), Clock()
        router = EditRouter(
            provider,
            LocalProvider(pool, LocalConfig()),
            RoutingConfig(**config),
            clock=clock,
            sleep=clock.sleep,
            chance=lambda: chance,
        )
        return Desk(provider=provider, router=router, clock=clock)

    return make


async def test_the_policy_knows_every_error_of_a_provider() -> None:
    kinds = {
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, ProviderError) and kind is not ProviderError
    }
    assert set(POLICY) == kinds
    fails = {kind for kind, rule in POLICY.items() if rule.reaction is Reaction.FAIL}
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


# -- repetitions --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "waits"),
    [
        (ProviderRateLimited(), [1, 2, 4, 8, 16]),
        (ProviderRateLimited(retry_after=12), [12] * 5),
        (ProviderRateLimited(retry_after=0), [1, 2, 4, 8, 16]),
        (ProviderServerError(), [1]),
        (ProviderUnreachable(), [1]),
        *((kind(), []) for kind in FALLS_BACK[:1] + FALLS_BACK[3:6] + FALLS_BACK[7:9]),
    ],
)
async def test_a_call_is_made_again_as_often_and_as_late_as_the_policy_says(
    error: ProviderError, waits: list[float], make_desk: MakeDesk, make_request: MakeRequest
) -> None:
    desk = make_desk(error)
    await desk.edit(make_request())
    assert (desk.provider.calls, desk.clock.waits) == (1 + len(waits), waits)
    assert [call.error for call in desk.notes.calls] == [error.code] * desk.provider.calls
    assert desk.notes.retries == [
        ProviderRetry(provider="failing", error=error.code, wait=wait) for wait in waits
    ]


async def test_a_repetition_that_works_is_the_result(
    make_desk: MakeDesk, make_request: MakeRequest
) -> None:
    desk = make_desk(ProviderRateLimited(), ProviderServerError(), ProviderUnreachable(), None)
    result = await desk.edit(make_request())
    assert (result.provider, result.fallback_reason) == ("failing", None)
    assert desk.provider.calls == 4


async def test_a_wait_varies_but_never_ends_too_early(
    make_desk: MakeDesk, make_request: MakeRequest
) -> None:
    desk = make_desk(ProviderRateLimited(retry_after=10), None, chance=0.5)
    await desk.edit(make_request())
    assert desk.clock.waits == [11]


@pytest.mark.parametrize(
    ("left", "waits"),
    [
        (23, []),  # after 12 s of 23 a call would have no time
        (24, [12]),
        (40, [12, 12]),
        (10_000, [12] * 5),
    ],
)
async def test_nothing_waits_past_the_deadline(
    left: float, waits: list[float], make_desk: MakeDesk, make_request: MakeRequest
) -> None:
    desk = make_desk(ProviderRateLimited(retry_after=12))
    result = await desk.edit(make_request(), left=left)
    assert (result.fallback_reason, desk.clock.waits) == ("provider_rate_limited", waits)
    assert desk.clock.now < left


async def test_without_a_fallback_the_deadline_leaves_the_error_as_it_is(
    make_desk: MakeDesk, make_request: MakeRequest
) -> None:
    error = ProviderRateLimited(retry_after=12)
    desk = make_desk(error)
    assert await desk.edit(make_request(), left=10, allowed=False) is error


async def test_who_is_told_to_wait_longer_than_allowed_does_not_ask_earlier(
    make_desk: MakeDesk, make_request: MakeRequest
) -> None:
    desk = make_desk(ProviderRateLimited(retry_after=61), max_wait=60)
    await desk.edit(make_request())
    assert (desk.provider.calls, desk.clock.waits) == (1, [])


async def test_the_configuration_says_how_often_and_how_late(
    make_desk: MakeDesk, make_request: MakeRequest
) -> None:
    config = {"retries": {"provider_rate_limited": 3}, "first_wait": 5, "max_wait": 8}
    desk = make_desk(ProviderRateLimited(), **config)
    await desk.edit(make_request())
    assert desk.clock.waits == [5, 8, 8]


# -- calls that may have been billed ------------------------------------------------------


@pytest.mark.parametrize("kind", FALLS_BACK + FAILS)
async def test_a_call_is_told_of_as_perhaps_billed_if_nobody_knows_how_it_ended(
    kind: type[ProviderError], make_desk: MakeDesk, make_request: MakeRequest
) -> None:
    desk = make_desk(kind())
    await desk.edit(make_request())
    unknown = {
        errors.ProviderTimeout,
        errors.ProviderConnectionLost,
        errors.ProviderBadAnswer,
    }
    assert {call.cost_unknown for call in desk.notes.calls} == {kind in unknown}


async def test_a_call_that_is_given_up_may_have_been_billed(
    make_desk: MakeDesk, make_request: MakeRequest
) -> None:
    desk = make_desk(asyncio.CancelledError())
    with pytest.raises(asyncio.CancelledError):
        await desk.edit(make_request())
    assert [(call.error, call.cost_unknown) for call in desk.notes.calls] == [("given_up", True)]
    assert desk.router.calls == {("failing", "given_up"): 1}


# -- the breaker --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FALLS_BACK[1:2] + FALLS_BACK[3:6])
async def test_after_such_an_error_nobody_is_asked_again_and_the_reason_stays(
    kind: type[ProviderError], make_desk: MakeDesk, make_request: MakeRequest
) -> None:
    desk = make_desk(kind())
    results = [await desk.edit(make_request()) for _ in range(20)]
    assert desk.provider.calls == 1
    assert {result.fallback_reason for result in results} == {kind.code}
    refused = await desk.edit(make_request(), allowed=False)
    assert type(refused) is kind
    assert (
        refused.message == f"{kind().message} It was not asked again: the circuit breaker is open."
    )


@pytest.mark.parametrize("error", [ProviderTimeout(), ProviderServerError()])
async def test_so_many_failures_in_a_row_open_the_breaker(
    error: ProviderError, make_desk: MakeDesk, make_request: MakeRequest
) -> None:
    desk = make_desk(error, failures_to_open=3)
    for _ in range(10):
        assert (await desk.edit(make_request())).fallback_reason == error.code
    assert desk.provider.calls == 3


async def test_a_breaker_holds_back_no_other_model(
    make_desk: MakeDesk, make_request: MakeRequest
) -> None:
    desk = make_desk(ProviderOutOfCredit(), None)
    await desk.edit(make_request())
    other = make_request(options=EditOptions(model="model-2"))
    assert (await desk.edit(other)).provider == "failing"


async def test_the_breaker_closes_by_itself_once_a_probe_works(
    make_desk: MakeDesk, make_request: MakeRequest
) -> None:
    desk = make_desk(ProviderOutOfCredit(), None, open_seconds=30)
    with capture_logs() as logs:
        for seconds in (0, 29.9, 0.1, 0):
            desk.clock.now += seconds
            await desk.edit(make_request())
    assert desk.provider.calls == 3
    assert [line for line in logs if line["event"].startswith("breaker_")] == [
        {
            "event": "breaker_opened",
            "log_level": "error",
            "provider": "failing",
            "model": "model-1",
            "seconds": 30,
            "error": "ProviderOutOfCredit",
        },
        {
            "event": "breaker_closed",
            "log_level": "info",
            "provider": "failing",
            "model": "model-1",
        },
    ]


async def test_calls_are_counted_by_how_they_ended(
    make_desk: MakeDesk, make_request: MakeRequest
) -> None:
    desk = make_desk(ProviderRateLimited(), None, CorruptImage(), None)
    for _ in range(3):
        await desk.edit(make_request())
    assert desk.router.calls == {
        ("failing", "provider_rate_limited"): 1,
        ("failing", "edited"): 2,
        ("failing", "corrupt_image"): 1,
    }


# -- with the stand-in --------------------------------------------------------------------


async def test_an_edit_that_works_names_its_provider_and_no_reason(
    config: OpenAIConfig, pool: ImagePool, make_request: MakeRequest
) -> None:
    async with open_router(config, RoutingConfig(), LocalConfig(), pool) as router:
        assert router.name == "openai"
        result = await router.edit(
            make_request(), fallback_allowed=True, until=inf, observer=Notes()
        )
    assert (result.provider, result.fallback_reason) == ("openai", None)


async def test_an_empty_account_gives_a_local_picture_with_the_reason(
    config: OpenAIConfig, pool: ImagePool, standin: OpenAIStandin, make_request: MakeRequest
) -> None:
    standin.fail_always("insufficient_quota")
    async with open_router(config, RoutingConfig(), LocalConfig(), pool) as router:
        result = await router.edit(
            make_request(), fallback_allowed=True, until=inf, observer=Notes()
        )
    assert (result.provider, result.fallback_reason) == ("local", "provider_out_of_credit")
    assert len(standin.calls) == 1


async def test_without_a_key_the_local_engine_edits_and_says_why(
    pool: ImagePool, make_request: MakeRequest
) -> None:
    async with open_router(OpenAIConfig(), RoutingConfig(), LocalConfig(), pool) as router:
        assert router.name == "local"
        result = await router.edit(
            make_request(), fallback_allowed=True, until=inf, observer=Notes()
        )
        assert (result.provider, result.fallback_reason) == ("local", "provider_not_configured")
        with pytest.raises(errors.ProviderNotConfigured):
            await router.edit(make_request(), fallback_allowed=False, until=inf, observer=Notes())


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
    router = EditRouter(FailingProvider(ProviderTimeout()), local, RoutingConfig())
    with capture_logs() as logs, pytest.raises(InstructionNotUnderstood) as failed:
        await router.edit(make_request(), fallback_allowed=True, until=inf, observer=Notes())
    assert failed.value.code == "instruction_not_understood"
    assert "(provider_timeout)" in failed.value.message
    assert "night" not in str(logs) + failed.value.message
