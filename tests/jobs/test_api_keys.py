"""What every record of keys promises."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from imgsvc.jobs.api_keys import ApiKey, ApiKeys
from imgsvc.jobs.sqlite import SqliteConfig

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
KEY = ApiKey(
    id="abcdefghij",
    digest=bytes(range(32)),
    client="ann",
    roles=frozenset({"submit", "read"}),
    created_at=NOON,
    expires_at=NOON + HOUR,
    made_until=NOON + HOUR,
)
NEXT = ApiKey(
    id="klmnopqrst", digest=bytes(32), client="ann", roles=KEY.roles, created_at=NOON + HOUR
)


@pytest.fixture
async def keys(tmp_path: Path) -> AsyncIterator[ApiKeys]:
    async with SqliteConfig().open_api_keys(tmp_path / "data") as opened:
        yield opened


async def test_a_key_is_kept_as_it_was_given(keys: ApiKeys) -> None:
    assert await keys.find(KEY.id) is None
    assert await keys.add(NEXT)
    assert await keys.add(KEY)
    assert await keys.find(KEY.id) == KEY
    assert await keys.list() == [KEY, NEXT]


async def test_an_id_stands_for_one_key(keys: ApiKeys) -> None:
    await keys.add(KEY)
    other = ApiKey(id=KEY.id, digest=bytes(32), client="eve", roles=KEY.roles, created_at=NOON)
    assert not await keys.add(other)
    assert await keys.list() == [KEY]


async def test_a_key_is_revoked_once_and_stays_so(keys: ApiKeys) -> None:
    await keys.add(KEY)
    assert await keys.revoke(KEY.id, NOON)
    assert await keys.revoke(KEY.id, NOON + HOUR)
    assert not await keys.revoke("unknown", NOON)
    found = await keys.find(KEY.id)
    assert found is not None
    assert found.revoked_at == NOON


@pytest.mark.parametrize(("until", "end"), [(HOUR / 2, HOUR / 2), (2 * HOUR, HOUR)])
async def test_a_replaced_key_ends_after_the_overlap_and_never_later_than_before(
    keys: ApiKeys, until: timedelta, end: timedelta
) -> None:
    await keys.add(KEY)
    assert await keys.replace(KEY.id, NEXT, NOON + until)
    found = await keys.find(KEY.id)
    assert found is not None
    assert (found.expires_at, found.made_until) == (NOON + end, NOON + HOUR)
    assert await keys.find(NEXT.id) == NEXT


async def test_a_revoked_or_unknown_key_has_no_successor(keys: ApiKeys) -> None:
    assert not await keys.replace(KEY.id, NEXT, NOON)
    await keys.add(KEY)
    await keys.revoke(KEY.id, NOON)
    assert not await keys.replace(KEY.id, NEXT, NOON)
    assert await keys.find(NEXT.id) is None


async def test_when_a_key_was_used_last_is_kept(keys: ApiKeys) -> None:
    await keys.add(KEY)
    await keys.used(KEY.id, NOON + HOUR)
    found = await keys.find(KEY.id)
    assert found is not None
    assert found.last_used_at == NOON + HOUR


async def test_two_processes_see_each_others_keys_at_once(tmp_path: Path) -> None:
    async with (
        SqliteConfig().open(tmp_path) as backend,
        SqliteConfig().open_api_keys(tmp_path) as beside,
    ):
        await beside.add(KEY)
        assert await backend.api_keys.find(KEY.id) == KEY
        await beside.revoke(KEY.id, NOON)
        found = await backend.api_keys.find(KEY.id)
        assert found is not None
        assert found.revoked_at == NOON


async def test_whether_one_is_in_force_is_seen_while_others_write_and_no_file_is_made(
    tmp_path: Path,
) -> None:
    config, folder, at_work = SqliteConfig(), tmp_path / "data", datetime.now(UTC)
    assert config.has_key_in_force(folder) is False
    assert not folder.exists()
    async with config.open_api_keys(folder) as keys:
        await keys.add(replace(KEY, expires_at=at_work - HOUR))
        await keys.add(NEXT)
        await keys.revoke(NEXT.id, NOON)
        assert config.has_key_in_force(folder) is False
        await keys.add(replace(NEXT, id="uvwxyz2345", expires_at=at_work + HOUR))
        assert config.has_key_in_force(folder) is True
    files = sorted(folder.iterdir())
    assert config.has_key_in_force(folder) is True
    assert sorted(folder.iterdir()) == files
    (folder / "jobs.db").write_bytes(b"no database")
    assert config.has_key_in_force(folder) is None
