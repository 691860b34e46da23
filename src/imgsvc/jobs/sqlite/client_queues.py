"""How much of one client may wait; triggers in the schema keep count of what does."""

from imgsvc.errors import ClientLimitReached, NotAllowedForClient
from imgsvc.jobs.models import NewJob, QueueLimits
from imgsvc.jobs.sqlite.writer import Transaction


def check_room(tx: Transaction, new: NewJob) -> None:
    """Raise ClientLimitReached if there is no room for a job now, NotAllowedForClient if never.

    It is asked in the transaction that inserts the job: of many at once, over any number of
    connections, as many are accepted as there is room for.
    """
    limits = new.limits
    if limits == QueueLimits():
        return
    if limits.bytes is not None and new.payload > limits.bytes:
        raise NotAllowedForClient(
            "max_queued_bytes", [limits.bytes], f"{new.payload} bytes in one request"
        )
    row = tx.one("SELECT jobs, bytes FROM client_queues WHERE client = ?", (new.client,))
    if row is None:
        return
    if limits.jobs is not None and row["jobs"] >= limits.jobs:
        raise ClientLimitReached("max_queued_jobs", limits.jobs)
    if limits.bytes is not None and row["bytes"] + new.payload > limits.bytes:
        raise ClientLimitReached("max_queued_bytes", limits.bytes)
