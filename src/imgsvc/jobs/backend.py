"""The record of jobs, behind one protocol."""

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

from imgsvc.callbacks.protocol import Verdict
from imgsvc.jobs.models import BlobRef, Job, JobSpec, JobState

Process = Callable[[str], Awaitable[None]]
"""Does one job, given its id."""

Deliver = Callable[[Job], Coroutine[Any, Any, None]]
"""Brings one finished job's callback to its receiver."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BackendStats:
    """How much there is to do, as counts of jobs."""

    queued: int
    running: int
    callbacks_pending: int


class JobBackend(Protocol):
    """Keeps jobs and hands them to workers.

    Every move of a job is a compare-and-set; whoever loses the race is told so and
    discards its work.
    """

    async def accept(self, spec: JobSpec, *, callback_url: str, request_id: str) -> Job:
        """Record a new job.

        Raises QueueFull.
        """
        ...

    async def start(self, job_id: str) -> Job | None:
        """Claim a queued job: it is running, and its `attempt` is the fencing token.

        Returns None if the job is not there to be claimed.
        """
        ...

    async def finish(
        self, job_id: str, token: int, state: JobState, callback_body: BlobRef
    ) -> bool:
        """Freeze the final state and the callback's body together, and make it due.

        Returns False, and changes nothing, if the token is not the newest.
        """
        ...

    async def record_delivery(self, job_id: str, verdict: Verdict) -> None:
        """Record how the delivery of a job's callback ended."""
        ...

    async def run(self, process: Process, deliver: Deliver, *, workers: int) -> None:
        """Hand jobs to `workers` long-lived tasks, and callbacks to `deliver`, until cancelled.

        Neither may raise for a job's sake. What escapes is a bug that leaves a job without
        an end, so it stops the run: an ExceptionGroup of it is raised.
        """
        ...

    async def drain(self) -> None:
        """Wait until no accepted job and no callback is left to do."""
        ...

    def stats(self) -> BackendStats:
        """Return how much there is to do right now."""
        ...
