"""The record of jobs, behind one protocol."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from imgsvc.jobs.api_keys import ApiKeys
from imgsvc.jobs.audit import Actor, Audit
from imgsvc.jobs.items import Items
from imgsvc.jobs.ledger import Ledger
from imgsvc.jobs.models import (
    BlobRef,
    CallbackAttempt,
    CallbackState,
    EventType,
    Job,
    JobEvent,
    JobFilter,
    NewJob,
    Outcome,
    QueueLimits,
)
from imgsvc.jobs.request_rates import RequestRates

Process = Callable[[str], Awaitable[None]]
"""Does one job, given its id."""

Deliver = Callable[[Job], Coroutine[Any, Any, None]]
"""Makes one attempt to bring a finished job's callback to its receiver."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BackendStats:
    """How much there is to do, as counts of jobs."""

    queued: int
    running: int
    callbacks_pending: int
    callbacks_dead: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Accepted:
    """The job of a request; an old one if the request repeats an earlier one."""

    job: Job
    is_new: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Frozen:
    """The body of a callback, and when to deliver it first."""

    body: BlobRef
    due_at: datetime


def any_number(_client: str) -> None:
    """Let a client have any number of jobs in work."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunLimits:
    """How much may be under way at the same time."""

    workers: int  # jobs that are no batches
    batches: int = 4
    callbacks: int = 1024  # deliveries
    callbacks_per_host: int = 8  # deliveries to one host and port
    of_client: Callable[[str], int | None] = any_number  # jobs of one, batches too; None: any


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """A job that a worker holds; `job.attempt` is its fencing token."""

    job: Job
    cancelled: asyncio.Event  # set when the caller no longer wants it
    stopping: asyncio.Event  # set with it, and when the service stops: nothing more is begun


class JobBackend(Protocol):
    """Keeps jobs durably and hands them to workers.

    What a method has returned from is on disk. Every move of a job is a compare-and-set
    on (id, state, attempt), by the table in `moves`; whoever loses the race is told so
    and discards its work. All raise DiskRefuses while the disk takes nothing.

    `by` is who has something done: it goes into the audit log together with that. None is
    nobody but the service itself.
    """

    @property
    def ledger(self) -> Ledger:
        """What the calls of jobs cost."""
        ...

    @property
    def api_keys(self) -> ApiKeys:
        """Which keys callers have."""
        ...

    @property
    def request_rates(self) -> RequestRates:
        """How many requests clients have made."""
        ...

    @property
    def audit(self) -> Audit:
        """Who did what."""
        ...

    @property
    def items(self) -> Items:
        """What becomes of the objects of batches."""
        ...

    async def accept(self, new: NewJob, *, by: Actor | None = None) -> Accepted:
        """Record a new job, or find the one that the same client's key already stands for.

        A batch that is done again begins with the items of the former one, see `Items.open`.

        Raises QueueFull, ClientLimitReached or NotAllowedForClient by the limits of the client's
        queue, IdempotencyKeyReused for a key that came with something else, or JobNotRetryable
        for a batch that has nothing left to do, or was done again already.
        """
        ...

    async def check_room(self, client: str, limits: QueueLimits) -> None:
        """Raise ClientLimitReached if not even the smallest job of a client would be accepted now.

        It spares the reading of a request; whether there is room for its job, `accept` decides.
        """
        ...

    async def get(self, job_id: str) -> Job:
        """Return the job, or raise JobNotFound."""
        ...

    async def list(self, wanted: JobFilter, *, before: int | None, limit: int) -> Sequence[Job]:
        """Return at most `limit` jobs, the newest first, of those with a `seq` below `before`."""
        ...

    async def start(self, job_id: str) -> Claim | None:
        """Claim a queued job, or return None if it is not there to be claimed."""
        ...

    async def finish(self, job_id: str, token: int, outcome: Outcome, callback: Frozen) -> bool:
        """Fix the outcome and the callback's body together, and make the callback pending.

        The inputs are the record's no longer, unless the outcome keeps them. Returns
        False, and changes nothing, if the token is not the newest.
        """
        ...

    async def cancel(
        self, job_id: str, outcome: Outcome, callback: Frozen | None, *, by: Actor | None = None
    ) -> Job:
        """End a queued job with this outcome, or tell the worker of a running one to stop.

        Without a callback's body a queued job is left as it is. A batch that was begun
        before the service was lost counts as running: its next worker is told.
        Returns the job as it is then; one that has ended already is left alone. Raises
        JobNotFound.
        """
        ...

    async def put_back(self, job_id: str, token: int) -> None:
        """Queue a job again that has stopped in an orderly way; it goes on at the next start.

        Changes nothing if the token is not the newest.
        """
        ...

    async def record_delivery(
        self,
        job_id: str,
        attempt: CallbackAttempt,
        state: CallbackState,
        next_at: datetime | None,
    ) -> bool:
        """Keep how an attempt went, and when the next one is due if `state` is PENDING.

        `attempt.number` is replaced by the next free one. Returns False if the callback
        was not pending.
        """
        ...

    async def redeliver(self, job_id: str, *, by: Actor | None = None) -> Job:
        """Make a settled callback due now, with the whole schedule ahead of it.

        Raises JobNotFound, or CallbackNotSettled if it is pending or there is none.
        """
        ...

    async def attempts(self, job_id: str) -> Sequence[CallbackAttempt]:
        """Return the newest 100 attempts to deliver the job's callback, in order."""
        ...

    async def events(self, job_id: str, *, after: int, limit: int) -> Sequence[JobEvent]:
        """Return the job's events with a number above `after`, in order."""
        ...

    def record_event(self, job_id: str, kind: EventType, data: Mapping[str, Any]) -> None:
        """Add to the job's story without waiting for the disk; nothing depends on it."""
        ...

    def watch(self, job_id: str) -> AbstractContextManager[asyncio.Event]:
        """Yield an event that is set whenever something happens to the job."""
        ...

    async def forget(self, *, before: datetime, limit: int) -> Sequence[str]:
        """Remove at most `limit` settled jobs that ended earlier, with all that is known of them.

        One that is being done again stays until that has ended.
        Returns the keys of their blobs, which are the record's no longer.
        """
        ...

    async def unknown_blobs(self, keys: Sequence[str]) -> frozenset[str]:
        """Return those of the keys that belong to no job."""
        ...

    async def run(self, process: Process, deliver: Deliver, limits: RunLimits) -> None:
        """Hand jobs to long-lived workers, and due callbacks to `deliver`, until cancelled.

        Neither may raise for a job's sake. What escapes is a bug that leaves a job without
        an end, so it stops the run: an ExceptionGroup of it is raised.
        """
        ...

    async def drain(self) -> None:
        """Hand out no more jobs, and wait until those in work, and what is due, are done.

        Batches begin no further image, and are put back.
        """
        ...

    async def check(self) -> None:
        """Raise DiskRefuses if the record could not be written lately and still cannot."""
        ...

    def size(self) -> int:
        """Return the bytes of disk that the record uses, without what it has free again."""
        ...

    def stats(self) -> BackendStats:
        """Return how much there is to do right now."""
        ...
