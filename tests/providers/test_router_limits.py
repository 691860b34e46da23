"""The router in front of a provider whose limits it keeps, in time that passes at once."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from imgsvc.errors import (
    BudgetSpent,
    ImgsvcError,
    ProviderBusy,
    ProviderOutOfCredit,
    ProviderRateLimited,
    ProviderTimeout,
)
from imgsvc.imaging.encoded import EncodedImage
from imgsvc.imaging.formats import ImageFormat
from imgsvc.imaging.pool import ImagePool
from imgsvc.providers import (
    Edited,
    EditRequest,
    EditRouter,
    Limits,
    LocalConfig,
    LocalProvider,
    Model,
    Observer,
    RoutingConfig,
)
from providers.desks import MakeRequest, Notes
from providers.virtual_time import now, run
from standins.accounts import OpenAccount


@dataclass(slots=True)
class SlowProvider:
    """Takes some seconds for each call, and fails the first ones with these errors."""

    errors: Sequence[ImgsvcError | None] = ()
    seconds: float = 10.0
    name: str = "slow"
    models: dict[str, Model] = field(default_factory=lambda: {"model-1": Model(name="model-1")})
    calls: list[float] = field(default_factory=list)  # when each began

    async def edit(self, _request: EditRequest, _model: Model, _observer: Observer) -> Edited:
        number = len(self.calls)
        self.calls.append(now())
        await asyncio.sleep(self.seconds)
        error = self.errors[number] if number < len(self.errors) else None
        if error is not None:
            raise error
        return Edited(image=EncodedImage(format=ImageFormat.PNG, content=b"picture"))

    async def probe(self) -> None:
        raise AssertionError("nobody asks for it")


@dataclass(kw_only=True, slots=True)
class Bench:
    """Edits the same picture several times."""

    pool: ImagePool
    request: EditRequest
    notes: Notes = field(default_factory=Notes)

    def edit(
        self,
        provider: SlowProvider,
        at: Sequence[float],
        *,
        left: float = 600,
        account: OpenAccount | None = None,
        **limits: int,
    ) -> list[tuple[float, Any]]:
        """Begin an edit at each of these times; return when each ended, and its error."""

        async def work() -> list[tuple[float, Any]]:
            router = EditRouter(
                [provider],
                LocalProvider(self.pool, LocalConfig()),
                RoutingConfig(open_seconds=30),
                limits={provider.name: Limits(**limits)},
                clock=now,
                chance=lambda: 0,
            )
            async with asyncio.TaskGroup() as group:
                tasks = []
                for when in at:
                    await asyncio.sleep(when - now())
                    tasks.append(
                        group.create_task(self._edit(router, left, account or OpenAccount()))
                    )
            assert [(each.waiting, each.in_flight) for each in router.limiters.values()] == [(0, 0)]
            return [task.result() for task in tasks]

        return run(work())

    async def _edit(
        self, router: EditRouter, left: float, account: OpenAccount
    ) -> tuple[float, Any]:
        until = now() + left
        try:
            await router.edit(
                self.request,
                fallback_allowed=False,
                until=until,
                observer=self.notes,
                account=account,
            )
        except ImgsvcError as error:
            return now(), type(error)
        return now(), None


@pytest.fixture
def bench(pool: ImagePool, make_request: MakeRequest) -> Bench:
    return Bench(pool=pool, request=make_request())


def test_the_provider_is_asked_no_faster_than_its_account_allows(bench: Bench) -> None:
    provider = SlowProvider()
    assert bench.edit(provider, [0] * 12, requests_per_minute=5) == (
        [(10, None)] * 5 + [(70, None)] * 5 + [(130, None)] * 2
    )
    assert provider.calls == [0] * 5 + [60] * 5 + [120] * 2
    assert [call.waited for call in bench.notes.calls] == provider.calls
    assert {call.seconds for call in bench.notes.calls} == {10}


def test_no_more_are_in_work_at_once_than_allowed(bench: Bench) -> None:
    provider = SlowProvider()
    bench.edit(provider, [0] * 5, max_in_flight=2)
    assert provider.calls == [0, 0, 10, 10, 20]


def test_a_turn_is_waited_for_no_longer_than_half_of_the_time_that_is_left(bench: Bench) -> None:
    provider = SlowProvider(seconds=50)
    assert bench.edit(provider, [0, 1], left=60, max_in_flight=1) == [
        (50, None),
        (28, ProviderBusy),  # of the 54 seconds that are not the local engine's
    ]
    assert bench.edit(SlowProvider(), [0, 0], left=120, requests_per_minute=1) == [
        (10, None),
        (0, ProviderBusy),
    ]


def test_what_was_never_asked_is_no_call_and_closes_or_opens_nothing(bench: Bench) -> None:
    bench.edit(SlowProvider(), [0, 0], left=60, requests_per_minute=1)
    assert [call.error for call in bench.notes.calls] == [None]
    assert bench.notes.retries == []


def test_one_that_is_told_to_wait_holds_back_all_others(bench: Bench) -> None:
    provider = SlowProvider([ProviderRateLimited(retry_after=20)], seconds=1)
    ended = bench.edit(provider, [0, 2, 3, 4, 30])
    assert provider.calls == [0, 21, 21, 21, 21, 30]
    assert {error for _, error in ended} == {None}
    assert [retry.wait for retry in bench.notes.retries] == [20]


def test_nobody_is_held_back_for_longer_than_a_breaker_stays_open(bench: Bench) -> None:
    provider = SlowProvider([ProviderRateLimited(retry_after=10**9)], seconds=1)
    assert bench.edit(provider, [0, 2], left=10_000) == [(1, ProviderRateLimited), (602, None)]


def test_who_would_be_held_back_for_too_long_is_told_at_once(bench: Bench) -> None:
    provider = SlowProvider([ProviderRateLimited(retry_after=400)], seconds=1)
    ended = bench.edit(provider, [0, 2, 3], left=600)
    assert ended == [(1, ProviderRateLimited), (2, ProviderBusy), (3, ProviderBusy)]


def test_a_call_ends_before_the_deadline_so_that_another_can_step_in(bench: Bench) -> None:
    assert bench.edit(SlowProvider(seconds=10**6), [0], left=600) == [(570, ProviderTimeout)]
    assert bench.edit(SlowProvider(seconds=10**6), [0], left=60) == [(54, ProviderTimeout)]


def test_those_who_wait_are_not_sent_into_a_breaker_that_has_opened(bench: Bench) -> None:
    provider = SlowProvider([ProviderOutOfCredit()])
    ended = bench.edit(provider, [0] * 1000, left=10_000, max_in_flight=1)
    assert ended == [(10, ProviderOutOfCredit)] * 1000
    assert provider.calls == [0]


def test_one_who_waits_does_not_keep_the_breaker_from_its_probe(bench: Bench) -> None:
    # The first opens the breaker. The second comes as soon as a probe may be made, but has
    # no turn before 60, and then it is the probe; the third finds it under way.
    provider = SlowProvider([ProviderOutOfCredit()])
    ended = bench.edit(provider, [0, 45, 65, 66], left=10_000, requests_per_minute=1)
    assert provider.calls == [0, 60]
    assert ended == [
        (10, ProviderOutOfCredit),
        (70, None),
        (65, ProviderOutOfCredit),
        (66, ProviderOutOfCredit),
    ]


def test_a_wait_for_a_call_that_is_made_again_takes_nobodys_place(bench: Bench) -> None:
    provider = SlowProvider([ProviderRateLimited()], seconds=10)
    bench.edit(provider, [0, 1], max_in_flight=1)
    assert provider.calls == [0, 10, 20]


class Purse(OpenAccount):
    """Pays once, and then for nothing more."""

    async def reserve(self, provider: str, model: str, estimate: int | None) -> OpenAccount:
        paid = await super().reserve(provider, model, estimate)
        self.refuses = BudgetSpent()
        return paid


def test_who_cannot_pay_uses_nobodys_turn_up(bench: Bench) -> None:
    provider, purse = SlowProvider(), Purse()
    ended = bench.edit(provider, [0] * 9, account=purse, requests_per_minute=2)
    assert ended == [(10, None)] + [(0, BudgetSpent)] * 8
    assert provider.calls == [0]
