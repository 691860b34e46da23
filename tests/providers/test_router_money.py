"""The router and the account that pays: no call without money set aside, none left unsettled."""

import asyncio
from math import inf
from typing import Any, Literal

import pytest
from structlog.testing import capture_logs

from imgsvc.errors import (
    BudgetSpent,
    CorruptImage,
    ImageProcessDied,
    ProviderOutOfCredit,
    ProviderRateLimited,
    ProviderTimeout,
)
from imgsvc.imaging.formats import ImageFormat
from imgsvc.imaging.pool import ImagePool
from imgsvc.providers import (
    Automatic1111Config,
    EditOptions,
    EditRouter,
    LocalConfig,
    LocalProvider,
    OpenAIConfig,
    RoutingConfig,
    Usage,
    open_router,
)
from imgsvc.providers.pricing import estimate
from providers.desks import Clock, Desk, FailingProvider, MakeRequest
from standins import image_tasks
from standins.accounts import OpenAccount
from standins.automatic1111 import CHECKPOINTS, automatic1111_standin

pytestmark = pytest.mark.asyncio(loop_scope="session")

CENT = 10**7
PRICED: dict[str, Any] = {"usd_per_image": 0.01}


class Purse(OpenAccount):
    """Has money for the models of some providers only."""

    __slots__ = ("of",)

    def __init__(self, *of: str, is_final: bool = False) -> None:
        super().__init__()
        self.of = of
        self.refuses = BudgetSpent("Too dear.", is_final=is_final)

    async def reserve(self, provider: str, model: str, estimate: int | None) -> OpenAccount:
        if provider not in self.of and self.refuses is not None:
            raise self.refuses
        self.reserved.append((provider, model, estimate))
        return self


def make_desk(pool: ImagePool, *providers: FailingProvider, account: OpenAccount) -> Desk:
    clock = Clock()
    router = EditRouter(
        providers,
        LocalProvider(pool, LocalConfig()),
        RoutingConfig(),
        clock=clock,
        sleep=clock.sleep,
        chance=lambda: 0,
    )
    return Desk(provider=providers[0], router=router, clock=clock, account=account)


async def test_each_repetition_is_paid_for_itself(
    pool: ImagePool, make_request: MakeRequest
) -> None:
    provider = FailingProvider(ProviderRateLimited(), ProviderRateLimited(), None, **PRICED)
    desk = make_desk(pool, provider, account=OpenAccount())
    await desk.edit(make_request())

    assert desk.account.reserved == [("failing", "model-1", CENT)] * 3
    assert [call.cost for call in desk.account.settled] == [0, 0, CENT]
    assert desk.account.settled == desk.notes.calls
    assert desk.router.figures.costs == {("failing", "model-1"): CENT}


async def test_who_steps_in_is_paid_too(pool: ImagePool, make_request: MakeRequest) -> None:
    first = FailingProvider(ProviderTimeout(), name="first", **PRICED)
    second = FailingProvider(None, name="second", usd_per_image=0.02)
    desk = make_desk(pool, first, second, account=OpenAccount())
    await desk.edit(make_request())

    assert desk.account.reserved == [
        ("first", "model-1", CENT),
        ("second", "model-1", 2 * CENT),
    ]
    assert [call.cost for call in desk.account.settled] == [None, 2 * CENT]


async def test_the_local_engine_needs_no_money(pool: ImagePool, make_request: MakeRequest) -> None:
    provider = FailingProvider(None, **PRICED)
    desk = make_desk(pool, provider, account=Purse())
    result = await desk.edit(make_request(options=EditOptions(model="local")))
    assert (result.provider, result.fallback_reason) == ("local", None)


@pytest.mark.parametrize(
    ("error", "cost"),
    [
        (ProviderTimeout(), None),
        (ProviderOutOfCredit(), 0),
        (CorruptImage(), 0),
        (ImageProcessDied(), 0),
        (asyncio.CancelledError(), None),
        (ZeroDivisionError(), None),
    ],
)
async def test_a_call_is_settled_however_it_ends(
    pool: ImagePool, make_request: MakeRequest, error: BaseException, cost: int | None
) -> None:
    desk = make_desk(pool, FailingProvider(error, **PRICED), account=OpenAccount())
    try:
        await desk.edit(make_request())
    except (asyncio.CancelledError, ZeroDivisionError) as exc:
        assert exc is error  # noqa: PT017 - which of the two it is depends on the case
    assert [call.cost for call in desk.account.settled] == [cost]


@pytest.mark.parametrize(
    ("task", "calls", "cost"),
    [("imgsvc.imaging.exchange.scaled", 0, 0), ("imgsvc.providers.results.convert", 1, None)],
)
async def test_a_process_that_is_lost_before_the_picture_is_sent_is_free_and_not_after_the_answer(
    pool: ImagePool,
    make_request: MakeRequest,
    monkeypatch: pytest.MonkeyPatch,
    task: str,
    calls: int,
    cost: int | None,
) -> None:
    monkeypatch.setattr(task, image_tasks.die)
    account = OpenAccount()
    async with automatic1111_standin(auth=False) as web_ui:
        models = [{"name": name} | PRICED for name in CHECKPOINTS]
        config = Automatic1111Config.model_validate({"base_url": web_ui.url, "models": models})
        request = make_request(options=EditOptions(output_format=ImageFormat.JPEG))
        async with open_router([config], RoutingConfig(), LocalConfig(), pool) as router:
            desk = Desk(
                provider=FailingProvider(None), router=router, clock=Clock(), account=account
            )
            failed = await desk.edit(request, left=inf)

    assert isinstance(failed, ImageProcessDied)
    assert len(web_ui.calls) == calls
    assert [call.cost for call in account.settled] == [cost]


async def test_a_free_model_costs_nothing_even_if_nobody_knows_how_a_call_ended(
    pool: ImagePool, make_request: MakeRequest
) -> None:
    provider = FailingProvider(ProviderTimeout(), usd_per_image=0)
    desk = make_desk(pool, provider, account=OpenAccount())
    await desk.edit(make_request())
    assert [call.cost for call in desk.notes.calls] == [0]


async def test_without_a_price_the_cost_is_unknown_and_not_zero(
    pool: ImagePool, make_request: MakeRequest
) -> None:
    desk = make_desk(pool, FailingProvider(None), account=OpenAccount())
    with capture_logs() as logs:
        await desk.edit(make_request())
    assert desk.account.reserved == [("failing", "model-1", None)]
    assert [call.cost for call in desk.notes.calls] == [None]
    assert not desk.router.figures.costs
    assert [line["cost_usd"] for line in logs if line["event"] == "provider_billed"] == [None]


# -- without money ------------------------------------------------------------------------


async def test_who_cannot_be_paid_is_not_asked_and_who_can_steps_in(
    pool: ImagePool, make_request: MakeRequest
) -> None:
    dear, cheap = FailingProvider(None, name="dear"), FailingProvider(None, name="cheap")
    desk = make_desk(pool, dear, cheap, account=Purse("cheap"))
    result = await desk.edit(make_request())

    assert (result.provider, result.fallback_reason) == ("cheap", "budget_spent")
    assert (dear.calls, cheap.calls) == (0, 1)
    assert not [call for call in desk.notes.calls if call.provider == "dear"]
    assert desk.router.figures.calls == {("cheap", "edited"): 1}


async def test_when_nobody_can_be_paid_the_local_engine_steps_in(
    pool: ImagePool, make_request: MakeRequest
) -> None:
    desk = make_desk(pool, FailingProvider(None), account=Purse())
    result = await desk.edit(make_request())
    assert (result.provider, result.fallback_reason) == ("local", "budget_spent")


@pytest.mark.parametrize(("is_final", "allowed"), [(True, True), (False, False)])
async def test_nobody_steps_in_if_the_policy_or_the_caller_says_so(
    pool: ImagePool, make_request: MakeRequest, is_final: bool, allowed: bool
) -> None:
    dear, cheap = FailingProvider(None, name="dear"), FailingProvider(None, name="cheap")
    desk = make_desk(pool, dear, cheap, account=Purse("cheap", is_final=is_final))
    failed = await desk.edit(make_request(), allowed=allowed)
    assert isinstance(failed, BudgetSpent)
    assert (dear.calls, cheap.calls) == (0, 0)


async def test_money_that_runs_out_between_two_repetitions_ends_them(
    pool: ImagePool, make_request: MakeRequest
) -> None:
    class Once(OpenAccount):
        __slots__ = ()

        async def reserve(self, provider: str, model: str, estimate: int | None) -> OpenAccount:
            if self.reserved:
                raise BudgetSpent
            return await super().reserve(provider, model, estimate)

    provider = FailingProvider(ProviderRateLimited(), **PRICED)
    desk = make_desk(pool, provider, account=Once())
    result = await desk.edit(make_request())
    assert (result.fallback_reason, provider.calls) == ("budget_spent", 1)


async def test_an_open_breaker_keeps_no_money_set_aside(
    pool: ImagePool, make_request: MakeRequest
) -> None:
    desk = make_desk(pool, FailingProvider(ProviderOutOfCredit()), account=OpenAccount())
    for _ in range(5):
        await desk.edit(make_request())
    assert len(desk.account.reserved) == len(desk.account.settled) + desk.account.cancelled
    assert len(desk.account.settled) == 1


async def test_an_edit_that_cannot_be_paid_is_no_probe(
    pool: ImagePool, make_request: MakeRequest
) -> None:
    provider = FailingProvider(ProviderOutOfCredit(), None, **PRICED)
    desk = make_desk(pool, provider, account=OpenAccount())
    await desk.edit(make_request())
    desk.clock.now += 31  # the breaker is half-open
    desk.account.refuses = BudgetSpent()
    assert (await desk.edit(make_request())).fallback_reason == "budget_spent"
    desk.account.refuses = None
    assert (await desk.edit(make_request())).provider == "failing"


# -- with the stand-in --------------------------------------------------------------------


async def test_what_the_api_counts_is_what_is_paid(
    config: OpenAIConfig, pool: ImagePool, make_request: MakeRequest
) -> None:
    account, request = OpenAccount(), make_request()
    async with open_router([config], RoutingConfig(), LocalConfig(), pool) as router:
        desk = Desk(provider=FailingProvider(None), router=router, clock=Clock(), account=account)
        await desk.edit(request, left=inf)

    [call] = account.settled
    assert call.usage == Usage(text_tokens=17, image_tokens=306, output_tokens=1056)
    assert call.cost == 17 * 5_000 + 306 * 8_000 + 1056 * 30_000
    [(_, _, estimated)] = account.reserved
    assert estimated == estimate(config.offered["gpt-image-2"], request)
    assert estimated is not None
    assert call.cost < estimated
    assert router.figures.tokens == {
        ("openai", "gpt-image-2", "text"): 17,
        ("openai", "gpt-image-2", "image"): 306,
        ("openai", "gpt-image-2", "output"): 1056,
    }


async def test_money_that_becomes_free_is_waited_for(
    pool: ImagePool, make_request: MakeRequest
) -> None:
    provider, freed = FailingProvider(None), Freed()
    account = OpenAccount(refuses=BudgetSpent(freed=freed))
    desk = make_desk(pool, provider, account=account)
    editing = asyncio.create_task(desk.edit(make_request()))
    await freed.awaited.wait()
    assert desk.router.limiters["failing"].in_flight == 0  # no place is kept meanwhile
    account.refuses = None
    freed.set()
    result = await editing
    assert (result.provider, result.fallback_reason) == ("failing", None)


async def test_money_is_waited_for_no_longer_than_half_of_the_time(
    pool: ImagePool, make_request: MakeRequest
) -> None:
    account = OpenAccount(refuses=BudgetSpent(freed=asyncio.Event()))
    desk = make_desk(pool, FailingProvider(None), account=account)
    result = await desk.edit(make_request(), left=0.1)
    assert (result.provider, result.fallback_reason) == ("local", "budget_spent")


class Freed(asyncio.Event):
    """Money that becomes free, and that tells when somebody waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.awaited = asyncio.Event()

    async def wait(self) -> Literal[True]:
        self.awaited.set()
        return await super().wait()
