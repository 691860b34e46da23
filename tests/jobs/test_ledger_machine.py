"""The ledger driven at random, beside a model of it in plain Python."""

import asyncio
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
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

from imgsvc.jobs import JobBackend
from imgsvc.jobs.ledger import Bill, Grouping, Limits, NewCall, UsageFilter, UsageRow
from imgsvc.jobs.models import Job
from imgsvc.jobs.spent import Spent
from imgsvc.jobs.sqlite import SqliteConfig
from jobs.backends import accept
from jobs.calls import DAY, NOON, new_call

CLIENTS = ("ann", "bob")
DAYS = 2


@dataclass(slots=True)
class Expected:
    """What the model knows of one call."""

    call: NewCall
    client: str
    has_ended: bool = False
    cost: int | None = None

    @property
    def counts_as(self) -> int:
        """What the call takes of its budgets."""
        return self.call.estimate if self.cost is None else self.cost


class Spending(RuleBasedStateMachine):
    """Reserves, settles, strikes out, crashes; the model must agree each time."""

    calls: Bundle[str] = Bundle("calls")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.stack = AsyncExitStack()
        self.model: dict[str, Expected] = {}
        self.jobs: list[Job] = []

    def do(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    @initialize()
    def open(self) -> None:
        opening = SqliteConfig().open(Path(self.folder.name))
        self.backend: JobBackend = self.do(self.stack.enter_async_context(opening))
        if not self.jobs:
            self.jobs = [self.do(accept(self.backend, client=CLIENTS[n % 2])) for n in range(3)]

    def teardown(self) -> None:
        self.do(self.stack.aclose())
        self.loop.close()
        self.folder.cleanup()

    @rule(
        target=calls,
        job=st.integers(0, 2),
        day=st.integers(0, DAYS - 1),
        estimate=st.integers(0, 50),
        limits=st.builds(
            Limits,
            job=st.none() | st.integers(1, 100),
            client_day=st.none() | st.integers(1, 150),
            day=st.none() | st.integers(1, 200),
        ),
    )
    def reserve(self, job: int, day: int, estimate: int, limits: Limits) -> Any:
        at, asked = NOON + timedelta(days=day), self.jobs[job]
        call = new_call(asked, estimate=estimate, at=at)
        client = CLIENTS[job % 2]
        of_day = [known for known in self.model.values() if known.call.at == at]
        spent = (
            sum(k.counts_as for k in self.model.values() if k.call.job_id == asked.id),
            sum(known.counts_as for known in of_day if known.client == client),
            sum(known.counts_as for known in of_day),
        )
        allowed = (limits.job, limits.client_day, limits.day)
        fits = estimate == 0 or all(
            limit is None or already + estimate <= limit
            for already, limit in zip(spent, allowed, strict=True)
        )
        shortage = self.do(self.backend.ledger.reserve(call, limits))
        assert (shortage is None) == fits
        if shortage is not None:
            place = ("job", "client_day", "day").index(shortage.budget)
            assert (shortage.spent, shortage.limit) == (spent[place], allowed[place])
            return multiple()
        self.model[call.id] = Expected(call=call, client=client)
        return call.id

    @rule(call_id=calls, cost=st.none() | st.integers(0, 60))
    def settle(self, call_id: str, cost: int | None) -> None:
        self.backend.ledger.settle(call_id, Bill(cost=cost))
        expected = self.model.get(call_id)
        if expected is not None and not expected.has_ended:
            expected.has_ended, expected.cost = True, cost

    @rule(call_id=calls)
    def strike_out(self, call_id: str) -> None:
        self.backend.ledger.settle(call_id, None)
        if call_id in self.model and not self.model[call_id].has_ended:
            del self.model[call_id]

    @rule()
    def crash_and_restart(self) -> None:
        self.do(self.stack.aclose())
        self.open()
        for expected in self.model.values():
            expected.has_ended = True

    @invariant()
    def jobs_agree(self) -> None:
        for job in self.jobs:
            ended = [
                known
                for known in self.model.values()
                if known.call.job_id == job.id and known.has_ended
            ]
            assert self.do(self.backend.get(job.id)).spent == Spent(
                calls=len(ended),
                cost=sum(known.cost or 0 for known in ended),
                unknown_calls=[known.cost for known in ended].count(None),
            )

    @invariant()
    def days_and_clients_agree(self) -> None:
        for group_by, name in ((Grouping.DAY, "day"), (Grouping.CLIENT, "client")):
            wanted = UsageFilter(first=DAY, last=DAY + timedelta(days=DAYS), group_by=group_by)
            report = self.do(self.backend.ledger.usage(wanted))
            for row in report.rows:
                of_row = [
                    known
                    for known in self.model.values()
                    if getattr(row, name) in {known.client, known.call.at.date().isoformat()}
                ]
                self.compare(row, of_row)
            self.compare(report.total, list(self.model.values()))

    @staticmethod
    def compare(row: UsageRow, calls: list[Expected]) -> None:
        ended = [known for known in calls if known.has_ended]
        assert row.calls == len(ended)
        assert row.cost == sum(known.cost or 0 for known in ended)
        assert row.unknown_calls == [known.cost for known in ended].count(None)
        assert row.held == sum(known.call.estimate for known in calls if known.cost is None)


TestSpending = Spending.TestCase
TestSpending.settings = settings(max_examples=10, stateful_step_count=25)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_hundred_runs_show_no_difference() -> None:
    # Each run writes and syncs files of its own: a thousand would take a quarter of an hour.
    run_state_machine_as_test(Spending, settings=settings(max_examples=200, stateful_step_count=30))
