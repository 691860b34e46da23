import asyncio

import pytest
from structlog.testing import capture_logs

from imgsvc.errors import (
    CorruptImage,
    ProviderAccessDenied,
    ProviderBadAnswer,
    ProviderConnectionLost,
    ProviderError,
    ProviderKeyRejected,
    ProviderModelNotFound,
    ProviderOutOfCredit,
    ProviderRateLimited,
    ProviderServerError,
    ProviderTimeout,
    ProviderUnreachable,
)
from imgsvc.providers import EditOptions, ProviderRetry
from providers.desks import FAILS, FALLS_BACK, MakeDesk, MakeRequest

pytestmark = pytest.mark.asyncio(loop_scope="session")

OPENS: list[type[ProviderError]] = [
    ProviderOutOfCredit,
    ProviderKeyRejected,
    ProviderAccessDenied,
    ProviderModelNotFound,
]
PERHAPS_BILLED: list[type[ProviderError]] = [
    ProviderTimeout,
    ProviderConnectionLost,
    ProviderBadAnswer,
]

# -- repetitions --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "waits"),
    [
        (ProviderRateLimited(), [1, 2, 4, 8, 16]),
        (ProviderRateLimited(retry_after=12), [12] * 5),
        (ProviderRateLimited(retry_after=0), [1, 2, 4, 8, 16]),
        (ProviderServerError(), [1]),
        (ProviderUnreachable(), [1]),
        *((kind(), []) for kind in (*OPENS, *PERHAPS_BILLED)),
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
        (26, []),  # after 12 s a call would have no time: a tenth is the local engine's
        (27, [12]),
        (45, [12, 12]),
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
    assert {call.cost is None for call in desk.notes.calls} == {kind in PERHAPS_BILLED}


async def test_a_call_that_is_given_up_may_have_been_billed(
    make_desk: MakeDesk, make_request: MakeRequest
) -> None:
    desk = make_desk(asyncio.CancelledError())
    with pytest.raises(asyncio.CancelledError):
        await desk.edit(make_request())
    assert [(call.error, call.cost) for call in desk.notes.calls] == [("given_up", None)]
    assert desk.router.figures.calls == {("failing", "given_up"): 1}


# -- the breaker --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", OPENS)
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
    assert desk.router.figures.calls == {
        ("failing", "provider_rate_limited"): 1,
        ("failing", "edited"): 2,
        ("failing", "corrupt_image"): 1,
    }
