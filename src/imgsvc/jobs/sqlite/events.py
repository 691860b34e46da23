"""The stories of jobs, as rows."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from imgsvc.jobs.models import EventType
from imgsvc.jobs.sqlite.rows import dump_data
from imgsvc.jobs.sqlite.writer import Transaction

MAX_EVENTS = 10_000
"""Events that are kept of one job; beyond that the oldest of its items go."""


def add_event(tx: Transaction, seq: int, kind: EventType, data: Mapping[str, Any]) -> None:
    """Add to the story of the job with this `seq`."""
    number = next_number(tx, "events", seq)
    tx.execute(
        "INSERT INTO events (job, number, type, at, data) VALUES (?, ?, ?, ?, ?)",
        (seq, number, kind, now(), dump_data(dict(data))),
    )
    if number > MAX_EVENTS:
        tx.execute(
            "DELETE FROM events WHERE job = ? AND number = ? AND type = 'item_done'",
            (seq, number - MAX_EVENTS),
        )


def next_number(tx: Transaction, table: str, seq: int) -> int:
    """Return the number of a job's next row in `events` or `attempts`."""
    row = tx.one(f"SELECT max(number) AS newest FROM {table} WHERE job = ?", (seq,))
    return 1 if row is None or row["newest"] is None else int(row["newest"]) + 1


def now() -> float:
    """Return the time as it is kept."""
    # In whole microseconds, as datetime has it: what was read can be asked for again.
    return datetime.now(UTC).timestamp()
