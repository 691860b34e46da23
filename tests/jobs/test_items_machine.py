"""The items of batches driven at random, beside a model of them in plain lists."""

import asyncio
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
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
    precondition,
    rule,
    run_state_machine_as_test,
)

from imgsvc.errors import JobNotRetryable
from imgsvc.jobs import JobBackend
from imgsvc.jobs.items import Found, ItemEnd, ItemFilter, ItemState, JobLost, Progress
from imgsvc.jobs.models import Job, JobState, Outcome, StoredResult
from imgsvc.jobs.sqlite import SqliteConfig
from jobs.backends import frozen
from jobs.parts import batch_spec, new_job

TO_DO = {ItemState.PENDING, ItemState.RUNNING}
WITHOUT_OUTPUT = TO_DO | {ItemState.FAILED, ItemState.NOT_STARTED}
FAILURES = {ItemState.FAILED, ItemState.NOT_STARTED}
ENDS = st.sampled_from(
    [ItemState.PROCESSED, ItemState.FALLBACK_LOCAL, ItemState.FAILED, ItemState.SKIPPED]
)
MANIFEST = StoredResult(bucket="output", key="manifest.json")
NAMES = st.lists(
    st.sampled_from(["a.png", "a.jpg", "b.png", "n.txt", "a_modified.png/c.png", "\udcff.png"]),
    max_size=4,
)


@dataclass(slots=True)
class Row:
    """What the model knows of one item."""

    key: str
    state: ItemState
    attempts: int = 0
    output: str | None = None  # once it was seen: it never changes


@dataclass(slots=True)
class Batch:
    """What the model knows of one batch."""

    folder: str
    token: int = 0  # of the newest attempt; 0 while it is queued
    ended: bool = False
    listed: bool = False
    result: bool = False  # whether there is a manifest
    rows: list[Row] = field(default_factory=list)
    retry_of: str | None = None


class Items(RuleBasedStateMachine):
    """Lists, takes, ends, abandons, crashes, does again; the model must agree each time."""

    claims: Bundle[Job] = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.stack = AsyncExitStack()
        self.model: dict[str, Batch] = {}

    def do(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    @initialize()
    def open(self) -> None:
        opening = SqliteConfig().open(Path(self.folder.name))
        self.backend: JobBackend = self.do(self.stack.enter_async_context(opening))

    def teardown(self) -> None:
        self.do(self.stack.aclose())
        self.loop.close()
        self.folder.cleanup()

    def write(self, job: Job, work: Any) -> tuple[Batch, Any] | None:
        """Do it if the model says that the worker holds the job; else it must be refused."""
        batch = self.model[job.id]
        try:
            done = self.do(work)
        except JobLost:
            assert batch.ended or batch.token != job.attempt
            return None
        assert not batch.ended
        assert batch.token == job.attempt
        return batch, done

    @rule(target=claims)
    def begin(self) -> Any:
        job = self.do(self.backend.accept(new_job(spec=batch_spec()))).job
        self.model[job.id] = Batch(folder=job.id)
        return self.claim(job.id)

    def claim(self, job_id: str) -> Job:
        claimed = self.do(self.backend.start(job_id))
        batch = self.model[job_id]
        batch.token = claimed.job.attempt
        listing = self.do(self.backend.items.open(claimed.job))
        assert (listing.folder, listing.is_complete) == (batch.folder, batch.listed)
        job: Job = claimed.job
        return job

    @rule(job=claims, names=NAMES, is_last=st.booleans())
    def add(self, job: Job, names: list[str], is_last: bool) -> None:
        found = [
            Found(
                key=name,
                size=1,
                modified=datetime.now(UTC),
                may_be_image=not name.endswith(".txt"),
            )
            for name in names
        ]
        held = self.write(job, self.backend.items.add(job, found, is_last=is_last))
        if held is not None:
            batch, _ = held
            batch.listed = is_last
            states = {True: ItemState.PENDING, False: ItemState.SKIPPED}
            batch.rows += [Row(each.key, states[each.may_be_image]) for each in found]

    @rule(job=claims)
    def take(self, job: Job) -> None:
        held = self.write(job, self.backend.items.take(job))
        if held is None:
            return
        batch, item = held
        pending = [n for n, row in enumerate(batch.rows) if row.state is ItemState.PENDING]
        if not pending:
            assert item is None
            return
        row = batch.rows[pending[0]]
        assert (item.number, item.attempts) == (pending[0] + 1, row.attempts)
        row.state, row.attempts = ItemState.RUNNING, row.attempts + 1

    @rule(job=claims, number=st.integers(1, 6), state=ENDS)
    def end(self, job: Job, number: int, state: ItemState) -> None:
        held = self.write(job, self.backend.items.end(job, number, ItemEnd(state=state)))
        if held is not None and number <= len(held[0].rows):
            row = held[0].rows[number - 1]
            if row.state is ItemState.RUNNING:
                row.state = state

    @rule(job=claims)
    def abandon(self, job: Job) -> None:
        held = self.write(job, self.backend.items.abandon(job, "stopped"))
        if held is not None:
            for row in held[0].rows:
                if row.state in TO_DO:
                    row.state = ItemState.NOT_STARTED

    @rule(job=claims, with_result=st.booleans())
    def finish(self, job: Job, with_result: bool) -> None:
        batch = self.model[job.id]
        outcome = (
            Outcome(state=JobState.COMPLETED, result=MANIFEST)
            if with_result
            else Outcome(state=JobState.FAILED, error="x")
        )
        won = self.do(self.backend.finish(job.id, job.attempt, outcome, frozen(job.id)))
        assert won == (not batch.ended and batch.token == job.attempt)
        if won:
            batch.ended, batch.result = True, with_result
            ends = {
                ItemState.PENDING: ItemState.NOT_STARTED,
                ItemState.RUNNING: ItemState.FAILED,
            }
            for row in batch.rows:
                row.state = ends.get(row.state, row.state)

    @rule(target=claims, job=claims)
    def do_again(self, job: Job) -> Any:
        batch = self.model[job.id]
        if not batch.ended:
            return multiple()
        whole = batch.listed and batch.result
        to_do = not whole or any(row.state in WITHOUT_OUTPUT for row in batch.rows)
        again = any(each.retry_of == job.id for each in self.model.values())
        new = new_job(spec=batch_spec(), retry_of=job.id)
        try:
            made = self.do(self.backend.accept(new)).job
        except JobNotRetryable:
            assert again or not to_do
            return multiple()
        assert to_do
        assert not again
        rows = [
            Row(row.key, ItemState.PENDING, 0, row.output)
            if row.state in WITHOUT_OUTPUT
            else Row(row.key, row.state, row.attempts, row.output)
            for row in batch.rows
        ]
        self.model[made.id] = Batch(
            folder=batch.folder, listed=batch.listed, rows=rows, retry_of=job.id
        )
        return self.claim(made.id)

    @precondition(lambda self: any(not batch.ended for batch in self.model.values()))
    @rule(target=claims)
    def crash_and_restart(self) -> Any:
        self.do(self.stack.aclose())
        self.open()
        claimed = []
        for job_id, batch in self.model.items():
            if not batch.ended:
                for row in batch.rows:
                    if row.state is ItemState.RUNNING:
                        row.state = ItemState.PENDING
                claimed.append(self.claim(job_id))
        return multiple(*claimed)

    @invariant()
    def record_and_model_agree(self) -> None:
        for job_id, batch in self.model.items():
            wanted = ItemFilter(job_id=job_id)
            items = self.do(self.backend.items.page(wanted, after=0, limit=1000))
            assert [(item.key, item.end.state, item.attempts) for item in items] == [
                (row.key, row.state, row.attempts) for row in batch.rows
            ]
            assert [item.number for item in items] == list(range(1, len(items) + 1))
            outputs = [item.output for item in items if item.output is not None]
            assert len(set(outputs)) == len(outputs)
            assert all(output.startswith(f"output/{batch.folder}/") for output in outputs)
            for row, item in zip(batch.rows, items, strict=True):
                assert row.output in {None, item.output}
                row.output = item.output
            images = [row.state for row in batch.rows if row.state is not ItemState.SKIPPED]
            assert self.do(self.backend.items.progress(job_id)) == Progress(
                done=sum(state not in TO_DO for state in images),
                failed=sum(state in FAILURES for state in images),
                total=len(images),
                total_is_final=batch.listed,
            )
            sums = self.do(self.backend.items.sums(job_id, lines=2))
            for state in ItemState:
                assert sums.states[state] == [row.state for row in batch.rows].count(state)


TestItems = Items.TestCase
TestItems.settings = settings(max_examples=8, stateful_step_count=30)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_hundred_runs_show_no_difference() -> None:
    run_state_machine_as_test(Items, settings=settings(max_examples=200, stateful_step_count=30))
