"""The limiter, in time that passes at once."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgsvc.errors import ProviderBusy, ProviderOutOfCredit
from imgsvc.providers.limiter import WINDOW, Limiter, Limits
from providers.virtual_time import now, run


def nothing() -> None:
    """Never end a wait."""


@dataclass(kw_only=True, slots=True)
class Caller:
    """One who wants a turn, and what became of it."""

    at: float  # when it comes
    patience: float = inf  # seconds that it may wait
    work: float = 0.0  # seconds that it works
    cancelled_after: float | None = None  # seconds
    gives_way: bool = False
    started: float | None = None
    ended: float | None = None
    left: float | None = None  # the queue, in whatever way
    busy: bool = False


@dataclass(kw_only=True, slots=True)
class Scene:
    """A limiter and its callers."""

    limits: Limits
    callers: list[Caller]
    held_back: Sequence[tuple[float, float]] = ()  # when, and for how long
    most_at_once: int = 0

    def play(self) -> list[Caller]:
        """Return the callers once all have what they can get."""
        run(self._play())
        return self.callers

    async def _play(self) -> None:
        limiter = Limiter(self.limits, now)
        async with asyncio.TaskGroup() as group:
            for when, seconds in self.held_back:
                group.create_task(self._hold_back(limiter, when, seconds))
            for caller in sorted(self.callers, key=lambda caller: caller.at):
                await asyncio.sleep(caller.at - now())
                group.create_task(self._come(limiter, caller))
        assert (limiter.waiting, limiter.in_flight) == (0, 0)

    async def _hold_back(self, limiter: Limiter, when: float, seconds: float) -> None:
        await asyncio.sleep(when)
        limiter.hold_back(now() + seconds)

    async def _come(self, limiter: Limiter, caller: Caller) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(caller.cancelled_after):
                await self._work(limiter, caller)

    async def _work(self, limiter: Limiter, caller: Caller) -> None:
        try:
            async with limiter.turn(
                until=now() + caller.patience, check=nothing, gives_way=caller.gives_way
            ) as turn:
                turn.used = True
                caller.started = caller.left = now()
                assert turn.waited == caller.started - caller.at
                self.most_at_once = max(self.most_at_once, limiter.in_flight)
                await asyncio.sleep(caller.work)
        except ProviderBusy:
            caller.busy = True
        finally:
            caller.left = now() if caller.left is None else caller.left
            caller.ended = now()


def starts(
    *, limits: Limits, callers: list[Caller], held_back: Sequence[tuple[float, float]] = ()
) -> list[float | None]:
    """Return when each of them began, None for who did not."""
    scene = Scene(limits=limits, callers=callers, held_back=held_back)
    return [caller.started for caller in scene.play()]


# -- so many a minute ---------------------------------------------------------------------


def test_so_many_begin_at_once_and_the_others_a_minute_after_those() -> None:
    five = Limits(requests_per_minute=5)
    assert starts(limits=five, callers=[Caller(at=1) for _ in range(12)]) == (
        [1] * 5 + [61] * 5 + [121] * 2
    )


def test_no_sixty_seconds_have_more_wherever_they_begin() -> None:
    two = Limits(requests_per_minute=2)
    callers = [Caller(at=at) for at in (0, 50, 59, 61)]
    assert starts(limits=two, callers=callers) == [0, 50, 60, 110]


def test_without_limits_nobody_waits() -> None:
    assert starts(limits=Limits(), callers=[Caller(at=0, work=1) for _ in range(100)]) == [0] * 100


# -- so many at once ----------------------------------------------------------------------


def test_who_finds_no_place_waits_for_one_and_the_first_to_come_is_the_first_to_go() -> None:
    two = Limits(max_in_flight=2)
    callers = [Caller(at=at, work=10) for at in (0, 0.1, 0.2, 0.3, 0.4)]
    assert starts(limits=two, callers=callers) == [0, 0.1, 10, 10.1, 20]


def test_a_place_is_free_again_however_its_work_ended() -> None:
    one = Limits(max_in_flight=1)
    callers = [Caller(at=0, work=10, cancelled_after=4), Caller(at=1)]
    assert starts(limits=one, callers=callers) == [0, 4]


# -- who gives way ------------------------------------------------------------------------


def test_who_gives_way_does_so_for_three_and_then_goes() -> None:
    one = Limits(max_in_flight=1)
    many = [Caller(at=at, work=10, gives_way=True) for at in (0, 1, 2, 3)]
    singles = [Caller(at=at, work=10) for at in (4, 5, 6, 7)]
    assert starts(limits=one, callers=[*many, *singles]) == [0, 40, 60, 70, 10, 20, 30, 50]


def test_one_that_comes_later_goes_first_also_if_the_other_waits_for_a_minute_to_pass() -> None:
    callers = [Caller(at=0), Caller(at=1, gives_way=True), Caller(at=59)]
    assert starts(limits=Limits(requests_per_minute=1), callers=callers) == [0, 120, 60]


def test_the_turn_of_one_that_gives_up_before_it_comes_is_had_by_who_gave_way() -> None:
    callers = [
        Caller(at=0),
        Caller(at=1, gives_way=True),
        Caller(at=2, cancelled_after=50),
    ]
    assert starts(limits=Limits(requests_per_minute=1), callers=callers) == [0, 60, None]


def test_who_gives_way_hears_when_others_come_that_make_it_too_late() -> None:
    callers = [Caller(at=0), Caller(at=1, patience=100, gives_way=True), Caller(at=2)]
    Scene(limits=Limits(requests_per_minute=1), callers=callers).play()
    assert [(caller.started, caller.left) for caller in callers] == [(0, 0), (None, 2), (60, 60)]


def test_those_who_give_way_are_reckoned_with_only_as_far_as_they_go_first() -> None:
    many = [Caller(at=1, gives_way=True) for _ in range(9)]
    singles = [Caller(at=2, patience=240) for _ in range(5)]
    Scene(limits=Limits(requests_per_minute=1), callers=[Caller(at=0), *many, *singles]).play()
    # Three, one of many, and then it is 300.
    assert [caller.started for caller in singles] == [60, 120, 180, None, None]
    assert [caller.left for caller in singles[3:]] == [2, 2]
    assert [caller.started for caller in many[:3]] == [240, 300, 360]


# -- held back ----------------------------------------------------------------------------


def test_nobody_begins_while_the_provider_is_to_be_left_alone() -> None:
    callers = [Caller(at=at) for at in (0, 2, 3, 13, 14)]
    assert starts(limits=Limits(), callers=callers, held_back=[(1, 12), (5, 2)]) == [
        0,
        13,
        13,
        13,
        14,
    ]


def test_who_hears_while_waiting_that_it_takes_too_long_gives_up_then() -> None:
    one = Limits(max_in_flight=1)
    callers = [Caller(at=0, work=9), Caller(at=1, patience=10), Caller(at=1, patience=100)]
    Scene(limits=one, callers=callers, held_back=[(5, 20)]).play()
    assert [(caller.started, caller.left) for caller in callers] == [(0, 0), (None, 5), (25, 25)]


# -- not past the deadline ----------------------------------------------------------------


@pytest.mark.parametrize(("patience", "busy"), [(60, True), (60.1, False)])
def test_who_cannot_have_a_turn_in_time_hears_it_at_once(patience: float, *, busy: bool) -> None:
    callers = [Caller(at=0), Caller(at=0, patience=patience)]
    Scene(limits=Limits(requests_per_minute=1), callers=callers).play()
    assert (callers[1].busy, callers[1].left) == (busy, 0 if busy else 60)


def test_those_before_one_are_reckoned_with() -> None:
    callers = [Caller(at=0, patience=301) for _ in range(1000)]
    Scene(limits=Limits(requests_per_minute=5), callers=callers).play()
    assert [caller.started for caller in callers[:30]] == [60.0 * (n // 5) for n in range(30)]
    assert all(caller.busy and caller.left == 0 for caller in callers[30:])


def test_each_who_waits_needs_a_start_of_its_own_to_be_a_minute_ago() -> None:
    callers = [Caller(at=0), Caller(at=50), *(Caller(at=55, patience=10) for _ in range(2))]
    Scene(limits=Limits(requests_per_minute=2), callers=callers).play()
    assert [(caller.busy, caller.left) for caller in callers[2:]] == [(False, 60), (True, 55)]


def test_a_place_that_does_not_become_free_is_waited_for_until_the_deadline() -> None:
    callers = [Caller(at=0, work=100), Caller(at=1, patience=7)]
    Scene(limits=Limits(max_in_flight=1), callers=callers).play()
    assert (callers[1].busy, callers[1].left) == (True, 8)


def test_a_turn_that_needs_no_wait_is_had_after_the_deadline_too() -> None:
    assert starts(limits=Limits(max_in_flight=1), callers=[Caller(at=9, patience=-1)]) == [9]


# -- the check ----------------------------------------------------------------------------


@dataclass(slots=True)
class Breaker:
    """Opens at some time."""

    opens_at: float

    def check(self) -> None:
        if now() >= self.opens_at:
            raise ProviderOutOfCredit


async def refusals(limiter: Limiter, check: Callable[[], None], callers: int) -> list[float]:
    """Return when each of them was refused."""
    refused = []

    async def come() -> None:
        try:
            async with limiter.turn(until=inf, check=check) as turn:
                turn.used = True
                await asyncio.sleep(10)
        except ProviderOutOfCredit:
            refused.append(now())

    async with asyncio.TaskGroup() as group:
        for _ in range(callers):
            group.create_task(come())
        group.create_task(look_again(limiter, at=7))
    return refused


async def look_again(limiter: Limiter, *, at: float) -> None:
    await asyncio.sleep(at)
    limiter.look_again()


@pytest.mark.parametrize("limits", [Limits(requests_per_minute=1), Limits(max_in_flight=1)])
def test_those_who_wait_are_refused_as_soon_as_they_are_told_to_look(limits: Limits) -> None:
    assert run(refusals(Limiter(limits, now), Breaker(5).check, 1000)) == [7.0] * 999


def test_a_refused_one_uses_nobodys_turn_up() -> None:
    limiter = Limiter(Limits(requests_per_minute=1), now)

    async def both() -> float:
        await refusals(limiter, Breaker(0).check, 3)
        async with limiter.turn(until=inf, check=nothing) as turn:
            return turn.waited

    assert run(both()) == 0


def test_a_turn_without_a_call_does_not_count() -> None:
    limiter = Limiter(Limits(requests_per_minute=1, max_in_flight=1), now)

    async def waits() -> list[float]:
        found = []
        for used in (False, False, True, False):
            async with limiter.turn(until=inf, check=nothing) as turn:
                found.append(turn.waited)
                turn.used = used
        return found

    assert run(waits()) == [0, 0, 0, 60]


# -- whatever happens ---------------------------------------------------------------------

moments = st.integers(0, 200).map(float)
spans = st.integers(0, 90).map(float)
callers = st.builds(
    Caller,
    at=moments,
    patience=spans | st.just(inf),
    work=spans,
    cancelled_after=st.none() | spans,
)
# Who gives way, and else does as it likes; and who waits as long as it takes.
of_two_kinds = st.builds(replace, callers, gives_way=st.booleans())
patient = st.builds(Caller, at=moments, work=spans, gives_way=st.booleans())


def scenes_of(callers: st.SearchStrategy[Caller]) -> st.SearchStrategy[Scene]:
    return st.builds(
        Scene,
        limits=st.builds(
            Limits,
            requests_per_minute=st.none() | st.integers(1, 4),
            max_in_flight=st.none() | st.integers(1, 3),
        ),
        callers=st.lists(callers, max_size=12),
        held_back=st.lists(st.tuples(moments, spans), max_size=2),
    )


@given(scenes_of(of_two_kinds))
def test_the_limits_hold_for_whoever_comes_waits_works_and_is_cancelled(scene: Scene) -> None:
    began = sorted(c.started for c in scene.play() if c.started is not None)
    a_minute, at_once = scene.limits.requests_per_minute, scene.limits.max_in_flight
    if a_minute is not None:
        pairs = zip(began, began[a_minute:], strict=False)
        assert all(later - earlier >= WINDOW for earlier, later in pairs)
    assert at_once is None or scene.most_at_once <= at_once
    for caller in scene.callers:
        assert caller.left is not None
        assert caller.left <= caller.at + max(0, caller.patience)
    for when, seconds in scene.held_back:
        assert not [at for at in began if when < at < when + seconds]


@given(scenes_of(callers))
def test_nobody_waits_longer_than_the_limits_ask_for_and_nobody_is_passed(scene: Scene) -> None:
    came = sorted(scene.play(), key=lambda caller: caller.at)
    for place, caller in enumerate(came):
        if caller.started is None:
            continue
        before = came[:place]
        began = sorted(c.started for c in before if c.started is not None)
        reasons = [caller.at]
        reasons += [c.left for c in before if c.left is not None]  # nobody is passed
        if a_minute := scene.limits.requests_per_minute:
            reasons += [start + WINDOW for start in began[-a_minute:][:1] if len(began) >= a_minute]
        reasons += [
            when + seconds
            for when, seconds in scene.held_back
            if caller.at <= when + seconds <= caller.started
        ]
        if scene.limits.max_in_flight:
            reasons += [
                c.ended
                for c in before
                if c.started is not None and c.ended is not None and c.ended <= caller.started
            ]
        assert caller.started == max(reasons)


@given(scenes_of(of_two_kinds))
def test_neither_who_gives_way_nor_the_others_let_too_many_go_past(scene: Scene) -> None:
    for caller in scene.play():
        assert caller.left is not None
        others: list[float] = []  # when those of the other kind began while this one waited
        same: list[float] = []
        for other in scene.callers:
            if other.started is not None and other is not caller:
                kind = same if other.gives_way is caller.gives_way else others
                kind.append(other.started)
        passed = sum(caller.at < at < caller.left for at in others)
        turns = 1 + sum(caller.at <= at <= caller.left for at in same)
        assert passed <= (3 * turns if caller.gives_way else 1 + (turns - 1) // 3)


@given(scenes_of(patient), st.data())
def test_nobody_is_refused_whose_turn_would_have_come_in_time(
    scene: Scene, data: st.DataObject
) -> None:
    if not scene.play():
        return
    who = data.draw(st.integers(0, len(scene.callers) - 1))
    patience = data.draw(spans) + 0.5  # else a turn can come at the very end, had or not
    callers = [Caller(at=c.at, work=c.work, gives_way=c.gives_way) for c in scene.callers]
    callers[who].patience = patience
    replace(scene, callers=callers).play()
    had = scene.callers[who].started
    assert had is not None
    in_time = had < callers[who].at + patience
    assert (callers[who].started, callers[who].busy) == ((had, False) if in_time else (None, True))
