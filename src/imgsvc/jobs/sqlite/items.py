"""The items of batches, in the same file as the jobs: see the protocol `Items`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from imgsvc.jobs.items import (
    Found,
    Item,
    ItemEnd,
    ItemFilter,
    ItemState,
    ItemSums,
    JobLost,
    Listing,
    Progress,
)
from imgsvc.jobs.models import BatchSpec, Job
from imgsvc.jobs.sqlite.again import copy_portion
from imgsvc.jobs.sqlite.events import now
from imgsvc.jobs.sqlite.item_queries import page, progress, sums
from imgsvc.jobs.sqlite.item_rows import (
    count_new,
    decoded,
    encoded,
    end_values,
    to_item,
    to_progress,
)
from imgsvc.jobs.sqlite.writer import Database, Transaction
from imgsvc.storage.keys import BatchKeys

PORTION = 2000
"""Items that are changed or removed in one transaction: jobs wait behind it, about 50 ms."""

FORGETTABLE = """
SELECT seq FROM jobs WHERE finished_at < ? AND callback_state <> 'pending' AND NOT EXISTS
    (SELECT 1 FROM jobs AS again WHERE again.retry_of = jobs.id AND again.finished_at IS NULL)
ORDER BY finished_at LIMIT ?
"""
"""The oldest settled jobs, apart from those that a job which is not done yet goes on from."""


@dataclass(frozen=True, slots=True)
class SqliteItems:
    """The protocol `Items` over one :class:`Database`."""

    database: Database

    async def open(self, job: Job) -> Listing:
        """Begin or carry on a batch; one that is done again with what the former one had."""
        while await self.database.call(lambda tx: go_on(tx, job)):
            pass
        return await self.database.call(lambda tx: open_batch(tx, job))

    async def add(self, job: Job, found: Sequence[Found], *, is_last: bool) -> None:
        """Add what was listed behind all before."""
        await self.database.call(lambda tx: add(tx, job, found, is_last=is_last))

    async def take(self, job: Job, *, again: bool = False) -> Item | None:
        """Begin the first pending item, and return it as it was."""
        return await self.database.call(lambda tx: take(tx, job, again=again))

    async def end(
        self, job: Job, number: int, end: ItemEnd, *, rate: float | None = None
    ) -> Progress:
        """End an item that was begun, and return how far the batch is then."""
        return await self.database.call(lambda tx: end_item(tx, job, number, end, rate))

    async def abandon(self, job: Job, error: str) -> None:
        """End what has not ended as not started, a portion at a time."""
        while await self.database.call(lambda tx: abandon(tx, job, error)):
            pass

    async def progress(self, job_id: str) -> Progress | None:
        """Return how far a batch is."""
        return await self.database.call(lambda tx: progress(tx, job_id))

    async def sums(self, job_id: str, *, lines: int) -> ItemSums:
        """Add up the items."""
        return await self.database.call(lambda tx: sums(tx, job_id, lines))

    async def page(self, wanted: ItemFilter, *, after: int, limit: int) -> Sequence[Item]:
        """Return items behind the one with this number."""
        return await self.database.call(lambda tx: page(tx, wanted, after, limit))


@dataclass(frozen=True, slots=True)
class _Taken:
    """The protocol `TakenNames`: what the rows of a batch are called."""

    tx: Transaction
    seq: int

    def newest_copy(self, path: str) -> int:
        [row] = self.tx.execute(
            "SELECT coalesce(max(copy), 0) FROM items WHERE job = ? AND path = ?", (self.seq, path)
        )
        return int(row[0])

    def has_folder(self, folder: str) -> bool:
        # `0` comes right behind the slash, and the index is in the order of bytes.
        between = (self.seq, f"{folder}/", f"{folder}0")
        sql = "SELECT 1 FROM items WHERE job = ? AND path > ? AND path < ? LIMIT 1"
        return self.tx.one(sql, between) is not None


def open_batch(tx: Transaction, job: Job) -> Listing:
    """Return how far a batch has come; one that is new has come nowhere."""
    _hold(tx, job)
    tx.execute("INSERT OR IGNORE INTO batches (job, folder) VALUES (?, ?)", (job.seq, job.id))
    tx.execute("UPDATE batches SET got_on = 0, rate = NULL WHERE job = ?", (job.seq,))
    row = _batch(tx, job)
    last_key = row["last_key"]
    began = tx.one(
        "SELECT at FROM events WHERE job = ? AND type = 'started' ORDER BY number LIMIT 1",
        (job.seq,),
    )
    [(images,)] = tx.execute(
        "SELECT count(*) FROM items WHERE job = ? AND path IS NOT NULL", (job.seq,)
    ).fetchall()
    return Listing(
        begun_at=datetime.fromtimestamp(began["at"], UTC) if began else datetime.now(UTC),
        folder=row["folder"],
        last_key=None if last_key is None else decoded(last_key),
        images=images,
        is_complete=bool(row["is_listed"]),
        progress=to_progress(row),
    )


def go_on(tx: Transaction, job: Job) -> bool:
    """Copy some of what the former batch has come to; say whether there may be more."""
    _hold(tx, job)
    return copy_portion(tx, job)


def add(tx: Transaction, job: Job, found: Sequence[Found], *, is_last: bool) -> None:
    """Add what was listed; name the outputs of images."""
    _hold(tx, job)
    keys, taken = batch_keys(job, _batch(tx, job)["folder"]), _Taken(tx, job.seq)
    [(before,)] = tx.execute(
        "SELECT coalesce(max(number), 0) FROM items WHERE job = ?", (job.seq,)
    ).fetchall()
    number = before
    for each in found:
        number += 1
        output = keys.name(each.key, taken) if each.may_be_image else None
        tx.execute(
            "INSERT INTO items (job, number, key, size, modified, path, copy, state, error)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                job.seq,
                number,
                encoded(each.key),
                each.size,
                each.modified.timestamp(),
                None if output is None else output.path,
                None if output is None else output.copy,
                _first_state(each),
                each.error,
            ),
        )
    count_new(tx, job.seq, after=before)
    last_key = encoded(found[-1].key) if found else None
    tx.execute(
        "UPDATE batches SET last_key = coalesce(?, last_key), is_listed = ?, got_on = 1"
        " WHERE job = ?",
        (last_key, int(is_last), job.seq),
    )


def _first_state(found: Found) -> ItemState:
    if not found.may_be_image:
        return ItemState.SKIPPED
    return ItemState.PENDING if found.error is None else ItemState.FAILED


def take(tx: Transaction, job: Job, *, again: bool) -> Item | None:
    """Begin the first pending item; those that were begun before come first."""
    _hold(tx, job)
    row = tx.one(
        "SELECT * FROM items WHERE job = ? AND state = 'pending' ORDER BY number LIMIT 1",
        (job.seq,),
    )
    if row is None or (again and not row["attempts"]):
        return None
    tx.execute(
        "UPDATE items SET state = 'running', attempts = attempts + 1, started_at = ?"
        " WHERE job = ? AND number = ?",
        (now(), job.seq, row["number"]),
    )
    return to_item(row)


def end_item(tx: Transaction, job: Job, number: int, end: ItemEnd, rate: float | None) -> Progress:
    """Write how an item ended."""
    _hold(tx, job)
    values = end_values(end)
    changes = ", ".join(f"{name} = ?" for name in values)
    spent = end.spent
    tx.execute(
        f"UPDATE items SET {changes}, finished_at = ?, calls = calls + ?, cost = cost + ?,"
        " unknown_calls = unknown_calls + ? WHERE job = ? AND number = ? AND state = 'running'",
        (*values.values(), now(), spent.calls, spent.cost, spent.unknown_calls, job.seq, number),
    )
    tx.execute("UPDATE batches SET got_on = 1, rate = ? WHERE job = ?", (rate, job.seq))
    return to_progress(_batch(tx, job))


def abandon(tx: Transaction, job: Job, error: str) -> bool:
    """End a portion of what has not ended; say whether there may be more."""
    _hold(tx, job)
    changed = tx.execute(
        "UPDATE items SET state = 'not_started', error = ? WHERE job = ? AND number IN"
        " (SELECT number FROM items WHERE job = ? AND state IN ('pending', 'running') LIMIT ?)",
        (error, job.seq, job.seq, PORTION),
    )
    return changed.rowcount == PORTION


# -- beside what happens to the job --------------------------------------------------------


def put_back(tx: Transaction, seq: int, *, orderly: bool) -> None:
    """Make pending again what the lost worker of a batch had in work."""
    _add_up_calls(tx, seq)
    tx.execute(
        "UPDATE items SET state = 'pending', interruptions = interruptions + ?"
        " WHERE job = ? AND state = 'running'",
        (int(orderly), seq),
    )


def close_portion(tx: Transaction, seq: int, error: str | None) -> bool:
    """End some of what a job has left that ends without its batch; say whether there is more."""
    _add_up_calls(tx, seq)
    changed = tx.execute(
        "UPDATE items SET error = ?, finished_at = iif(state = 'running', ?, NULL),"
        " state = CASE state WHEN 'pending' THEN 'not_started' ELSE 'failed' END"
        " WHERE job = ? AND number IN"
        " (SELECT number FROM items WHERE job = ? AND state IN ('pending', 'running') LIMIT ?)",
        (error, now(), seq, seq, PORTION),
    )
    return changed.rowcount == PORTION


def _add_up_calls(tx: Transaction, seq: int) -> None:
    """Note what was spent on items whose attempt was cut off: nobody else will."""
    tx.execute(
        "UPDATE items SET (calls, cost, unknown_calls) = ("
        " SELECT count(*), coalesce(sum(cost), 0), count(*) FILTER (WHERE state <> 'settled')"
        " FROM calls WHERE calls.job = items.job AND calls.item = items.number)"
        " WHERE job = ? AND state = 'running'",
        (seq,),
    )


def forget_portion(tx: Transaction, before: datetime, jobs: int) -> bool:
    """Remove some items of the oldest settled jobs; say whether there may be more."""
    removed = tx.execute(
        "DELETE FROM items WHERE (job, number) IN (SELECT job, number FROM items"
        f" WHERE job IN ({FORGETTABLE}) LIMIT ?)",
        (before.timestamp(), jobs, PORTION),
    )
    return removed.rowcount == PORTION


def batch_keys(job: Job, folder: str) -> BatchKeys:
    """Return what names the outputs of a batch, in the folder of the job with this id."""
    if not isinstance(job.spec, BatchSpec):
        raise TypeError("only a batch has items")
    return BatchKeys(
        output_prefix=job.spec.output_prefix, job_id=folder, input_prefix=job.spec.input_prefix
    )


def _hold(tx: Transaction, job: Job) -> None:
    """Raise JobLost unless the worker of this attempt still holds the job."""
    held = tx.one(
        "SELECT 1 FROM jobs WHERE seq = ? AND attempt = ? AND state = 'running'",
        (job.seq, job.attempt),
    )
    if held is None:
        raise JobLost


def _batch(tx: Transaction, job: Job) -> Any:
    return tx.one("SELECT * FROM batches WHERE job = ?", (job.seq,))
