"""Between rows of the tables `items` and `batches` and what they stand for."""

import json
import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from imgsvc.jobs.items import Item, ItemEnd, ItemState, Progress
from imgsvc.jobs.spent import Spent
from imgsvc.jobs.sqlite.writer import Transaction
from imgsvc.storage.keys import OutputName


def to_item(row: sqlite3.Row) -> Item:
    """Return the item of a row."""
    path = row["path"]
    end = ItemEnd(
        state=ItemState(row["state"]),
        output_key=row["output_key"],
        provider=row["provider"],
        model=row["model"],
        fallback_reason=row["fallback_reason"],
        operations=_loaded(row["operations"]),
        ignored=_loaded(row["ignored"]),
        error=row["error"],
        bytes=row["bytes"],
        seconds=row["seconds"],
        spent=Spent(calls=row["calls"], cost=row["cost"], unknown_calls=row["unknown_calls"]),
    )
    return Item(
        number=row["number"],
        key=decoded(row["key"]),
        size=row["size"],
        output=None if path is None else str(OutputName(path=path, copy=row["copy"])),
        attempts=row["attempts"],
        interruptions=row["interruptions"],
        started_at=_time(row["started_at"]),
        finished_at=_time(row["finished_at"]),
        end=end,
    )


def to_progress(row: sqlite3.Row) -> Progress:
    """Return how far a batch is, by its row of `batches`."""
    return Progress(
        done=row["done"],
        failed=row["failed"],
        total=row["images"],
        total_is_final=bool(row["is_listed"]),
        rate=row["rate"],
    )


def count_new(tx: Transaction, seq: int, *, after: int) -> None:
    """Count the items behind the one with this number in the row of their batch."""
    tx.execute(
        "UPDATE batches SET (images, done, failed) = ("
        "  SELECT images + count(*) FILTER (WHERE state <> 'skipped'),"
        "    done + count(*) FILTER (WHERE state NOT IN ('pending', 'running', 'skipped')),"
        "    failed + count(*) FILTER (WHERE state IN ('failed', 'not_started'))"
        "  FROM items WHERE items.job = batches.job AND number > ?) WHERE job = ?",
        (after, seq),
    )


def end_values(end: ItemEnd) -> Mapping[str, Any]:
    """Return the columns that tell how an item ended, but for what was spent on it."""
    return {
        "state": end.state,
        "output_key": end.output_key,
        "provider": end.provider,
        "model": end.model,
        "fallback_reason": end.fallback_reason,
        "operations": _dumped(end.operations),
        "ignored": _dumped(end.ignored),
        "error": end.error,
        "bytes": end.bytes,
        "seconds": end.seconds,
    }


def encoded(key: str) -> bytes:
    """Return an object's key as it is kept; a file's name need not be UTF-8, as text has to be."""
    return key.encode(errors="surrogateescape")


def decoded(key: bytes) -> str:
    """Return the key that is kept so."""
    return key.decode(errors="surrogateescape")


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _dumped(words: tuple[str, ...] | None) -> str | None:
    return None if words is None else json.dumps(words)


def _loaded(words: str | None) -> tuple[str, ...] | None:
    return None if words is None else tuple(json.loads(words))
