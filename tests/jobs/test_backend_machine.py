"""The record driven at random, beside a model of it in plain dictionaries."""

import asyncio
import sqlite3
import tempfile
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from imgsvc.errors import CallbackNotSettled, IdempotencyKeyReused, JobNotFound, QueueFull
from imgsvc.jobs import BackendStats, JobBackend
from imgsvc.jobs.models import CallbackState, EventType, JobFilter, JobState, Outcome
from imgsvc.jobs.moves import FINAL, JOB_MOVES
from imgsvc.jobs.sqlite import SqliteConfig
from jobs.backends import attempt, frozen
from jobs.parts import CALLBACK_URL, new_job

MAX_QUEUED = 4


@dataclass(slots=True)
class Expected:
    """What the model knows of one job."""

    state: JobState = JobState.QUEUED
    attempt: int = 0
    callback: CallbackState = CallbackState.NONE
    wanted: bool = True  # whether somebody is to be called
    cancel_requested: bool = False
    attempts: int = 0  # deliveries, of all schedules
    events: int = 1


FORGOTTEN = Expected(state=JobState.COMPLETED)
"""Stands for a job of which the record knows nothing any more: it can make no move."""


class Record(RuleBasedStateMachine):
    """Accepts, claims, finishes, cancels, delivers, crashes; the model must agree each time."""

    jobs: Bundle[str] = Bundle("jobs")
    claims: Bundle[tuple[str, int]] = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.stack = AsyncExitStack()
        self.model: dict[str, Expected] = {}
        self.keys: dict[str, tuple[str, str]] = {}  # idempotency key to digest and job

    def do(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    @initialize()
    def open(self) -> None:
        opening = SqliteConfig(max_queued=MAX_QUEUED).open(Path(self.folder.name))
        self.backend: JobBackend = self.do(self.stack.enter_async_context(opening))

    def teardown(self) -> None:
        self.do(self.stack.aclose())
        self.loop.close()
        self.folder.cleanup()

    @rule(
        target=jobs,
        key=st.none() | st.sampled_from(["k1", "k2"]),
        digest=st.sampled_from(["d1", "d2"]),
        called=st.booleans(),
    )
    def accept(self, key: str | None, digest: str, called: bool) -> Any:
        new = new_job(
            idempotency_key=key, digest=digest, callback_url=CALLBACK_URL if called else None
        )
        try:
            accepted = self.do(self.backend.accept(new))
        except IdempotencyKeyReused:
            assert key is not None
            assert self.keys[key][0] != digest
            return multiple()
        except QueueFull:
            # A restart queues what ran, whether there is room or not.
            assert self.count(JobState.QUEUED) >= MAX_QUEUED
            assert key not in self.keys
            return multiple()
        if not accepted.is_new:
            assert key is not None
            assert self.keys[key] == (digest, accepted.job.id)
            return multiple()
        assert key not in self.keys
        if key is not None:
            self.keys[key] = (digest, accepted.job.id)
        self.model[accepted.job.id] = Expected(wanted=called)
        return accepted.job.id

    @rule(target=claims, job_id=jobs)
    def start(self, job_id: str) -> Any:
        claimed = self.do(self.backend.start(job_id))
        expected = self.model.get(job_id, FORGOTTEN)
        assert (claimed is not None) == (JobState.RUNNING in JOB_MOVES[expected.state])
        if claimed is None:
            return multiple()
        expected.state, expected.attempt = JobState.RUNNING, expected.attempt + 1
        expected.events += 1
        assert claimed.job.attempt == expected.attempt
        assert claimed.cancelled.is_set() == expected.cancel_requested
        return (job_id, expected.attempt)

    @rule(claim=claims, state=st.sampled_from(sorted(FINAL)))
    def finish(self, claim: tuple[str, int], state: JobState) -> None:
        job_id, token = claim
        expected = self.model.get(job_id, FORGOTTEN)
        holds = (expected.state, expected.attempt) == (JobState.RUNNING, token)
        won = self.do(self.backend.finish(job_id, token, Outcome(state=state), frozen(job_id)))
        assert won == holds
        if won:
            self.end(expected, state)

    @rule(job_id=jobs)
    def cancel(self, job_id: str) -> None:
        outcome = Outcome(state=JobState.CANCELLED)
        try:
            job = self.do(self.backend.cancel(job_id, outcome, frozen(job_id)))
        except JobNotFound:
            assert job_id not in self.model
            return
        expected = self.model[job_id]
        if expected.state is JobState.QUEUED:
            self.end(expected, JobState.CANCELLED)
        elif expected.state is JobState.RUNNING and not expected.cancel_requested:
            expected.cancel_requested = True
            expected.events += 1
        assert (job.state, job.cancel_requested) == (expected.state, expected.cancel_requested)

    @rule(job_id=jobs, state=st.sampled_from(list(CallbackState)[1:]))
    def deliver(self, job_id: str, state: CallbackState) -> None:
        expected = self.model.get(job_id, FORGOTTEN)
        next_at = datetime.now(UTC) if state is CallbackState.PENDING else None
        moved = self.do(self.backend.record_delivery(job_id, attempt(), state, next_at))
        assert moved == (expected.callback is CallbackState.PENDING)
        if moved:
            expected.callback = state
            expected.attempts += 1
            expected.events += 1 if state is CallbackState.PENDING else 2

    @rule(job_id=jobs)
    def redeliver(self, job_id: str) -> None:
        expected = self.model.get(job_id, FORGOTTEN)
        settled = expected.callback in {CallbackState.DELIVERED, CallbackState.DEAD}
        try:
            self.do(self.backend.redeliver(job_id))
        except JobNotFound:
            assert job_id not in self.model
        except CallbackNotSettled:
            assert not settled
        else:
            assert settled
            expected.callback = CallbackState.PENDING
            expected.events += 1

    @rule()
    def forget_all_that_is_settled(self) -> None:
        settled = {
            known
            for known, expected in self.model.items()
            if expected.state in FINAL and expected.callback is not CallbackState.PENDING
        }
        keys = self.do(self.backend.forget(before=datetime.now(UTC), limit=1000))
        assert set(keys) == {f"body-{known}" for known in settled}
        for known in settled:
            self.forget(known)

    @rule()
    def crash_and_restart(self) -> None:
        self.do(self.stack.aclose())
        self.open()
        for expected in self.model.values():
            if expected.state is JobState.RUNNING:
                expected.state = JobState.QUEUED
                expected.events += 1

    @invariant()
    def record_and_model_agree(self) -> None:
        known = {
            job.id: job for job in self.do(self.backend.list(JobFilter(), before=None, limit=1000))
        }
        assert set(known) == set(self.model)
        for job_id, expected in self.model.items():
            job = known[job_id]
            assert (job.state, job.attempt) == (expected.state, expected.attempt)
            assert job.callback_state is expected.callback
            ended = expected.state in FINAL
            assert (job.outcome is not None) == (job.callback_body is not None) == ended
            assert (job.finished_at is not None) == ended
            pending = expected.callback is CallbackState.PENDING
            assert (job.next_attempt_at is not None) == pending
            assert len(self.do(self.backend.attempts(job_id))) == min(expected.attempts, 100)
            events = self.do(self.backend.events(job_id, after=0, limit=1000))
            assert [event.number for event in events] == list(range(1, expected.events + 1))
            assert events[0].type is EventType.QUEUED

    @invariant()
    def the_counts_are_exact(self) -> None:
        callbacks = [expected.callback for expected in self.model.values()]
        assert self.backend.stats() == BackendStats(
            queued=self.count(JobState.QUEUED),
            running=self.count(JobState.RUNNING),
            callbacks_pending=callbacks.count(CallbackState.PENDING),
            callbacks_dead=callbacks.count(CallbackState.DEAD),
        )

    @invariant()
    def the_queue_of_the_client_is_counted(self) -> None:
        with closing(sqlite3.connect(Path(self.folder.name) / "jobs.db")) as connection:
            queues = connection.execute("SELECT client, jobs FROM client_queues").fetchall()
        queued = self.count(JobState.QUEUED)
        assert queues == ([("local", queued)] if queued else [])

    def end(self, expected: Expected, state: JobState) -> None:
        expected.state = state
        expected.events += 1
        if expected.wanted:
            expected.callback = CallbackState.PENDING

    def forget(self, job_id: str) -> None:
        del self.model[job_id]
        self.keys = {key: value for key, value in self.keys.items() if value[1] != job_id}

    def count(self, state: JobState) -> int:
        return [expected.state for expected in self.model.values()].count(state)


TestRecord = Record.TestCase
TestRecord.settings = settings(max_examples=12, stateful_step_count=30)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_thousand_runs_show_no_difference() -> None:
    run_state_machine_as_test(Record, settings=settings(max_examples=1000, stateful_step_count=30))
