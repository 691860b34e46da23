"""A call that was refused is made again if its secret was replaced meanwhile."""

import pytest

from imgsvc.secrets import Renewals, renewals


async def test_a_refusal_looks_for_newer_secrets_once_and_not_all_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, looks, calls = 0.0, 0, 0

    async def find_nothing() -> None:
        nonlocal looks
        looks += 1

    async def refuse() -> None:
        nonlocal calls
        calls += 1
        raise PermissionError

    monkeypatch.setattr(renewals, "monotonic", lambda: now)
    found = Renewals(find_nothing)
    for seconds, expected in ((0, 1), (9, 1), (1, 2)):
        now += seconds
        with pytest.raises(PermissionError):
            await found.retry(refuse, lambda exc: isinstance(exc, PermissionError))
        assert looks == expected
    assert calls == 3

    async def find() -> None:
        found.note()

    found = Renewals(find)
    with pytest.raises(PermissionError):
        await found.retry(refuse, lambda exc: isinstance(exc, PermissionError))
    assert (calls, found.count) == (5, 1)  # made again with the newer one, and no third time
    with pytest.raises(PermissionError):
        await found.retry(refuse, lambda exc: not isinstance(exc, PermissionError))
    assert calls == 6


async def test_secrets_that_are_replaced_twice_in_a_moment_are_found_twice() -> None:
    current = 1

    async def call() -> int:
        used = found.count
        if used < current:
            raise PermissionError
        return used

    async def find() -> None:
        found.note()

    found = Renewals(find)
    for current in (1, 2, 3):
        assert await found.retry(call, lambda exc: isinstance(exc, PermissionError)) == current
