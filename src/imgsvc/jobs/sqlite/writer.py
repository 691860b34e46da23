"""One SQLite connection on one thread; what waits there together is committed together.

An fsync takes about as long for a hundred transactions as for one, so whatever has
queued up while the last commit was on its way goes into the next (group commit).
"""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import structlog

from imgsvc.errors import ConfigurationError, DiskRefuses
from imgsvc.jobs.sqlite.schema import VERSION, migrate

log = structlog.get_logger(__name__)

T = TypeVar("T")

MAX_GROUP = 512
"""Operations in one transaction: none of them shall wait long for the others."""

_REFUSALS = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_BUSY,  # somebody looks after the file by hand
    }
)
"""Primary result codes that pass (https://www.sqlite.org/rescode.html)."""


@dataclass(slots=True)
class Transaction:
    """What an operation works with; it runs on the database's thread."""

    connection: sqlite3.Connection
    _hooks: list[Callable[[], None]] = field(default_factory=list)

    def execute(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:
        """Run one statement."""
        return self.connection.execute(sql, parameters)

    def one(self, sql: str, parameters: Any = ()) -> sqlite3.Row | None:
        """Run one statement and return the only row it gives, or None."""
        rows: list[sqlite3.Row] = self.execute(sql, parameters).fetchall()
        return rows[0] if rows else None

    def on_commit(self, hook: Callable[[], None]) -> None:
        """Call this on the event loop once the operation is on disk, before its caller goes on."""
        self._hooks.append(hook)


@dataclass(frozen=True, slots=True)
class _Operation(Generic[T]):
    run: Callable[[Transaction], T]
    future: "asyncio.Future[T]"


@dataclass(slots=True)
class _Done:
    operation: _Operation[Any]
    hooks: list[Callable[[], None]] = field(default_factory=list)
    value: Any = None
    error: Exception | None = None


class Database:
    """Runs operations one after the other, and answers each when its group is committed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._loop = asyncio.get_running_loop()
        self._waiting: queue.SimpleQueue[_Operation[Any] | None] = queue.SimpleQueue()
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._refused = False
        self.size = 0  # bytes of disk in use, after the newest commit
        self._thread = threading.Thread(target=self._main, name="sqlite", daemon=True)

    def submit(self, run: Callable[[Transaction], T]) -> "asyncio.Future[T]":
        """Queue an operation; its future has what it returned, once that is on disk.

        Whoever waits for it should shield it: it is carried out anyway.
        """
        future: asyncio.Future[T] = self._loop.create_future()
        self._waiting.put(_Operation(run, future))
        return future

    async def call(self, run: Callable[[Transaction], T]) -> T:
        """Return what the operation returned, once it is on disk.

        Raises what it raised, or DiskRefuses if it could not be written.
        """
        return await asyncio.shield(self.submit(run))

    async def check(self) -> None:
        """Raise DiskRefuses if the file could not be written lately and still cannot."""
        if self._refused:
            await self.call(_rewrite)
            self._refused = False

    async def open(self) -> None:
        """Start the thread and open the file; raise ConfigurationError if that fails."""
        self._thread.start()
        await self._opened

    async def close(self) -> None:
        """Finish what waits, and close the file."""
        self._waiting.put(None)
        await asyncio.to_thread(self._thread.join)

    # -- on the thread --------------------------------------------------------------------

    def _main(self) -> None:
        try:
            connection = _connect(self.path)
        except Exception as exc:  # noqa: BLE001 - whatever it is, open() raises it
            self._loop.call_soon_threadsafe(self._opened.set_exception, exc)
            return
        self._loop.call_soon_threadsafe(self._opened.set_result, None)
        with_end = True
        while with_end:
            group, with_end = self._next_group()
            if group:
                done = _commit(connection, group)
                with suppress(sqlite3.Error):  # it is as it was, then
                    self.size = _size(connection)
                self._loop.call_soon_threadsafe(self._answer, done)
        connection.close()

    def _next_group(self) -> tuple[list[_Operation[Any]], bool]:
        """Return what waits, at least one, and whether more may come."""
        group: list[_Operation[Any]] = []
        operation = self._waiting.get()
        while operation is not None:
            group.append(operation)
            if len(group) == MAX_GROUP:
                return group, True
            try:
                operation = self._waiting.get_nowait()
            except queue.Empty:
                return group, True
        return group, False

    # -- on the event loop ----------------------------------------------------------------

    def _answer(self, done: list[_Done]) -> None:
        """Tell the callers."""
        for entry in done:
            for hook in entry.hooks:
                hook()
            future = entry.operation.future
            self._refused |= isinstance(entry.error, DiskRefuses)
            if future.cancelled():
                continue
            if entry.error is None:
                future.set_result(entry.value)
            else:
                future.set_exception(entry.error)


def _commit(connection: sqlite3.Connection, group: list[_Operation[Any]]) -> list[_Done]:
    """Run a group in one transaction; each operation fails alone, a commit for all."""
    done = [_Done(operation) for operation in group]
    try:
        connection.execute("BEGIN IMMEDIATE")
        for entry in done:
            _run(connection, entry)
        connection.execute("COMMIT")
    except sqlite3.Error as exc:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        error = _mapped(exc)
        for entry in done:
            entry.error, entry.hooks = error, []
    return done


def _run(connection: sqlite3.Connection, entry: _Done) -> None:
    transaction = Transaction(connection, entry.hooks)
    connection.execute("SAVEPOINT operation")
    try:
        entry.value = entry.operation.run(transaction)
    except Exception as exc:
        if isinstance(exc, sqlite3.Error) and _is_refusal(exc):
            raise  # the whole group: SQLite may have rolled it back
        entry.error, entry.hooks = exc, []
        connection.execute("ROLLBACK TO operation")
    connection.execute("RELEASE operation")


def _is_refusal(exc: sqlite3.Error) -> bool:
    code = getattr(exc, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in _REFUSALS


def _mapped(exc: sqlite3.Error) -> Exception:
    if not _is_refusal(exc):
        return exc
    log.error("record_refuses", reason=exc.sqlite_errorname)
    refusal = DiskRefuses()
    refusal.__cause__ = exc
    return refusal


def _rewrite(tx: Transaction) -> None:
    """Write the first page as it is."""
    tx.execute(f"PRAGMA user_version = {VERSION}")


def _size(connection: sqlite3.Connection) -> int:
    """Return the bytes in use; pages that are free are used again, and the log is bounded."""
    pages, free, page_size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * page_size)


def _connect(path: Path) -> sqlite3.Connection:
    try:
        path.touch(mode=0o600)  # prompts and callback URLs are in it
        connection = sqlite3.connect(path, isolation_level=None, timeout=5)
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")  # each commit is on disk, power cut or not
        connection.execute("PRAGMA journal_size_limit = 67108864")  # 64 MiB: give space back
        migrate(connection)
    except (sqlite3.Error, OSError) as exc:
        raise unreadable(path, exc) from exc
    return connection


def unreadable(path: Path, exc: sqlite3.Error | OSError) -> ConfigurationError:
    """Return the error for a file that is damaged, or no database at all."""
    return ConfigurationError(
        [f"data_dir: the record of jobs in {path.name} cannot be opened ({exc})"]
    )


@asynccontextmanager
async def open_database(path: Path) -> AsyncIterator[Database]:
    """Yield the database in this file, brought to the newest version.

    Raises ConfigurationError if it cannot be opened.
    """
    database = Database(path)
    await database.open()
    try:
        yield database
    finally:
        await database.close()
