"""The requests of clients, counted in the same file as the jobs: see `RequestRates`."""

from dataclasses import dataclass

from imgsvc.jobs.request_rates import Admission, judge
from imgsvc.jobs.sqlite.writer import Database, Transaction


@dataclass(frozen=True, slots=True)
class SqliteRequestRates:
    """The protocol `RequestRates` over one :class:`Database`.

    Judging and counting are one transaction, so that of many requests at once, over any number
    of connections, as many are let in as there is room for.
    """

    database: Database

    async def take(self, client: str, *, now: int, limit: int) -> Admission:
        """Judge a request, and count it if it is let in."""

        def run(tx: Transaction) -> Admission:
            row = tx.one("SELECT full_at FROM request_rates WHERE client = ?", (client,))
            admission = judge(0 if row is None else row["full_at"], now=now, limit=limit)
            if admission.is_admitted:
                tx.execute(
                    "INSERT INTO request_rates (client, full_at) VALUES (?, ?)"
                    " ON CONFLICT DO UPDATE SET full_at = excluded.full_at",
                    (client, admission.full_at),
                )
            return admission

        return await self.database.call(run)

    async def forget(self, *, before: int) -> None:
        """Remove what has worn off by then."""
        await self.database.call(
            lambda tx: tx.execute("DELETE FROM request_rates WHERE full_at < ?", (before,)).close()
        )
