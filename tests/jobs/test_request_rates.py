"""Requests a minute: judged by plain numbers, and counted in the record."""

import asyncio
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from imgsvc.jobs.request_rates import MAX_LIMIT, WINDOW, judge
from imgsvc.jobs.sqlite import SqliteConfig
from imgsvc.jobs.sqlite.writer import open_database

SECOND = 10**9
NOW = 1_795_000_000 * SECOND


@pytest.mark.parametrize("limit", [1, 2, 7, 60, 61, 997, MAX_LIMIT])
def test_a_burst_has_exactly_as_many_requests_as_a_minute(limit: int) -> None:
    full_at, admitted = 0, 0
    while (one := judge(full_at, now=NOW, limit=limit)).is_admitted:
        admitted += 1
        assert one.remaining == limit - admitted
        full_at = one.full_at
    assert admitted == limit


def test_after_a_burst_requests_come_back_one_by_one() -> None:
    full_at = 0
    for _ in range(60):
        full_at = judge(full_at, now=NOW, limit=60).full_at
    refused = judge(full_at, now=NOW, limit=60)
    assert (refused.is_admitted, refused.wait, refused.reset) == (False, SECOND, WINDOW)
    assert judge(full_at, now=NOW + SECOND, limit=60).is_admitted
    assert not judge(full_at, now=NOW + SECOND - 1, limit=60).is_admitted
    assert judge(full_at, now=NOW + WINDOW, limit=60).remaining == 59


@given(st.integers(1, MAX_LIMIT), st.integers(0, 2 * WINDOW))
def test_whoever_waits_as_told_is_let_in_whatever_the_limit_was(limit: int, ahead: int) -> None:
    first = judge(NOW + ahead, now=NOW, limit=limit)
    assert first.is_admitted is (first.wait == 0)
    if not first.is_admitted:
        assert first.remaining == 0
        assert first.wait <= WINDOW
        assert judge(first.full_at, now=NOW + first.wait, limit=limit).is_admitted


@pytest.mark.parametrize("back", [1, 59, 60, 61, 3600, 400 * 86_400])
@pytest.mark.parametrize("limit", [1, 60])
def test_a_clock_that_is_put_back_locks_nobody_out(back: int, limit: int) -> None:
    full_at = NOW + WINDOW  # a burst was just made; what is refused writes nothing
    put_back = NOW - back * SECOND
    wait = judge(full_at, now=put_back, limit=limit).wait
    assert wait <= WINDOW
    assert judge(full_at, now=put_back + wait, limit=limit).is_admitted


class Bucket(RuleBasedStateMachine):
    """The algorithm beside the model it stands for: a bucket that leaks at an even rate."""

    @initialize(limit=st.integers(1, 200))
    def begin(self, limit: int) -> None:
        self.limit = limit
        self.share = WINDOW // limit
        self.now = NOW
        self.full_at = 0
        self.level = Fraction(0)  # nanoseconds of requests in the bucket
        self.admitted: list[int] = []

    @rule(nanoseconds=st.integers(0, 70 * SECOND) | st.integers(0, 3))
    def wait(self, nanoseconds: int) -> None:
        self.now += nanoseconds
        self.level = max(Fraction(0), self.level - nanoseconds)

    @rule(count=st.integers(1, 30))
    def ask(self, count: int) -> None:
        for _ in range(count):
            fits = self.level + self.share <= WINDOW
            one = judge(self.full_at, now=self.now, limit=self.limit)
            assert one.is_admitted == fits
            if fits:
                self.level += self.share
                self.admitted.append(self.now)
            else:
                assert one.wait == self.level + self.share - WINDOW
            assert one.reset == self.level
            assert one.remaining == (WINDOW - self.level) // self.share
            self.full_at = one.full_at

    @invariant()
    def no_minute_has_more_than_a_burst_and_what_comes_back_in_it(self) -> None:
        last_minute = [at for at in self.admitted if at > self.now - WINDOW]
        assert len(last_minute) <= 2 * self.limit


TestBucket = Bucket.TestCase
TestBucket.settings = settings(max_examples=50, stateful_step_count=20)


# -- in the record ------------------------------------------------------------------------


async def test_of_two_hundred_requests_at_once_as_many_are_let_in_as_there_is_room_for(
    tmp_path: Path,
) -> None:
    async with SqliteConfig().open(tmp_path) as backend:
        rates = backend.request_rates
        asked = (rates.take("ann", now=NOW, limit=10) for _ in range(200))
        done = await asyncio.gather(*asked)
        assert [each.is_admitted for each in done].count(True) == 10
        assert (await rates.take("bob", now=NOW, limit=10)).remaining == 9


async def test_two_connections_to_one_file_count_together(tmp_path: Path) -> None:
    async with SqliteConfig().open(tmp_path) as one, SqliteConfig().open(tmp_path) as other:
        asked = (
            each.request_rates.take("ann", now=NOW, limit=10)
            for _ in range(20)
            for each in (one, other)
        )
        done = await asyncio.gather(*asked)
    assert [each.is_admitted for each in done].count(True) == 10


async def test_a_restart_keeps_what_was_counted(tmp_path: Path) -> None:
    for expected in ([True] * 3, [False] * 3):
        async with SqliteConfig().open(tmp_path) as backend:
            took = [await backend.request_rates.take("ann", now=NOW, limit=3) for _ in range(3)]
        assert [each.is_admitted for each in took] == expected


async def test_a_refused_request_writes_nothing(tmp_path: Path) -> None:
    async with (
        open_database(tmp_path / "jobs.db") as database,
        SqliteConfig().open(tmp_path) as backend,
    ):
        assert (await backend.request_rates.take("ann", now=NOW, limit=1)).is_admitted
        changes = [
            await database.call(lambda tx: tx.execute("PRAGMA data_version").fetchone()[0])
            for _ in range(2)
        ]
        for _ in range(20):
            assert not (await backend.request_rates.take("ann", now=NOW, limit=1)).is_admitted
        changes.append(
            await database.call(lambda tx: tx.execute("PRAGMA data_version").fetchone()[0])
        )
        assert len(set(changes)) == 1


async def test_what_has_worn_off_is_forgotten(tmp_path: Path) -> None:
    async with SqliteConfig().open(tmp_path) as backend:
        rates = backend.request_rates
        await rates.take("ann", now=NOW, limit=1)
        await rates.take("bob", now=NOW + 1, limit=1)
        await rates.forget(before=NOW + WINDOW + 1)
        assert (await rates.take("ann", now=NOW, limit=1)).is_admitted
        assert not (await rates.take("bob", now=NOW + 1, limit=1)).is_admitted
