"""How much of one client may wait; triggers in the schema keep count of what does."""

from imgsvc.errors import ClientLimitReached, NotAllowedForClient
from imgsvc.jobs.models import QueueLimits
from imgsvc.jobs.sqlite.writer import Transaction


def check_room(tx: Transaction, client: str, payload: int, limits: QueueLimits) -> None:
    """Raise ClientLimitReached if there is no room for a job now, NotAllowedForClient if never.

    It is asked in the transaction that inserts the job: of many at once, over any number of
    connections, as many are accepted as there is room for.
    """
    if limits == QueueLimits():
        return
    if limits.bytes is not None and payload > limits.bytes:
        raise NotAllowedForClient(
            "max_queued_bytes", [limits.bytes], f"{payload} bytes in one request"
        )
    row = tx.one("SELECT jobs, bytes FROM client_queues WHERE client = ?", (client,))
    if row is None:
        return
    if limits.jobs is not None and row["jobs"] >= limits.jobs:
        raise ClientLimitReached("max_queued_jobs", limits.jobs)
    if limits.bytes is not None and row["bytes"] + payload > limits.bytes:
        raise ClientLimitReached("max_queued_bytes", limits.bytes)
