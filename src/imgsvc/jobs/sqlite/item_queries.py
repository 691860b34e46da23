"""What is asked of the items of batches; nothing in here changes them."""

from collections import Counter

from imgsvc.errors import JobNotFound
from imgsvc.jobs.items import Item, ItemFilter, ItemState, ItemSums, Progress
from imgsvc.jobs.sqlite.item_rows import to_item, to_progress
from imgsvc.jobs.sqlite.writer import Transaction

_FALLBACKS = (ItemState.FALLBACK_LOCAL, ItemState.FALLBACK_OTHER)


def progress(tx: Transaction, job_id: str) -> Progress | None:
    """Return how far a batch is: its row keeps count."""
    row = tx.one("SELECT * FROM batches WHERE job = ?", (_seq(tx, job_id),))
    return None if row is None else to_progress(row)


def sums(tx: Transaction, job_id: str, lines: int) -> ItemSums:
    """Add up the items of a batch."""
    seq = _seq(tx, job_id)
    states = tx.execute("SELECT state, count(*) FROM items WHERE job = ? GROUP BY state", (seq,))
    reasons = tx.execute(
        "SELECT fallback_reason, count(*) FROM items WHERE job = ? AND state IN (?, ?)"
        " GROUP BY fallback_reason",
        (seq, *_FALLBACKS),
    )
    stopped = tx.one(
        "SELECT error FROM items WHERE job = ? AND state = 'not_started' LIMIT 1", (seq,)
    )
    return ItemSums(
        states=Counter({ItemState(state): count for state, count in states}),
        fallback_reasons=Counter(dict(reasons.fetchall())),
        stopped=None if stopped is None else stopped["error"],
        failed=page(tx, ItemFilter(job_id=job_id, state=ItemState.FAILED), 0, lines),
        skipped=page(tx, ItemFilter(job_id=job_id, state=ItemState.SKIPPED), 0, lines),
    )


def page(tx: Transaction, wanted: ItemFilter, after: int, limit: int) -> list[Item]:
    """Return items in order."""
    seq = _seq(tx, wanted.job_id)
    if seq is None:
        raise JobNotFound
    in_state = "" if wanted.state is None else " AND state = ?"
    rows = tx.execute(
        f"SELECT * FROM items WHERE job = ? AND number > ?{in_state} ORDER BY number LIMIT ?",
        (seq, after, *(() if wanted.state is None else (wanted.state,)), limit),
    )
    return [to_item(row) for row in rows]


def _seq(tx: Transaction, job_id: str) -> int | None:
    row = tx.one("SELECT seq FROM jobs WHERE id = ?", (job_id,))
    return None if row is None else int(row["seq"])
