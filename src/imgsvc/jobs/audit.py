"""The audit log: who did what to which job or key, from where, and with what outcome.

A row is written in the transaction of the action itself, so that there is never one without
the other. Each is told to the logger `imgsvc.audit` too, once it is on disk.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

import structlog

from imgsvc.logs import AUDIT_LOGGER

log = structlog.get_logger(AUDIT_LOGGER)

DONE = "done"
"""The outcome of what was done; any other is the code of an error."""


CLI_ACTOR = "cli:"
"""What the name of an actor begins with that is a command, and no other's."""


class Action(StrEnum):
    """What somebody did, or tried to do."""

    JOB_SUBMIT = "job.submit"
    JOB_READ = "job.read"  # only if it was refused
    JOB_CANCEL = "job.cancel"
    JOB_RETRY = "job.retry"
    CALLBACK_REDELIVER = "callback.redeliver"
    KEY_CREATE = "key.create"
    KEY_ROTATE = "key.rotate"
    KEY_REVOKE = "key.revoke"
    KEY_LIST = "key.list"  # if it was done, in the log stream alone; so are the last two
    CONFIG_READ = "config.read"
    AUDIT_READ = "audit.read"


@dataclass(frozen=True, kw_only=True, slots=True)
class Actor:
    """Who acts, and from where."""

    name: str  # the client; of a command `cli:` and the user of this machine
    proof: str  # how it has proved that: none, api_key, jwt; `cli` of a command
    key_id: str | None = None  # of an API key
    address: str | None = None  # None of a command
    request_id: str | None = None  # None of a command


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditEntry:
    """One action. Details hold no prompt, URL or secret."""

    actor: Actor
    action: Action
    target: str | None  # the id of a job or key
    outcome: str = DONE
    details: Mapping[str, Any] = field(default_factory=dict)  # values that JSON has


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditRow:
    """An entry as it is kept."""

    number: int  # from 1, without gaps but for what the retention has taken
    at: datetime  # in UTC
    entry: AuditEntry


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditFilter:
    """Which rows a list shows; None is all."""

    actor: str | None = None
    action: Action | None = None
    target: str | None = None
    outcome: str | None = None
    since: datetime | None = None  # then or later
    until: datetime | None = None  # before then


class Audit(Protocol):
    """Keeps rows durably, and changes none. All methods raise DiskRefuses."""

    async def append(self, entry: AuditEntry) -> None:
        """Keep an entry of its own: one of an action that was refused."""
        ...

    async def page(
        self, wanted: AuditFilter, *, before: int | None, limit: int
    ) -> Sequence[AuditRow]:
        """Return at most `limit` rows, the newest first, behind the one with number `before`."""
        ...

    async def forget(self, *, before: datetime, limit: int) -> int:
        """Remove at most `limit` rows that are older, and return how many that were.

        No row that is younger can be removed.
        """
        ...


def tell(entry: AuditEntry) -> None:
    """Write an entry to the log stream."""
    actor = entry.actor
    log.info(
        "audit",
        actor=actor.name,
        proof=actor.proof,
        key_id=actor.key_id,
        address=actor.address,
        request_id=actor.request_id,
        action=entry.action,
        target=entry.target,
        outcome=entry.outcome,
        details=dict(entry.details),
    )
