"""The audit log as the record keeps it: with the action, and for good."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from imgsvc.errors import CallbackNotSettled
from imgsvc.jobs.api_keys import ApiKey
from imgsvc.jobs.audit import DONE, Action, Actor, AuditEntry, AuditFilter, AuditRow
from imgsvc.jobs.models import JobFilter
from imgsvc.jobs.sqlite import SqliteBackend, SqliteConfig, audit
from imgsvc.jobs.sqlite.audit import page_query
from imgsvc.jobs.sqlite.writer import Transaction, open_database
from jobs.backends import CANCELLED, finished, frozen, settle
from jobs.parts import new_job

ANN = Actor(name="ann", proof="api_key", key_id="abcdefghij", address="192.0.2.1", request_id="r1")
EVE = replace(ANN, name="eve", key_id=None, proof="jwt")
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
KEY = ApiKey(
    id="abcdefghij",
    digest=bytes(32),
    client="shop",
    roles=frozenset({"read", "submit"}),
    created_at=LONG_AGO,
)


@pytest.fixture
async def backend(tmp_path: Path) -> AsyncIterator[SqliteBackend]:
    async with SqliteConfig().open(tmp_path) as opened:
        yield opened


async def rows(backend: SqliteBackend, wanted: AuditFilter | None = None) -> list[AuditRow]:
    """Return all rows, the oldest first."""
    return [*await backend.audit.page(wanted or AuditFilter(), before=None, limit=10_000)][::-1]


async def deeds(backend: SqliteBackend) -> list[tuple[str, str, str | None, str]]:
    entries = [row.entry for row in await rows(backend)]
    return [(each.actor.name, each.action, each.target, each.outcome) for each in entries]


async def test_whatever_is_done_to_a_job_is_one_row_that_says_who_and_whose(
    backend: SqliteBackend,
) -> None:
    job = (await backend.accept(new_job(client="ann"), by=ANN)).job
    await backend.cancel(job.id, CANCELLED, frozen(job.id), by=EVE)
    again = (await backend.accept(new_job(client="ann", retry_of=job.id), by=ANN)).job
    done = await finished(backend)
    await settle(backend, done)
    await backend.redeliver(done.id, by=EVE)
    assert await deeds(backend) == [
        ("ann", "job.submit", job.id, "done"),
        ("eve", "job.cancel", job.id, "done"),
        ("ann", "job.retry", job.id, "done"),
        ("eve", "callback.redeliver", done.id, "done"),
    ]
    first, cancelled, retried, _ = await rows(backend)
    assert first.entry.actor == ANN
    assert first.entry.details == {"client": "ann", "kind": job.spec.kind}
    assert cancelled.entry.details == {"client": "ann"}
    assert retried.entry.details == {"client": "ann", "job_id": again.id}
    assert [row.number for row in await rows(backend)] == [1, 2, 3, 4]


async def test_whatever_is_done_to_a_key_is_one_row(backend: SqliteBackend) -> None:
    keys, later = backend.api_keys, LONG_AGO + timedelta(days=1)
    successor = replace(KEY, id="klmnopqrst", expires_at=later)
    await keys.add(KEY, by=ANN)
    await keys.replace(KEY.id, successor, later, by=ANN)
    await keys.revoke(KEY.id, later, by=EVE)
    assert await deeds(backend) == [
        ("ann", "key.create", KEY.id, "done"),
        ("ann", "key.rotate", KEY.id, "done"),
        ("eve", "key.revoke", KEY.id, "done"),
    ]
    created, rotated, _ = [row.entry.details for row in await rows(backend)]
    assert created == {"client": "shop", "roles": ["read", "submit"]}
    assert rotated == {
        "client": "shop",
        "roles": ["read", "submit"],
        "successor": successor.id,
        "until": later.isoformat(),
        "expires_at": later.isoformat(),
    }


async def test_what_changes_nothing_is_no_row(backend: SqliteBackend) -> None:
    new = new_job(idempotency_key="same", digest="d")
    job = (await backend.accept(new, by=ANN)).job
    for _ in range(3):
        await backend.accept(new, by=ANN)
        await backend.cancel(job.id, CANCELLED, frozen(job.id), by=ANN)
    await backend.api_keys.add(KEY, by=ANN)
    await backend.api_keys.add(KEY, by=ANN)  # the id is taken
    for _ in range(3):
        await backend.api_keys.revoke(KEY.id, LONG_AGO, by=ANN)
    await backend.api_keys.revoke("unknown", LONG_AGO, by=ANN)
    await backend.api_keys.replace(KEY.id, replace(KEY, id="x"), LONG_AGO, by=ANN)  # it is revoked
    actions = [action for _, action, _, _ in await deeds(backend)]
    assert actions == ["job.submit", "job.cancel", "key.create", "key.revoke"]


async def test_what_the_service_does_by_itself_is_no_row(backend: SqliteBackend) -> None:
    await finished(backend)
    await backend.api_keys.add(KEY)
    assert await rows(backend) == []


async def test_an_action_that_fails_leaves_no_row_and_a_row_that_fails_no_action(
    backend: SqliteBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = (await backend.accept(new_job())).job
    with pytest.raises(CallbackNotSettled):
        await backend.redeliver(job.id, by=ANN)

    write = audit.append

    def fail_behind(tx: Transaction, entry: AuditEntry) -> None:
        write(tx, entry)
        raise sqlite3.IntegrityError

    def fail_before(_tx: Transaction, _entry: AuditEntry) -> None:
        raise sqlite3.IntegrityError

    for fail in (fail_before, fail_behind):
        monkeypatch.setattr(audit, "append", fail)
        with capture_logs() as told, pytest.raises(sqlite3.IntegrityError):
            await backend.accept(new_job(), by=ANN)
        with pytest.raises(sqlite3.IntegrityError):
            await backend.cancel(job.id, CANCELLED, frozen(job.id), by=ANN)
        with pytest.raises(sqlite3.IntegrityError):
            await backend.api_keys.add(KEY, by=ANN)
        assert told == []
    assert await rows(backend) == []
    assert await backend.list(JobFilter(), before=None, limit=10) == [job]
    assert await backend.api_keys.list() == []


async def test_of_200_actions_at_once_each_has_its_row(backend: SqliteBackend) -> None:
    accepted = await asyncio.gather(
        *(backend.accept(new_job(client=f"c{i % 7}"), by=ANN) for i in range(200))
    )
    found = await rows(backend)
    assert {row.entry.target for row in found} == {each.job.id for each in accepted}
    assert [row.number for row in found] == [*range(1, 201)]


async def test_each_row_is_told_once_it_is_on_disk(backend: SqliteBackend) -> None:
    with capture_logs() as told:
        job = (await backend.accept(new_job(client="ann"), by=ANN)).job
    [line] = [line for line in told if line["event"] == "audit"]
    assert (line["actor"], line["address"], line["request_id"]) == ("ann", "192.0.2.1", "r1")
    assert (line["action"], line["target"], line["outcome"]) == ("job.submit", job.id, "done")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET actor = 'eve'",
        "UPDATE audit SET at = 0",
        "UPDATE OR REPLACE audit SET number = 2 WHERE number = 1",
        "DELETE FROM audit",
        "DELETE FROM audit WHERE number = 1",
        "INSERT OR REPLACE INTO audit SELECT 1, 0, 'eve', '', '', '', '', '', '', '', ''",
        "REPLACE INTO audit SELECT 1, 0, 'eve', '', '', '', '', '', '', '', ''",
        "INSERT INTO audit SELECT * FROM audit WHERE true ON CONFLICT DO UPDATE SET actor = 'eve'",
    ],
)
async def test_sql_can_neither_change_nor_remove_a_row(
    backend: SqliteBackend, tmp_path: Path, statement: str
) -> None:
    for _ in range(2):
        await backend.accept(new_job(), by=ANN)
    before = await rows(backend)
    connection = sqlite3.connect(tmp_path / "jobs.db")
    with pytest.raises(sqlite3.IntegrityError, match="audit log"):
        connection.execute(statement)
    connection.execute("DELETE FROM audit_horizon")
    with pytest.raises(sqlite3.IntegrityError, match="audit log"):
        connection.execute(statement)
    connection.rollback()
    connection.close()
    assert await rows(backend) == before


async def test_rows_go_when_the_retention_has_passed_and_numbers_never_come_back(
    backend: SqliteBackend,
) -> None:
    for _ in range(5):
        await backend.accept(new_job(), by=ANN)
    found = await rows(backend)
    assert await backend.audit.forget(before=found[2].at, limit=1) == 1
    assert await backend.audit.forget(before=found[2].at, limit=10) == 1
    assert await backend.audit.forget(before=found[2].at, limit=10) == 0
    assert await rows(backend) == found[2:]
    assert await backend.audit.forget(before=datetime.now(UTC), limit=10) == 3
    await backend.accept(new_job(), by=ANN)
    assert [row.number for row in await rows(backend)] == [6]


ACTIONS = [*Action]
FILTERS = [
    AuditFilter(),
    AuditFilter(actor="client-3"),
    AuditFilter(action=Action.JOB_CANCEL),
    AuditFilter(target="job-17"),
    AuditFilter(outcome="done"),
    AuditFilter(outcome="job_not_found"),
    AuditFilter(since=LONG_AGO + timedelta(seconds=6000)),
    AuditFilter(until=LONG_AGO + timedelta(seconds=1000)),
    AuditFilter(
        actor="client-3",
        action=ACTIONS[3],
        since=LONG_AGO + timedelta(seconds=2000),
        until=LONG_AGO + timedelta(seconds=7000),
    ),
]


def fits(wanted: AuditFilter, row: AuditRow) -> bool:
    entry = row.entry
    return (
        wanted.actor in {None, entry.actor.name}
        and wanted.action in {None, entry.action}
        and wanted.target in {None, entry.target}
        and wanted.outcome in {None, entry.outcome}
        and (wanted.since is None or row.at >= wanted.since)
        and (wanted.until is None or row.at < wanted.until)
    )


@pytest.mark.slow
async def test_pages_of_10_000_rows_are_whole_in_order_and_found_by_an_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The clock is set back by an hour in the middle.
    times = iter(
        LONG_AGO.timestamp() + (i if i < 5000 else i - 3600) + i % 2 for i in range(10_000)
    )
    monkeypatch.setattr(audit, "now", lambda: next(times))
    monkeypatch.setattr(audit, "tell", lambda _entry: None)
    async with open_database(tmp_path / "jobs.db") as database:

        def fill(tx: Transaction) -> None:
            for i in range(10_000):
                actor = replace(ANN, name=f"client-{i % 10}")
                action, target = ACTIONS[i % len(ACTIONS)], f"job-{i // 20}" if i % 5 else None
                outcome = DONE if i % 7 else "job_not_found"
                entry = AuditEntry(actor=actor, action=action, target=target, outcome=outcome)
                audit.append(tx, entry)

        await database.call(fill)
        kept = audit.SqliteAudit(database)
        everything = sorted(
            await kept.page(AuditFilter(), before=None, limit=10_000),
            key=lambda row: (row.at, row.number),
            reverse=True,
        )
        assert len(everything) == 10_000
        for wanted in FILTERS:
            seen: list[AuditRow] = []
            before = None
            while page := await kept.page(wanted, before=before, limit=200):
                seen += page
                before = page[-1].number
            assert seen == [row for row in everything if fits(wanted, row)]
            assert seen
            for place in (None, before):
                plan = await database.call(partial(plan_of, wanted=wanted, before=place))
                assert "USING INDEX audit_by_" in plan
                if wanted.outcome == "job_not_found":
                    assert "audit_by_refusal (outcome=?" in plan
                if wanted.actor and wanted.action:  # each alone may have very many
                    assert "audit_by_actor_and_action (actor=? AND action=? AND at" in plan
                assert "TEMP B-TREE" not in plan


def plan_of(tx: Transaction, *, wanted: AuditFilter, before: int | None) -> str:
    statement, parameters = page_query(wanted, before, 50)
    return "; ".join(row[3] for row in tx.execute(f"EXPLAIN QUERY PLAN {statement}", parameters))
