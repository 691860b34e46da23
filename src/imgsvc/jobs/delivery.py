"""One attempt to deliver a job's callback, and what follows from it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import random as uniform

import structlog
from structlog.contextvars import bound_contextvars

from imgsvc.callbacks import Attempt, CallbackSender, Delivery, Verdict, planned_delay
from imgsvc.jobs.backend import JobBackend
from imgsvc.jobs.blobs import BlobFolder
from imgsvc.jobs.clients import Clients
from imgsvc.jobs.freezing import persist
from imgsvc.jobs.models import CallbackAttempt, CallbackState, Job
from imgsvc.killpoints import KillPoint, around

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class CallbackDeliverer:
    """Sends frozen callbacks, each attempt on its own; never raises for a callback's sake."""

    backend: JobBackend
    blobs: BlobFolder
    sender: CallbackSender
    schedule: Sequence[float]  # seconds to wait before each attempt
    random: Callable[[], float] = uniform  # numbers from 0 to 1
    clients: Clients = field(default_factory=Clients)

    async def deliver(self, job: Job) -> None:
        """Make the next attempt, and record it with what comes after it."""
        if job.callback_body is None or job.callback_url is None:
            return
        number = job.callback_attempts + 1
        delivery = Delivery(
            url=job.callback_url,
            webhook_id=job.webhook_id,
            request_id=job.request_id,
            body=self.blobs.path(job.callback_body),
            number=number,
            signing_secrets=self.clients.signing_secrets(job.client),
        )
        with bound_contextvars(job_id=job.id, request_id=job.request_id, client=job.client):
            began = datetime.now(UTC)
            with around(KillPoint.CALLBACK_SENT):
                attempt = await self.sender.attempt(delivery)
            state, next_at = self._verdict(attempt, number)
            kept = CallbackAttempt(
                number=number,
                at=began,
                duration=round(attempt.duration, 3),
                verdict=attempt.verdict,
                status=attempt.status,
                error=attempt.error,
                answer=attempt.answer,
            )
            with around(KillPoint.DELIVERY_RECORDED):
                await persist(lambda: self.backend.record_delivery(job.id, kept, state, next_at))
            if state is CallbackState.DELIVERED:
                log.info("callback_delivered", webhook_id=job.webhook_id, attempts=number)
            elif state is CallbackState.DEAD:
                log.warning(
                    "callback_dead",
                    webhook_id=job.webhook_id,
                    attempts=number,
                    error=attempt.error,
                )

    def _verdict(self, attempt: Attempt, number: int) -> tuple[CallbackState, datetime | None]:
        """Return where the callback stands now, and when the next attempt is due."""
        if attempt.verdict is Verdict.DELIVERED:
            return CallbackState.DELIVERED, None
        delay = planned_delay(
            number, self.schedule, retry_after=attempt.retry_after, random=self.random
        )
        if attempt.verdict is Verdict.DEAD or delay is None:
            return CallbackState.DEAD, None
        return CallbackState.PENDING, datetime.now(UTC) + timedelta(seconds=delay)
