"""The embedded record of jobs: one SQLite file, one process."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from imgsvc.jobs.data_folder import unusable
from imgsvc.jobs.sqlite.api_keys import SqliteApiKeys, has_key_in_force
from imgsvc.jobs.sqlite.backend import SqliteBackend
from imgsvc.jobs.sqlite.writer import open_database, unreadable

__all__ = ["SqliteBackend", "SqliteConfig"]

FILE = "jobs.db"


class SqliteConfig(BaseModel):
    """Keep the record of jobs in a SQLite file in the data folder."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["sqlite"] = Field("sqlite", description="Which record of jobs to use.")
    max_queued: int = Field(
        100_000, ge=1, description="Jobs that may wait for a worker; one more is refused with 503."
    )
    retention: float = Field(
        7 * 24 * 3600,
        gt=0,
        allow_inf_nan=False,
        description=(
            "Seconds that jobs which have ended are kept, with their events and callback bodies."
        ),
    )
    audit_retention: float = Field(
        365 * 24 * 3600,
        ge=30 * 24 * 3600,
        le=100 * 365 * 24 * 3600,
        allow_inf_nan=False,
        description=(
            "Seconds that rows of the audit log are kept, 30 days at least; before, none can be"
            " removed."
        ),
    )
    max_spool_bytes: int = Field(
        50 * 2**30,
        ge=1,
        description=(
            "Bytes of disk that jobs may take up, their record included; past it new ones are"
            " refused with 503."
        ),
    )

    @asynccontextmanager
    async def open_api_keys(self, data_dir: Path) -> AsyncIterator[SqliteApiKeys]:
        """Yield the keys alone, also while a server holds the folder, or before one ever has.

        Raises ConfigurationError as `open` does, or if the folder cannot be made.
        """
        try:
            await asyncio.to_thread(data_dir.mkdir, parents=True, exist_ok=True, mode=0o700)
        except OSError as exc:
            raise unusable(data_dir, exc) from exc
        async with open_database(data_dir / FILE) as database:
            yield SqliteApiKeys(database)

    def has_key_in_force(self, data_dir: Path) -> bool | None:
        """Tell whether a caller could prove itself by a key; None if that cannot be told.

        No file is made or changed, whoever asks.
        """
        return has_key_in_force(data_dir / FILE)

    @asynccontextmanager
    async def open(self, data_dir: Path) -> AsyncIterator[SqliteBackend]:
        """Yield the record in the data folder, which this process holds alone.

        What an earlier process was doing is queued again. Raises ConfigurationError if
        the file cannot be opened, is damaged, or comes from a newer version.
        """
        async with open_database(data_dir / FILE) as database:
            backend = SqliteBackend(database, max_queued=self.max_queued)
            try:
                await backend.recover()
            except sqlite3.Error as exc:
                raise unreadable(database.path, exc) from exc
            yield backend
