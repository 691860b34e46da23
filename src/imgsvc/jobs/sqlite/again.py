"""Doing a batch again: it begins with what the former one has come to."""

from imgsvc.errors import JobNotRetryable
from imgsvc.jobs.items import ItemState
from imgsvc.jobs.models import Job
from imgsvc.jobs.sqlite.item_rows import count_new
from imgsvc.jobs.sqlite.writer import Transaction

PORTION = 2000
"""Items that are copied in one transaction: other jobs wait behind it, about 50 ms."""

_TO_DO_AGAIN = (ItemState.FAILED, ItemState.NOT_STARTED, ItemState.PENDING, ItemState.RUNNING)
_LISTED = "number, key, size, modified, path, copy"
_KEPT = (
    f"{_LISTED}, state, attempts, output_key, provider, model, fallback_reason, operations,"
    " ignored, bytes, started_at, finished_at, seconds, calls, cost, unknown_calls"
)

_ANOTHER = """
WITH RECURSIVE line (id) AS (
    SELECT id FROM jobs WHERE seq = ?
    UNION SELECT jobs.id FROM jobs JOIN line ON jobs.retry_of = line.id
)
SELECT jobs.id, finished_at FROM line JOIN jobs ON jobs.id = line.id
WHERE seq NOT IN (?, ?)
    AND (finished_at IS NULL OR EXISTS (SELECT 1 FROM batches WHERE job = seq))
ORDER BY seq DESC LIMIT 1
"""
"""The newest batch that has gone on, or will, from where another one had come to."""


def check_again(tx: Transaction, former_id: str, seq: int) -> None:
    """Raise JobNotRetryable unless the job with this `seq` can do the former batch again.

    There must be something to do, be it the manifest alone, and nobody else may be doing
    it, or have done it: two batches would pay for the same images, and write over each other's.
    """
    former = _begun(tx, former_id)
    if former is None:
        [(is_first,)] = tx.execute("SELECT retry_of IS NULL FROM jobs WHERE id = ?", (former_id,))
        if is_first:
            return  # it was never begun: this one begins anew
        raise JobNotRetryable(
            "The batch that it was to do again is not kept any more. Send it as a new request."
        )
    another = tx.one(_ANOTHER, (former, former, seq))
    if another is not None and another["finished_at"] is None:
        raise JobNotRetryable(f"The batch is being done again already, as {another['id']}.")
    if another is not None:
        raise JobNotRetryable(
            f"The batch was done again already. If that left something, retry {another['id']}."
        )
    to_do = tx.one(
        "SELECT 1 FROM items WHERE job = ? AND state IN (?, ?, ?, ?) LIMIT 1",
        (former, *_TO_DO_AGAIN),
    )
    is_whole = tx.one(
        "SELECT 1 FROM batches JOIN jobs ON seq = job"
        " WHERE job = ? AND is_listed AND outcome ->> '$.result' IS NOT NULL",
        (former,),
    )
    if to_do is None and is_whole is not None:
        raise JobNotRetryable("Every image of the batch has a result: there is nothing left to do.")


def copy_portion(tx: Transaction, job: Job) -> bool:
    """Copy some items of the former batch to this one; say whether there may be more.

    What has no output is pending; the rest stays as it is. The row in `batches` comes
    last: until then a batch that was cut off goes on with the copying.
    """
    is_done = tx.one("SELECT 1 FROM batches WHERE job = ?", (job.seq,)) is not None
    if is_done or job.retry_of is None or (former := _begun(tx, job.retry_of)) is None:
        return False
    [(start,)] = tx.execute("SELECT coalesce(max(number), 0) FROM items WHERE job = ?", (job.seq,))
    [(end,)] = tx.execute(
        "SELECT max(number) FROM"
        " (SELECT number FROM items WHERE job = ? AND number > ? ORDER BY number LIMIT ?)",
        (former, start, PORTION),
    )
    if end is None:
        tx.execute(
            "INSERT INTO batches (job, folder, last_key, is_listed)"
            " SELECT ?, folder, last_key, is_listed FROM batches WHERE job = ?",
            (job.seq, former),
        )
        count_new(tx, job.seq, after=0)
        return False
    some = "FROM items WHERE job = ? AND number > ? AND number <= ? AND"
    parameters = (job.seq, former, start, end, *_TO_DO_AGAIN)
    tx.execute(
        f"INSERT INTO items (job, {_LISTED}, state) SELECT ?, {_LISTED}, 'pending'"
        f" {some} state IN (?, ?, ?, ?)",
        parameters,
    )
    tx.execute(
        f"INSERT INTO items (job, {_KEPT}) SELECT ?, {_KEPT} {some} state NOT IN (?, ?, ?, ?)",
        parameters,
    )
    return True


def _begun(tx: Transaction, job_id: str) -> int | None:
    """Return the `seq` of this batch, or if it was not begun of the one that it does again.

    None if there is no such batch.
    """
    wanted: str | None = job_id
    while wanted is not None:
        row = tx.one(
            "SELECT seq, retry_of, EXISTS (SELECT 1 FROM batches WHERE job = seq) AS is_begun"
            " FROM jobs WHERE id = ?",
            (wanted,),
        )
        if row is None:
            return None
        if row["is_begun"]:
            return int(row["seq"])
        wanted = row["retry_of"]
    return None
