from collections import Counter, deque

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from imgsvc.jobs.fairness import FairLane, FairOrder

lanes = st.tuples(st.integers(0, 9), st.sampled_from(["ann", "bob", "cy"]))


def take(order: FairOrder) -> FairLane | None:
    """Hand the next job to a worker, which claims it at once."""
    lane = order.pick()
    if lane is not None:
        order.leave(lane, handed=True)
    return lane


def test_nothing_waits_in_a_new_order() -> None:
    assert FairOrder().pick() is None


def test_a_client_with_many_jobs_does_not_delay_the_first_of_another() -> None:
    order = FairOrder()
    order.join((5, "many"), 10_000)
    assert [take(order) for _ in range(3)] == [(5, "many")] * 3

    order.join((5, "one"))
    assert {take(order), take(order)} == {(5, "many"), (5, "one")}


def test_a_higher_priority_goes_first_whoever_had_the_last_turn() -> None:
    order = FairOrder()
    order.join((5, "ann"), 2)
    order.join((0, "bob"))
    order.join((9, "ann"), 2)
    assert [take(order) for _ in range(5)] == [
        (9, "ann"), (9, "ann"), (5, "ann"), (5, "ann"), (0, "bob"),
    ]  # fmt: skip


def test_a_job_that_comes_back_unclaimed_is_handed_out_again() -> None:
    order = FairOrder()
    order.join((5, "ann"))
    assert order.pick() == (5, "ann")
    assert order.pick() is None

    order.give_back((5, "ann"))
    assert order.pick() == (5, "ann")


def test_a_job_cancelled_while_it_waits_is_not_handed_out() -> None:
    order = FairOrder()
    order.join((5, "ann"), 2)
    order.leave((5, "ann"), handed=False)
    assert [take(order), take(order)] == [(5, "ann"), None]


@given(waiting=st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 20), min_size=1))
def test_every_client_that_waits_is_served_before_any_is_served_twice(
    waiting: dict[str, int],
) -> None:
    order, left = FairOrder(), Counter(waiting)
    for client, jobs in waiting.items():
        order.join((5, client), jobs)
    while left:
        round_of = [lane[1] for lane in (take(order) for _ in range(len(left))) if lane]
        assert sorted(round_of) == sorted(left)
        left = +(left - Counter(round_of))
    assert take(order) is None


class Turns(RuleBasedStateMachine):
    """Joins, leaves and hands out at random; no job is lost, none is handed out twice."""

    def __init__(self) -> None:
        super().__init__()
        self.order = FairOrder()
        self.waiting: Counter[FairLane] = Counter()
        self.handed: deque[FairLane] = deque()

    @rule(lane=lanes, jobs=st.integers(1, 3))
    def join(self, lane: FairLane, jobs: int) -> None:
        self.order.join(lane, jobs)
        self.waiting[lane] += jobs

    @rule()
    def pick(self) -> None:
        lane = self.order.pick()
        available = [lane for lane, jobs in self.waiting.items() if jobs]
        assert (lane is None) == (not available)
        if lane is not None:
            assert lane[0] == max(priority for priority, _ in available)
            self.waiting[lane] -= 1
            self.handed.append(lane)

    @rule(claimed=st.booleans())
    def end_of_the_way(self, claimed: bool) -> None:
        if self.handed:
            lane = self.handed.popleft()
            if claimed:
                self.order.leave(lane, handed=True)
            else:
                self.order.give_back(lane)
                self.waiting[lane] += 1

    @rule(lane=lanes)
    def cancel(self, lane: FairLane) -> None:
        if self.waiting[lane]:
            self.order.leave(lane, handed=False)
            self.waiting[lane] -= 1

    @invariant()
    def nothing_is_kept_of_lanes_that_are_empty(self) -> None:
        kept = {
            (priority, client)
            for priority, clients in self.order._priorities.items()  # noqa: SLF001 - memory is the promise
            for client in clients
        }
        assert kept == {lane for lane, jobs in self.waiting.items() if jobs} | set(self.handed)


TestTurns = Turns.TestCase
