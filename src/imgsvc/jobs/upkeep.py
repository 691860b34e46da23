"""Tidying up while the service runs: old jobs are forgotten, files that nobody owns removed."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import time_ns
from typing import Self

import structlog

from imgsvc.errors import DiskRefuses
from imgsvc.jobs.backend import JobBackend
from imgsvc.jobs.blobs import BlobFolder
from imgsvc.jobs.spool import Spool

log = structlog.get_logger(__name__)

INTERVAL = 300.0
"""Seconds between two rounds."""

ORPHAN_AGE = timedelta(hours=1)
"""How long a blob may be there before its job is recorded: a body can be slow in coming."""

JOBS_AT_ONCE = 10
"""Jobs forgotten in one transaction. Others wait for it to end, and ten large batches have 100,000
events to remove: about 0.2 s."""

USAGE_AGE = timedelta(days=400)
"""How long what was spent on a day is known: a year, and time to look back on it."""

AUDIT_ROWS_AT_ONCE = 500
"""Rows of the audit log removed in one transaction: others wait for it, about 30 ms."""

BLOBS_AT_ONCE = 500
"""Blobs looked at in one go."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Horizons:
    """What is older than this goes."""

    jobs: datetime  # compared with the end of a settled job
    orphans: datetime  # compared with the arrival of a blob without a job

    @classmethod
    def at(cls, now: datetime, *, retention: timedelta) -> Self:
        """Return the horizons of a round that begins now."""
        return cls(jobs=now - retention, orphans=now - ORPHAN_AGE)


def utc_now() -> datetime:
    """Return the time of day."""
    return datetime.now(UTC)


@dataclass(frozen=True, kw_only=True, slots=True)
class Upkeep:
    """Keeps the data folder from growing for ever, in portions that hold nobody up."""

    backend: JobBackend
    blobs: BlobFolder
    spool: Spool
    retention: timedelta
    audit_retention: timedelta
    now: Callable[[], datetime] = utc_now

    async def run(self) -> None:
        """Do one round after the other until cancelled; what fails is tried again in the next."""
        while True:
            try:
                await self.tidy()
            except DiskRefuses:
                log.warning("upkeep_interrupted")
            except Exception:
                log.exception("upkeep_crashed")
            if self.spool.is_full:
                log.warning("spool_full", bytes=self.spool.size, limit=self.spool.limit)
            await asyncio.sleep(INTERVAL)

    async def tidy(self) -> None:
        """Forget what is old, in the audit log and the costs too; remove blobs that have no job.

        Raises DiskRefuses.

        Orphans are blobs without a job: what a crash leaves between the writing of a blob and
        its job, and between the end of a job and the removal of its inputs.
        """
        horizons = Horizons.at(self.now(), retention=self.retention)
        await self._forget(horizons.jobs)
        await self.backend.ledger.forget_days((self.now() - USAGE_AGE).date())
        await self.backend.request_rates.forget(before=time_ns())
        await self._forget_audit(self.now() - self.audit_retention)
        await self._sweep(horizons.orphans)

    async def _forget(self, before: datetime) -> None:
        blobs = 0
        # Every job that has ended owns a blob, its callback's body: no keys means no jobs.
        while keys := await self.backend.forget(before=before, limit=JOBS_AT_ONCE):
            await self.blobs.delete_keys(keys)
            blobs += len(keys)
        if blobs:
            log.info("old_jobs_forgotten", ended_before=f"{before:%FT%TZ}", blobs=blobs)

    async def _forget_audit(self, before: datetime) -> None:
        rows = 0
        forget = self.backend.audit.forget
        while portion := await forget(before=before, limit=AUDIT_ROWS_AT_ONCE):
            rows += portion
        if rows:
            log.info("old_audit_rows_forgotten", before=f"{before:%FT%TZ}", rows=rows)

    async def _sweep(self, before: datetime) -> None:
        orphans = 0
        candidates = self.blobs.unreserved(before=before, portion=BLOBS_AT_ONCE)
        async with aclosing(candidates) as portions:
            async for keys in portions:
                unknown = await self.backend.unknown_blobs(keys)
                await self.blobs.delete_keys(unknown)
                orphans += len(unknown)
        if orphans:
            log.info("orphans_removed", blobs=orphans)
