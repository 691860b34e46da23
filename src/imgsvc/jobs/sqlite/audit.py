"""The audit log as rows: see the protocol `Audit`. Triggers refuse to change one."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from imgsvc.jobs.audit import DONE, Action, Actor, AuditEntry, AuditFilter, AuditRow, tell
from imgsvc.jobs.sqlite.events import now
from imgsvc.jobs.sqlite.writer import Database, Transaction


@dataclass(frozen=True, slots=True)
class SqliteAudit:
    """The protocol `Audit` over one :class:`Database`."""

    database: Database

    async def append(self, entry: AuditEntry) -> None:
        """Keep an entry of its own."""
        await self.database.call(lambda tx: append(tx, entry))

    async def page(
        self, wanted: AuditFilter, *, before: int | None, limit: int
    ) -> Sequence[AuditRow]:
        """Return a page of rows, the newest first."""
        return await self.database.call(lambda tx: page(tx, wanted, before, limit))

    async def forget(self, *, before: datetime, limit: int) -> int:
        """Remove rows that are older, and return how many that were."""
        return await self.database.call(lambda tx: forget(tx, before, limit))


def note(tx: Transaction, by: Actor | None, action: Action, target: str, **details: Any) -> None:
    """Add to the transaction of an action who has had it done, if it was not the service."""
    if by is not None:
        append(tx, AuditEntry(actor=by, action=action, target=target, details=details))


def append(tx: Transaction, entry: AuditEntry) -> None:
    """Add a row; it is told when it is on disk."""
    actor = entry.actor
    tx.execute(
        "INSERT INTO audit (at, actor, proof, key_id, address, request_id, action, target,"
        " outcome, details) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            now(),
            actor.name,
            actor.proof,
            actor.key_id,
            actor.address,
            actor.request_id,
            entry.action,
            entry.target,
            entry.outcome,
            json.dumps(dict(entry.details)),
        ),
    )
    tx.on_commit(partial(tell, entry))


def page_query(wanted: AuditFilter, before: int | None, limit: int) -> tuple[str, tuple[Any, ...]]:
    """Return the statement for a page and its parameters."""
    conditions: list[tuple[str, Any]] = [
        ("actor = ?", wanted.actor),
        ("action = ?", wanted.action),
        ("target = ?", wanted.target),
        # What is done is no small part of all rows: only the others have an index.
        (
            "outcome = ?" if wanted.outcome == DONE else "outcome <> 'done' AND outcome = ?",
            wanted.outcome,
        ),
        ("at >= ?", None if wanted.since is None else wanted.since.timestamp()),
        ("at < ?", None if wanted.until is None else wanted.until.timestamp()),
        # By the time and then the number: the clock may have been set back.
        ("(at, number) < (SELECT at, number FROM audit WHERE number = ?)", before),
    ]
    given = [(sql, value) for sql, value in conditions if value is not None]
    where = " AND ".join(sql for sql, _ in given) or "TRUE"
    statement = f"SELECT * FROM audit WHERE {where} ORDER BY at DESC, number DESC LIMIT ?"
    return statement, (*(value for _, value in given), limit)


def page(tx: Transaction, wanted: AuditFilter, before: int | None, limit: int) -> list[AuditRow]:
    """Return a page of rows, the newest first."""
    return [_to_row(row) for row in tx.execute(*page_query(wanted, before, limit))]


def forget(tx: Transaction, before: datetime, limit: int) -> int:
    """Let rows go that are older, and remove some of them."""
    tx.execute("UPDATE audit_horizon SET at = ?", (before.timestamp(),))
    gone = tx.execute(
        "DELETE FROM audit WHERE number IN"
        " (SELECT number FROM audit WHERE at < ? ORDER BY at LIMIT ?)",
        (before.timestamp(), limit),
    )
    return gone.rowcount


def _to_row(row: Any) -> AuditRow:
    actor = Actor(
        name=row["actor"],
        proof=row["proof"],
        key_id=row["key_id"],
        address=row["address"],
        request_id=row["request_id"],
    )
    return AuditRow(
        number=row["number"],
        at=datetime.fromtimestamp(row["at"], UTC),
        entry=AuditEntry(
            actor=actor,
            action=Action(row["action"]),
            target=row["target"],
            outcome=row["outcome"],
            details=json.loads(row["details"]),
        ),
    )
