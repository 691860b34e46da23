"""A job as callers see it.

Neither the prompt nor the callback's URL is in it: the caller has both, and whoever else
can reach the server shall not. Only if the local engine went by the prompt, the texts that
it wrote on the picture are in it, and a few words that it did not understand. A field
without a value is left out; `null` is never sent.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field
from yarl import URL

from imgsvc.jobs.control import is_retryable
from imgsvc.jobs.items import Progress
from imgsvc.jobs.models import (
    BatchSpec,
    CallbackAttempt,
    CallbackState,
    Job,
    JobKind,
    JobState,
    Outcome,
)
from imgsvc.jobs.moves import FINAL
from imgsvc.providers import LOCAL

_JobId = Annotated[str, Field(json_schema_extra={"format": "uuid"})]
_Url = Annotated[str, Field(json_schema_extra={"format": "uri"})]


class AttemptView(BaseModel):
    """One attempt to deliver a callback."""

    number: int = Field(description="From 1; goes on counting when a callback is sent again.")
    at: datetime = Field(description="When it began.")
    verdict: str = Field(description="`delivered`, `retry` or `dead`.")
    duration: float = Field(description="How long it took, in seconds.")
    status: int | None = Field(None, description="The HTTP status of the answer, if there was one.")
    error: str | None = Field(None, description="What went wrong.")
    answer: str | None = Field(None, description="How the answer begins, at most 1 KiB.")


class CallbackView(BaseModel):
    """Where a job's callback stands."""

    state: CallbackState
    host: str | None = Field(None, description="Where it goes; the rest of the URL is not shown.")
    next_attempt_at: datetime | None = Field(
        None, description="When it is tried next; only while it is pending."
    )
    attempts: list[AttemptView] | None = Field(
        None, description="The newest 100 attempts, in order; not in lists of jobs."
    )


class ProgressView(BaseModel):
    """How far a batch is, in images; not in lists of jobs."""

    done: int = Field(description="Images that have ended, with a result or without.")
    failed: int = Field(description="Images of those without a result.")
    total: int = Field(description="Images found so far; final if `total_is_final`.")
    total_is_final: bool = Field(description="False while the folder is still being listed.")
    rate: float | None = Field(
        None, description="Images done a second, lately. Only while it runs, once it is known."
    )
    seconds_left: float | None = Field(
        None, description="How long the rest will take at this rate. Only while that is known."
    )


class JobLinks(BaseModel):
    """What there is of this job, and what can be done with it now."""

    self: _Url = Field(description="GET: this job.")
    events: _Url = Field(description="GET: its story, as a stream.")
    result: _Url | None = Field(None, description="GET: its result.")
    items: _Url | None = Field(None, description="GET: the objects of a batch.")
    cancel: _Url | None = Field(None, description="POST: stop it.")
    retry: _Url | None = Field(None, description="POST: do it again.")
    redeliver: _Url | None = Field(None, description="POST: send its callback again.")


class JobView(BaseModel):
    """A job: how far it has come, how it ended, and where its callback stands."""

    job_id: _JobId = Field(description="The id that the 202 answer gave.")
    kind: JobKind
    state: JobState
    priority: int = Field(description="9 goes first, 0 last.")
    attempts: int = Field(description="How often a worker has begun it.")
    accepted_at: datetime = Field(description="When it was accepted.")
    started_at: datetime | None = Field(None, description="When a worker last began it.")
    finished_at: datetime | None = Field(None, description="When it ended.")
    cancel_requested: bool | None = Field(
        None, description="True if it runs, and was told to stop."
    )
    filename: str | None = Field(None, description="The file name as it was sent.")
    retry_of: _JobId | None = Field(None, description="The job that this one does again.")
    provider: str | None = Field(
        None, description="Who was asked to edit: `openai`, say. Once it has ended."
    )
    model: str | None = Field(
        None, description="The model that edited the one image; the local engine has none."
    )
    fallback: bool | None = Field(
        None, description="True if another one stepped in for it. Once it has ended."
    )
    fallback_reason: str | None = Field(
        None, description="Why: a stable code, `provider_out_of_credit` say. Only if `fallback`."
    )
    operations: list[str] | None = Field(
        None,
        description="What the local engine did to the one image, in order. Only if it did.",
    )
    ignored: list[str] | None = Field(
        None, description="Words of the prompt that it did not understand. Only if it edited."
    )
    error: str | None = Field(
        None, description="If it did not work: `Kind: what happened and what to do`."
    )
    moderation_categories: list[str] | None = Field(
        None,
        description=(
            "What the image API's moderation objected to: `violence`, say. Only if it tells."
        ),
    )
    cost_usd: float | None = Field(
        None,
        description="What the calls of image APIs have cost so far, in US dollars, as far as that"
        " is known; absent if nothing was called.",
    )
    cost_unknown: bool | None = Field(
        None, description="True if that is not all: a call may have been billed, or has no price."
    )
    progress: ProgressView | None = None
    callback: CallbackView
    links: JobLinks


class JobPage(BaseModel):
    """A page of the list of jobs, the newest first."""

    jobs: list[JobView]
    next_cursor: str | None = Field(
        None, description="Give it as `cursor` for the next page; absent on the last one."
    )


def job_view(
    job: Job,
    base_url: str,
    attempts: Sequence[CallbackAttempt] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Return the JSON document of a job, with these attempts to deliver its callback.

    `progress` is what the record has counted of a batch.
    """
    view = _view(job, base_url, attempts)
    view.progress = _progress(job, progress)
    return view.model_dump(mode="json", exclude_none=True)


def page_view(jobs: Sequence[Job], base_url: str, next_cursor: str | None) -> dict[str, Any]:
    """Return the JSON document of a page of jobs."""
    page = JobPage(jobs=[_view(job, base_url, None) for job in jobs], next_cursor=next_cursor)
    return page.model_dump(mode="json", exclude_none=True)


def _view(job: Job, base_url: str, attempts: Sequence[CallbackAttempt] | None) -> JobView:
    ended = {} if job.outcome is None else _ended(job.outcome, job.spec.kind)
    return JobView(
        job_id=job.id,
        kind=job.spec.kind,
        state=job.state,
        priority=job.priority,
        attempts=job.attempt,
        accepted_at=job.accepted_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        cancel_requested=True if job.cancel_requested and job.outcome is None else None,
        filename=None if isinstance(job.spec, BatchSpec) else job.spec.filename,
        retry_of=job.retry_of,
        cost_usd=job.spent.usd,
        cost_unknown=_is_cost_unknown(job) or None,
        callback=CallbackView(
            state=job.callback_state,
            host=None if job.callback_url is None else URL(job.callback_url).host,
            next_attempt_at=job.next_attempt_at,
            attempts=None if attempts is None else [_attempt(each) for each in attempts],
        ),
        links=_links(job, f"{base_url}/jobs/{job.id}"),
        **ended,
    )


def _progress(job: Job, counted: Progress | None) -> ProgressView | None:
    if not isinstance(job.spec, BatchSpec):
        return None
    if counted is None:
        if job.outcome is not None and job.attempt:
            return None  # before version 3 the record has kept no items
        counted = Progress()
    return ProgressView.model_validate(
        replace(
            counted,
            total_is_final=counted.total_is_final or job.outcome is not None,
            rate=counted.rate if job.state is JobState.RUNNING else None,
        ).shown
    )


def _ended(outcome: Outcome, kind: JobKind) -> dict[str, Any]:
    # A batch has them in its manifest, image by image.
    is_local = (
        outcome.provider == LOCAL
        and outcome.state is JobState.COMPLETED
        and kind is not JobKind.BATCH
    )
    return {
        "provider": outcome.provider,
        "model": outcome.model,
        "fallback": outcome.fallback_reason is not None,
        "fallback_reason": outcome.fallback_reason,
        "operations": list(outcome.operations) if is_local else None,
        "ignored": list(outcome.ignored) if is_local else None,
        "error": outcome.error,
        "moderation_categories": list(outcome.moderation_categories) or None,
    }


def _is_cost_unknown(job: Job) -> bool:
    # The record has kept calls only since version 2; before that the outcome alone told.
    before = job.outcome is not None and job.outcome.cost_unknown
    return before or job.spent.is_unknown


def _attempt(attempt: CallbackAttempt) -> AttemptView:
    return AttemptView(
        number=attempt.number,
        at=attempt.at,
        verdict=attempt.verdict,
        duration=attempt.duration,
        status=attempt.status,
        error=attempt.error,
        answer=attempt.answer or None,
    )


def _links(job: Job, url: str) -> JobLinks:
    has_result = job.outcome is not None and job.outcome.result is not None
    can_go_again = job.callback_state in {CallbackState.DELIVERED, CallbackState.DEAD}
    return JobLinks(
        self=url,
        events=f"{url}/events",
        result=f"{url}/result" if has_result else None,
        items=f"{url}/items" if isinstance(job.spec, BatchSpec) else None,
        cancel=None if job.state in FINAL else f"{url}/cancel",
        retry=f"{url}/retry" if is_retryable(job) else None,
        redeliver=f"{url}/callback/redeliver" if can_go_again else None,
    )
