"""Trying keys is slowed down, and nobody else is."""

import asyncio
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgsvc.errors import CredentialsInvalid, TooManyFailures
from imgsvc.web.auth.api_keys import new_key
from imgsvc.web.auth.roles import Role
from imgsvc.web.auth.throttle import Failures, Throttle, network_of
from standins.service import Caller
from web.auth.callers import ask, guarded_service, key_of

LIMIT, WINDOW = 3, 60.0


class Clock:
    """A clock that a test moves."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def throttle(clock: Clock) -> Throttle:
    return Throttle(limit=LIMIT, window=WINDOW, clock=clock, capacity=5)


def fail(throttle: Throttle, address: str, key_id: str | None = None, times: int = LIMIT) -> None:
    for number in range(times):
        throttle.failed(address, f"wrong {number}", key_id)


def is_tried(throttle: Throttle, address: str, credential: str, key_id: str | None = None) -> bool:
    try:
        throttle.check(address, credential, key_id)
    except TooManyFailures:
        return False
    return True


def test_an_address_with_too_many_failures_has_to_wait_and_no_other(
    throttle: Throttle, clock: Clock
) -> None:
    fail(throttle, "192.0.2.1", times=LIMIT - 1)
    assert is_tried(throttle, "192.0.2.1", "new")
    clock.now += 20
    fail(throttle, "192.0.2.1", times=1)
    with pytest.raises(TooManyFailures) as caught:
        throttle.check("192.0.2.1", "new", None)
    assert caught.value.retry_after == WINDOW - 20  # then the first one has left the window
    assert is_tried(throttle, "192.0.2.2", "new")
    clock.now += WINDOW - 20
    assert is_tried(throttle, "192.0.2.1", "new")


def test_what_is_known_to_be_good_goes_on_working_until_it_fails(throttle: Throttle) -> None:
    throttle.succeeded("good")
    fail(throttle, "192.0.2.1", "id")
    assert is_tried(throttle, "192.0.2.1", "good", "id")
    assert not is_tried(throttle, "192.0.2.1", "other", "id")
    throttle.failed("192.0.2.1", "good", "id")  # it was revoked
    assert not is_tried(throttle, "192.0.2.1", "good", "id")


def test_many_addresses_together_do_not_try_one_key_for_long(throttle: Throttle) -> None:
    for number in range(LIMIT):
        fail(throttle, f"192.0.2.{number}", "id", times=1)
    assert not is_tried(throttle, "192.0.2.0", "another", "id")
    assert is_tried(throttle, "192.0.2.0", "another", "other-id")


def test_the_holder_of_a_key_comes_in_from_a_new_address_while_others_try_it(
    throttle: Throttle,
) -> None:
    fail(throttle, "192.0.2.1", "id", times=LIMIT * 10)
    assert is_tried(throttle, "198.51.100.7", "never used before", "id")


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:1", "2001:db8::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unknown", "unknown"),
    ],
)
def test_addresses_of_one_holder_count_as_one(address: str, counted: str) -> None:
    assert network_of(address) == counted


def test_memory_is_bounded_whatever_is_tried(throttle: Throttle) -> None:
    for number in range(10_000):
        throttle.failed(f"192.0.{number // 256}.{number % 256}", f"wrong {number}", f"id{number}")
        throttle.succeeded(f"good {number}")
    assert len(throttle._addresses) == len(throttle._key_ids) == len(throttle._good) == 5  # noqa: SLF001 - what it holds is the question


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 40), st.booleans()), max_size=60))
def test_no_more_failures_than_the_limit_fit_into_any_window(
    steps: list[tuple[str, int, bool]],
) -> None:
    clock = Clock()
    failures = Failures[str](limit=LIMIT, window=WINDOW, capacity=10, clock=clock)
    happened = defaultdict(list)
    for key, seconds, patient in steps:
        clock.now += failures.wait(key) if patient else seconds
        if failures.wait(key) == 0:
            failures.add(key)
            happened[key].append(clock.now)
        recent = [time for time in happened[key] if clock.now - time < WINDOW]
        assert len(recent) <= LIMIT
        assert (failures.wait(key) > 0) == (len(recent) == LIMIT)
        assert failures.any(key) == bool(recent)


async def test_a_burst_at_one_key_from_many_addresses_has_no_more_tries_than_a_row(
    throttle: Throttle,
) -> None:
    addresses = [f"192.0.2.{number}" for number in range(5)]
    for address in addresses:
        throttle.failed(address, "of another key", None)
    tried = 0

    async def try_it(address: str) -> None:
        nonlocal tried
        async with throttle.trying(address, f"wrong {address}", "id"):
            tried += 1
            await asyncio.sleep(0)  # others are there by now
            raise CredentialsInvalid

    refused = await asyncio.gather(*map(try_it, addresses), return_exceptions=True)
    assert tried == LIMIT
    assert [type(error) for error in refused].count(TooManyFailures) == len(addresses) - LIMIT


async def statuses(service: Caller, *keys: str) -> list[int]:
    return [(await ask(service, "GET", "/jobs", {"X-API-Key": key}))[0] for key in keys]


async def test_a_server_stops_looking_at_wrong_keys_and_goes_on_with_good_ones(
    tmp_path: Path,
) -> None:
    async with guarded_service(tmp_path / "data", auth={"max_failures": LIMIT}) as service:
        known, unused = [await key_of(service, "ann", [Role.READ]) for _ in range(2)]
        wrong = [new_key("eve", [Role.READ])[1] for _ in range(LIMIT)]
        assert await statuses(service, known) == [200]
        assert await statuses(service, *wrong) == [401] * LIMIT
        assert await statuses(service, "anything", unused, known) == [429, 429, 200]
        status, problem, headers = await ask(service, "GET", "/jobs", {"X-API-Key": "anything"})
        assert (status, problem["code"]) == (429, "too_many_failures")
        assert 1 <= int(headers["Retry-After"]) <= 60
        assert "WWW-Authenticate" not in headers
        # Who sends nothing has guessed nothing, and what is public stays so.
        assert (await ask(service, "GET", "/jobs"))[0] == 401
        assert (await ask(service, "GET", "/health"))[0] == 200


async def test_a_burst_of_wrong_keys_has_no_more_tries_than_a_row(tmp_path: Path) -> None:
    async with guarded_service(tmp_path / "data", auth={"max_failures": LIMIT}) as service:
        keys = [new_key("eve", [Role.READ])[1] for _ in range(100)]
        burst = [status for [status] in await asyncio.gather(*(statuses(service, k) for k in keys))]
    assert sorted(burst) == [401] * LIMIT + [429] * (100 - LIMIT)


async def test_a_burst_with_a_good_key_is_let_through(tmp_path: Path) -> None:
    async with guarded_service(tmp_path / "data", auth={"max_failures": LIMIT}) as service:
        key = await key_of(service, "ann", [Role.READ])
        burst = await asyncio.gather(*(statuses(service, key) for _ in range(100)))
    assert burst == [[200]] * 100


async def test_missing_keys_and_roles_are_no_failures(tmp_path: Path) -> None:
    async with guarded_service(tmp_path / "data", auth={"max_failures": 1}) as service:
        key = await key_of(service, "ann", [Role.READ])
        assert [(await ask(service, "GET", "/jobs"))[0] for _ in range(3)] == [401] * 3
        headers = {"X-API-Key": key}
        assert [(await ask(service, "GET", "/cos/config", headers))[0] for _ in range(3)] == [
            403
        ] * 3
        assert await statuses(service, await key_of(service, "bob", [Role.READ])) == [200]
