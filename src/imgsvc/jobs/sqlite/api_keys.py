"""The keys of callers, in the same file as the jobs: see the protocol `ApiKeys`."""

import json
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from imgsvc.jobs.api_keys import ApiKey
from imgsvc.jobs.audit import Action, Actor
from imgsvc.jobs.sqlite import audit
from imgsvc.jobs.sqlite.rows import time_or_none
from imgsvc.jobs.sqlite.writer import Database, Transaction


def has_key_in_force(file: Path) -> bool | None:
    """Tell whether there is a key that works; None if the file cannot be read.

    Nothing is made or changed. Where there is no write-ahead log, SQLite would make one, of which
    the server could not be the owner; so it is told that nobody writes to the file.
    """
    if not file.exists():
        return False
    is_in_use = file.with_name(f"{file.name}-wal").exists()
    uri = f"{file.absolute().as_uri()}?{'mode=ro' if is_in_use else 'immutable=1'}"
    query = (
        "SELECT 1 FROM api_keys WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?)"
    )
    try:
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            return connection.execute(query, (time.time(),)).fetchone() is not None
    except sqlite3.Error:
        return None


@dataclass(frozen=True, slots=True)
class SqliteApiKeys:
    """The protocol `ApiKeys` over one :class:`Database`.

    Several processes may do this with one file: each method is one transaction.
    """

    database: Database

    async def add(self, key: ApiKey, *, by: Actor | None = None) -> bool:
        """Keep a new key, unless its id is taken."""

        def run(tx: Transaction) -> bool:
            added = add(tx, key)
            if added:
                audit.note(tx, by, Action.KEY_CREATE, key.id, **_described(key))
            return added

        return await self.database.call(run)

    async def find(self, key_id: str) -> ApiKey | None:
        """Return the key with this id."""

        def run(tx: Transaction) -> ApiKey | None:
            row = tx.one("SELECT * FROM api_keys WHERE id = ?", (key_id,))
            return None if row is None else to_key(row)

        return await self.database.call(run)

    async def list(self) -> Sequence[ApiKey]:
        """Return all keys, the oldest first."""

        def run(tx: Transaction) -> list[ApiKey]:
            rows = tx.execute("SELECT * FROM api_keys ORDER BY created_at, id")
            return [to_key(row) for row in rows]

        return await self.database.call(run)

    async def revoke(self, key_id: str, at: datetime, *, by: Actor | None = None) -> bool:
        """End a key for good."""

        def run(tx: Transaction) -> bool:
            row = tx.one(
                "UPDATE api_keys SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL"
                " RETURNING client",
                (at.timestamp(), key_id),
            )
            if row is not None:
                audit.note(tx, by, Action.KEY_REVOKE, key_id, client=row["client"])
            return tx.one("SELECT 1 FROM api_keys WHERE id = ?", (key_id,)) is not None

        return await self.database.call(run)

    async def replace(
        self, key_id: str, successor: ApiKey, until: datetime, *, by: Actor | None = None
    ) -> bool:
        """Keep a new key, and let the old one end."""

        def run(tx: Transaction) -> bool:
            old = tx.one("SELECT 1 FROM api_keys WHERE id = ? AND revoked_at IS NULL", (key_id,))
            if old is None or not add(tx, successor):
                return False
            end = until.timestamp()
            tx.execute(
                "UPDATE api_keys SET expires_at = min(coalesce(expires_at, ?), ?) WHERE id = ?",
                (end, end, key_id),
            )
            ends = {"successor": successor.id, "until": until.isoformat()}
            audit.note(tx, by, Action.KEY_ROTATE, key_id, **_described(successor), **ends)
            return True

        return await self.database.call(run)

    async def used(self, key_id: str, at: datetime) -> None:
        """Take note that a key was used."""

        def run(tx: Transaction) -> None:
            tx.execute(
                "UPDATE api_keys SET last_used_at = ? WHERE id = ?", (at.timestamp(), key_id)
            )

        await self.database.call(run)


def add(tx: Transaction, key: ApiKey) -> bool:
    """Keep a new key, and return whether its id was free."""
    done = tx.execute(
        "INSERT OR IGNORE INTO api_keys"
        " (id, digest, client, roles, created_at, expires_at, made_until)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            key.id,
            key.digest,
            key.client,
            json.dumps(sorted(key.roles)),
            key.created_at.timestamp(),
            None if key.expires_at is None else key.expires_at.timestamp(),
            None if key.made_until is None else key.made_until.timestamp(),
        ),
    )
    return done.rowcount > 0


def _described(key: ApiKey) -> dict[str, Any]:
    """Return what a new key is for."""
    expires = {} if key.expires_at is None else {"expires_at": key.expires_at.isoformat()}
    return {"client": key.client, "roles": sorted(key.roles), **expires}


def to_key(row: Any) -> ApiKey:
    """Return the key of a row."""
    return ApiKey(
        id=row["id"],
        digest=row["digest"],
        client=row["client"],
        roles=frozenset(json.loads(row["roles"])),
        created_at=datetime.fromtimestamp(row["created_at"], UTC),
        expires_at=time_or_none(row["expires_at"]),
        made_until=time_or_none(row["made_until"]),
        last_used_at=time_or_none(row["last_used_at"]),
        revoked_at=time_or_none(row["revoked_at"]),
    )
