"""What calls cost, in the same file as the jobs: see the protocol `Ledger`.

Four places hold the same money: the row of a call, the sums of its job, those of its day,
client and model, and those of its day. They change together, in one transaction.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import date
from typing import Any

import structlog

from imgsvc.errors import DiskRefuses, JobNotFound
from imgsvc.jobs.ledger import (
    MAX_ROWS,
    Bill,
    Budget,
    Grouping,
    Limits,
    NewCall,
    Shortage,
    UsageFilter,
    UsageReport,
    UsageRow,
)
from imgsvc.jobs.sqlite.writer import Database, Transaction
from imgsvc.providers import Usage

log = structlog.get_logger(__name__)

RETRY = 1.0
"""Seconds before a bill is written again that the disk refused."""

_KEYS = {
    Grouping.CLIENT: ("client",),
    Grouping.MODEL: ("provider", "model"),
    Grouping.DAY: ("day",),
}
_SUMS = tuple(each.name for each in fields(UsageRow) if each.type is int)
_SUMS_OF_JOB = frozenset({"calls", "cost", "held", "unknown_calls"})
_ADDED_UP = ", ".join(f"coalesce(sum({name}), 0) AS {name}" for name in _SUMS)


@dataclass(slots=True)
class SqliteLedger:
    """The protocol `Ledger` over one :class:`Database`."""

    database: Database
    _settlement: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    async def reserve(self, call: NewCall, limits: Limits) -> Shortage | None:
        """Record a call and set its estimate aside, unless that goes past a limit."""
        return await self.database.call(lambda tx: reserve(tx, call, limits))

    def settle(self, call_id: str, bill: Bill | None) -> None:
        """Put what a call has cost in the place of its estimate, without waiting."""

        def look(future: "asyncio.Future[None]") -> None:
            error = None if future.cancelled() else future.exception()
            if isinstance(error, DiskRefuses):
                # While the disk refuses no call is begun: there are never many of these.
                future.get_loop().call_later(RETRY, self.settle, call_id, bill)
            elif error is not None:
                log.error("call_not_settled", exc_info=error)

        self.database.submit(lambda tx: settle(tx, call_id, bill)).add_done_callback(look)
        # Whoever asks for money now is behind it in the queue.
        self._settlement.set()
        self._settlement = asyncio.Event()

    def next_settlement(self) -> asyncio.Event:
        """Return an event that is set when the next call has been settled."""
        return self._settlement

    async def usage(self, wanted: UsageFilter) -> UsageReport:
        """Add up calls."""
        return await self.database.call(lambda tx: usage(tx, wanted))

    async def forget_days(self, before: date) -> None:
        """Remove the sums of earlier days."""

        def run(tx: Transaction) -> None:
            for table in ("usage_days", "days"):
                tx.execute(f"DELETE FROM {table} WHERE day < ?", (before.isoformat(),))

        await self.database.call(run)


def reserve(tx: Transaction, call: NewCall, limits: Limits) -> Shortage | None:
    """Record a call and set its estimate aside, or return the budget that has no room."""
    job = tx.one("SELECT seq, client, cost + held AS spent FROM jobs WHERE id = ?", (call.job_id,))
    if job is None:
        raise JobNotFound
    day = call.at.date().isoformat()
    if call.estimate:
        for shortage in _standing(tx, job, day, limits):
            if shortage.spent + call.estimate > shortage.limit:
                return replace(shortage, under_way=_under_way(tx, shortage.budget, job, day))
    row = tx.one(
        "INSERT INTO calls (id, job, item, day, provider, model, started, state, estimate)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, 'reserved', ?) RETURNING *",
        (
            call.id,
            job["seq"],
            call.item,
            day,
            call.provider,
            call.model,
            call.at.timestamp(),
            call.estimate,
        ),
    )
    _add(tx, row, held=call.estimate)
    return None


def settle(tx: Transaction, call_id: str, bill: Bill | None) -> None:
    """Put what a call has cost in the place of its estimate; if unknown, leave that there."""
    row = tx.one("SELECT * FROM calls WHERE id = ? AND state = 'reserved'", (call_id,))
    if row is None:
        return
    if bill is None:
        tx.execute("DELETE FROM calls WHERE id = ?", (call_id,))
        _add(tx, row, held=-row["estimate"])
    elif bill.cost is None:
        _lose(tx, row, bill)
    else:
        counts = {"cost": bill.cost, **_counts(bill)}
        _note(tx, row, "settled", counts)
        _add(tx, row, calls=1, held=-row["estimate"], **counts)


def lose_track(tx: Transaction) -> None:
    """Take note that nobody knows what the calls under way have cost: their process is gone."""
    for row in tx.execute("SELECT * FROM calls WHERE state = 'reserved'").fetchall():
        _lose(tx, row, Bill(cost=None))


def usage(tx: Transaction, wanted: UsageFilter) -> UsageReport:
    """Add up calls."""
    values = [wanted.first.isoformat(), wanted.last.isoformat()]
    those = "FROM usage_days WHERE day BETWEEN ? AND ?"
    if wanted.client is not None:
        values.append(wanted.client)
        # One look a day, past the rows of all other clients.
        those = (
            "FROM days CROSS JOIN usage_days USING (day) WHERE day BETWEEN ? AND ? AND client = ?"
        )
    keys = ", ".join(_KEYS[wanted.group_by])
    order = "day" if wanted.group_by is Grouping.DAY else f"cost DESC, {keys}"
    rows = tx.execute(
        f"SELECT {keys}, {_ADDED_UP} {those} GROUP BY {keys} ORDER BY {order} LIMIT {MAX_ROWS}",
        values,
    )
    total = tx.one(f"SELECT {_ADDED_UP} {those}", values)
    return UsageReport(rows=[_usage_row(row) for row in rows], total=_usage_row(total))


def _standing(tx: Transaction, job: Any, day: str, limits: Limits) -> Iterator[Shortage]:
    """Yield how each budget that has a limit stands."""
    if limits.job is not None:
        yield Shortage(budget=Budget.JOB, limit=limits.job, spent=job["spent"])
    if limits.client_day is not None:
        [(spent,)] = tx.execute(
            "SELECT coalesce(sum(cost + held), 0) FROM usage_days WHERE day = ? AND client = ?",
            (day, job["client"]),
        )
        yield Shortage(budget=Budget.CLIENT_DAY, limit=limits.client_day, spent=spent)
    if limits.day is not None:
        [(spent,)] = tx.execute("SELECT coalesce(sum(spent), 0) FROM days WHERE day = ?", (day,))
        yield Shortage(budget=Budget.DAY, limit=limits.day, spent=spent)


def _under_way(tx: Transaction, budget: Budget, job: Any, day: str) -> int:
    """Return what is set aside of a budget for calls that have not ended."""
    whose, values = {
        Budget.JOB: ("job = ?", (job["seq"],)),
        Budget.CLIENT_DAY: (
            # By way of the few calls, not of all jobs that the client ever had.
            "day = ? AND (SELECT client FROM jobs WHERE seq = job) = ?",
            (day, job["client"]),
        ),
        Budget.DAY: ("day = ?", (day,)),
    }[budget]
    [(held,)] = tx.execute(
        f"SELECT coalesce(sum(estimate), 0) FROM calls WHERE state = 'reserved' AND {whose}",
        values,
    )
    return int(held)


def _lose(tx: Transaction, row: Any, bill: Bill) -> None:
    """Leave set aside what a call was estimated at."""
    _note(tx, row, "unknown", _counts(bill))
    _add(tx, row, calls=1, unknown_calls=1, **_counts(bill))


def _counts(bill: Bill) -> dict[str, int]:
    return {"images": bill.images, **asdict(bill.usage or Usage())}


def _note(tx: Transaction, row: Any, state: str, values: dict[str, int]) -> None:
    """Write into a call's own row how it ended."""
    changes = ", ".join(f"{name} = ?" for name in ("state", *values))
    tx.execute(f"UPDATE calls SET {changes} WHERE id = ?", (state, *values.values(), row["id"]))


def _add(tx: Transaction, row: Any, **changes: int) -> None:
    """Add to the sums of a call's job and of its day."""
    for_job = {name: change for name, change in changes.items() if name in _SUMS_OF_JOB}
    added = ", ".join(f"{name} = {name} + ?" for name in for_job)
    tx.execute(f"UPDATE jobs SET {added} WHERE seq = ?", (*for_job.values(), row["job"]))
    names, marks = ", ".join(changes), ", ".join("?" * len(changes))
    added = ", ".join(f"{name} = {name} + excluded.{name}" for name in changes)
    tx.execute(
        f"INSERT INTO usage_days (day, client, provider, model, {names})"
        f" SELECT ?, client, ?, ?, {marks} FROM jobs WHERE seq = ?"
        f" ON CONFLICT DO UPDATE SET {added}",
        (row["day"], row["provider"], row["model"], *changes.values(), row["job"]),
    )
    tx.execute(
        "INSERT INTO days (day, spent) VALUES (?, ?)"
        " ON CONFLICT DO UPDATE SET spent = spent + excluded.spent",
        (row["day"], changes.get("cost", 0) + changes.get("held", 0)),
    )


def _usage_row(row: Any) -> UsageRow:
    return UsageRow(**dict(row))
